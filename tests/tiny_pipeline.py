"""The demo's recipe over made-up words with a BERT of two blocks: what runs end to end in seconds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from published import tiny_tokenizer
from tiny import MASK_ID, WORDS, tiny_bert, tiny_ids
from transformers import BertForMaskedLM

from pipeline import recipes
from pipeline.config.schema import PipelineConfig
from pipeline.tracking.config import TrackingConfig
from stages.corpus.config import CorpusConfig
from stages.teacher.config import TeacherConfig
from stages.tokens.config import TokensConfig


def taught(model: BertForMaskedLM, steps: int = 500) -> BertForMaskedLM:
    """The model after some plain masked-LM steps: a teacher that knows nothing would show nothing."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        ids = torch.from_numpy(tiny_ids(32, seed=step)).long()
        hidden = torch.rand(ids.shape, generator=torch.Generator().manual_seed(step)) < 0.2
        labels = ids.masked_fill(~hidden, -100)
        model(input_ids=ids.masked_fill(hidden, MASK_ID), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def tiny_pipeline(home: Path, mlflow_template: Path) -> PipelineConfig:
    """The demo's recipe over 600 lines of made-up words; all it makes is in `home`, its MLflow database included."""
    (home / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    return replace(tiny_recipe(home), tracking=TrackingConfig(uri=f"sqlite:///{home}/mlflow.db", system_metrics=False))


def tiny_recipe(home: Path, teacher: BertForMaskedLM | None = None) -> PipelineConfig:
    """The same without a place for its records; puts text and `teacher`, or a tiny one, into `home`."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(WORDS), 600)
    lines = (" ".join(WORDS[(start + i) % len(WORDS)] for i in range(rng.integers(20, 60))) for start in starts)
    (home / "text.txt").write_text("\n".join(lines))
    (teacher or taught(tiny_bert(scale=0.05))).save_pretrained(home / "teacher")
    tiny_tokenizer(WORDS).save_pretrained(home / "teacher")
    base = recipes.demo()
    return replace(
        base,
        workdir=str(home / "work"),
        corpus=CorpusConfig(source="files", paths=(str(home / "text.txt"),), heldout_fraction=0.1),
        tokens=TokensConfig(block_length=16, packing="stream"),
        teacher=TeacherConfig(model=str(home / "teacher")),
        distil=replace(base.distil, steps=20, log_every=5, evaluate_every=10, checkpoint_every=10, precision="fp32"),
        evaluate=replace(base.evaluate, blocks=20, latency_rounds=3),
    )
