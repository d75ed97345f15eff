"""A tiny model of every family through the whole pipeline, on documents."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import pytest
import torch
from rich.console import Console as Terminal
from tiny_families import CONFIGS, TOKENIZERS, model_for, tokenizer_for
from tiny_pipeline import tiny_pipeline
from transformers import pipeline as transformers_pipeline

from pipeline.cli.console import Console
from pipeline.cli.fill import CONTINUED, filled
from pipeline.records.products import Products
from pipeline.run import run
from stages.distillation.families.family import CAUSAL
from stages.distillation.families.table import family_of
from stages.models import model_in
from stages.tokens.config import TokensConfig
from stages.tokens.loading import load_tokenizer

QUICK = ("gpt2",)
"""The others take as long again, each."""
LITERAL = "as <s> it </s> says <mask> [MASK] [SEP] <|endoftext|> here"
"""A document of which no word may become a special token."""


@dataclass(frozen=True)
class Ran:
    products: Products
    report: dict
    store: str


def ran(name: str, home: Path, template: Path, workers: int = 1) -> Ran:
    config = tiny_pipeline(home, template)
    texts = (home / "text.txt").read_text().splitlines()
    tokenizer = tokenizer_for(name, [*texts, LITERAL])
    model_for(name, tokenizer).save_pretrained(home / "teacher")
    tokenizer.save_pretrained(home / "teacher")
    (home / "text.txt").write_text("\n".join([*texts, *[LITERAL] * 20]))
    distil = replace(config.distil, workers=workers, learning_rate=1e-3, row_log=False, layers=2, dropout=0.0)
    whole = replace(config, tokens=TokensConfig(block_length=16), distil=distil)
    with (home / "printed.txt").open("w") as file:
        products = run(whole, Console(Terminal(file=file, width=200)))
    report = json.loads((Path(config.workdir) / "report.json").read_text())
    return Ran(products, report, str(config.tracking.uri))


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS]
)
def test_run_from_a_teacher_of_this_family_ends_with_a_model_that_transformers_and_mlflow_load(
    name: str, tmp_path: Path, mlflow_template: Path, ray_session: None
) -> None:
    made = ran(name, tmp_path, mlflow_template)
    products, report = made.products, made.report
    assert products.published is not None
    assert products.blocks is not None
    folder = products.published.artifact.folder
    student, family = model_in(folder.path), family_of(CONFIGS[name])
    expected = "distilbert" if name == "bert" else CONFIGS[name].model_type
    assert student.config.model_type == expected
    assert student.config.num_hidden_layers == 2
    assert report["student"]["mlm_loss"] < report["student_at_init"]["mlm_loss"]
    assert report["objective"] == family.objective.name
    # What the text says is text: the special tokens are where documents begin and end, and nowhere else.
    vocabulary, counts = products.blocks.artifact.vocabulary, products.blocks.artifact.counts()
    ends = [vocabulary.sep_id] + ([] if vocabulary.cls_id is None else [vocabulary.cls_id])
    others = [i for i in vocabulary.special_ids if i not in (*ends, vocabulary.unk_id)]
    assert not counts[others].any()
    assert counts[ends].all()
    # As people load it.
    text = "w1 w2 w3" if family.objective is CAUSAL else f"w1 w2 {load_tokenizer(folder.path).mask_token}"
    if family.objective is not CAUSAL:
        guesses = transformers_pipeline("fill-mask", model=folder.path)(text)
        assert [guess["token_str"] for guess in guesses] == [g.token for g in filled(folder, text).guesses[0]]
    else:
        continued = filled(folder, text).continued
        again = transformers_pipeline("text-generation", model=folder.path)
        wrote = again(text, max_new_tokens=min(CONTINUED, 8), do_sample=False)[0]["generated_text"]
        assert continued is not None
        assert wrote.removeprefix(text)[:6] == continued[:6]
    mlflow.set_tracking_uri(made.store)
    loaded = mlflow.transformers.load_model(report["model_uri"], return_type="components")
    assert sum(p.numel() for p in loaded["model"].parameters()) == report["student"]["parameters"]
    assert mlflow.models.get_model_info(report["model_uri"]).flavors["transformers"]["task"] == (
        family.objective.pipeline_tag
    )
    card = (folder.path / "README.md").read_text()
    assert f"pipeline_tag: {family.objective.pipeline_tag}" in card


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "modernbert", "roberta"])
def test_two_workers_learn_what_one_does(name: str, tmp_path: Path, mlflow_template: Path, ray_session: None) -> None:
    states = []
    for workers in (1, 2):
        (home := tmp_path / str(workers)).mkdir()
        products = ran(name, home, mlflow_template, workers).products
        assert products.student is not None
        states.append(model_in(products.student.artifact.folder.path).state_dict())
    for path, weight in states[0].items():
        torch.testing.assert_close(weight, states[1][path], rtol=1e-4, atol=1e-5, msg=path)


def test_every_family_has_a_tokenizer_to_try() -> None:
    assert TOKENIZERS.keys() == CONFIGS.keys()
