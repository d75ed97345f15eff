"""Trials and a corpus to record in MLflow, and what is there of them."""

from pathlib import Path

import mlflow

from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.run import RunAbout
from pipeline.tuning.ledger import Report, State, Trial
from stages.corpus.artifact import Corpus
from stages.storage import Folder

ABOUT = RunAbout(name="demo search", workdir="/runs/demo", fingerprint="f1", parameters={"seed": 7}, yaml="seed: 7\n")


def client(live: LiveRun) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(live.store.uri)


def trial(number: int, *, steps: int = 0, state: State = "running", why: str = "") -> Trial:
    """Trial `number`, `steps` reports of 1,000 tokens each into its life."""
    setting = {"temperature": 2.0 + number, "alpha_ce": 5.0, "layers": "0,2"}
    reports = tuple(report(step) for step in range(1, steps + 1))
    return Trial(number=number, setting=setting, point={}, seed=7, reports=reports, state=state, why=why)


def report(step: int) -> Report:
    return Report(step=step, tokens=1000 * step, metrics={"loss": 9 / step, "heldout_mlm_loss": 5 / step})


def corpus_in(folder: Path) -> Corpus:
    """A corpus of a dozen documents, by its figures alone."""
    return Corpus(
        folder=Folder(str(folder)),
        documents=12,
        heldout_documents=3,
        characters=1000,
        heldout_characters=90,
        digest="ab" * 32,
        shards=(),
        heldout_shards=(),
    )
