"""A published folder stands alone, gives the logits that training had, and its card tells the measured figures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from published import report_of, tiny_student
from transformers import AutoModelForMaskedLM, AutoTokenizer, DistilBertForMaskedLM, pipeline

from stages.context import StageContext
from stages.errors import ConfigError
from stages.publish.config import PublishConfig
from stages.publish.stage import publish
from stages.storage import Folder

LOSSES = np.full(40, 2.5)


def context(folder: Path) -> StageContext:
    return StageContext(folder=Folder(str(folder)), seed=0)


def front_matter(card: str) -> dict[str, object]:
    """The YAML between the first two lines of dashes, as the hub reads it."""
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])


def test_publish_loads_with_transformers_alone_and_gives_the_same_logits(tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "student")
    published = publish(
        PublishConfig(), student, report_of(tmp_path / "r", LOSSES, LOSSES + 1), None, context(tmp_path / "p")
    )
    folder = published.folder.path
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer("The [MASK] of a tensor.", return_tensors="pt", return_token_type_ids=False)
    assert tokenizer.convert_ids_to_tokens(batch["input_ids"][0]) == (
        ["[CLS]", "the", "[MASK]", "of", "a", "tensor", ".", "[SEP]"]
    )
    trained = DistilBertForMaskedLM.from_pretrained(student.folder.path).eval()
    with torch.inference_mode():
        expected = trained(**batch).logits
        assert torch.equal(AutoModelForMaskedLM.from_pretrained(folder).eval()(**batch).logits, expected)
    assert len(pipeline("fill-mask", model=str(folder))("The [MASK] of a tensor.")) == 5


def test_publish_leaves_safetensors_in_fp32_and_nothing_else_with_weights(tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "student")
    half = DistilBertForMaskedLM.from_pretrained(student.folder.path, dtype=torch.bfloat16)
    half.save_pretrained(student.folder.path)
    (student.folder.path / "optimizer.bin").write_bytes(b"left over")
    published = publish(
        PublishConfig(), student, report_of(tmp_path / "r", LOSSES, LOSSES), None, context(tmp_path / "p")
    )
    names = {file.name for file in published.folder.path.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    loaded = AutoModelForMaskedLM.from_pretrained(published.folder.path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_publish_card_has_the_reports_figures(tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "student")
    config = PublishConfig(name="mine", license="cc-by-4.0", language=("en", "de"), datasets=("owner/set",))
    report = report_of(tmp_path / "r", LOSSES, LOSSES + 1)
    card = (publish(config, student, report, None, context(tmp_path / "p")).folder.path / "README.md").read_text()
    head = front_matter(card)
    assert head["license"] == "cc-by-4.0"
    assert head["language"] == ["en", "de"]
    assert head["datasets"] == ["owner/set"]
    assert head["library_name"] == "transformers"
    assert head["pipeline_tag"] == "fill-mask"
    assert "base_model" not in head, "no teacher's name was recorded"
    rows = {line.split(" | ")[0]: line for line in card.splitlines() if line.startswith("| ")}
    assert rows["| top-1 at masks"] == "| top-1 at masks | 0.4636 | 0.2871 | 0.4213 |"
    assert rows["| masked-LM loss (nats)"] == "| masked-LM loss (nats) | 2.4000 | 3.5000 | 2.5000 |"
    assert rows["| parameters"] == "| parameters | 5,400,000 | 3,800,000 | 3,800,000 |"
    for figure in ("90.9%", "70%", "1.9 times", "73.1%", "0.3456", "0.9123", "5,120", "4,800,000", "51,234", "[MASK]"):
        assert figure in card
    assert "models:/mine@candidate" in card


def test_publish_card_is_read_by_the_hubs_own_reader_with_the_figures(tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "student")
    config = PublishConfig(name="mine", language=("en", "de"), datasets=("owner/set",))
    report = report_of(tmp_path / "r", LOSSES, LOSSES + 1)
    file = publish(config, student, report, None, context(tmp_path / "p")).folder.path / "README.md"
    card = ModelCard.load(file)
    assert str(card) == file.read_text(), "what the hub's library writes again is the same card"
    assert card.text.startswith("\n# mine\n")
    assert card.data.model_name == "mine"
    assert card.data.language == ["en", "de"]
    figures = {(found.metric_type, found.metric_name): found.metric_value for found in card.data.eval_results}
    assert figures == {
        ("loss", "masked-LM loss (nats)"): 2.5,
        ("perplexity", "perplexity"): 12.1825,
        ("accuracy", "top-1 at masks"): 0.4213,
    }
    assert {found.dataset_type for found in card.data.eval_results} == {"owner/set"}
    assert card.data.eval_results[0].dataset_args == {"tokens": 5120, "digest": "d1-40"}


@pytest.mark.parametrize("datasets", [(), ("owner/one", "owner/two")])
def test_publish_card_figures_of_no_or_several_data_sets_name_none(tmp_path: Path, datasets: tuple[str, ...]) -> None:
    report = report_of(tmp_path / "r", LOSSES, LOSSES)
    config = PublishConfig(datasets=datasets)
    published = publish(config, tiny_student(tmp_path / "student"), report, None, context(tmp_path / "p"))
    data = ModelCard.load(published.folder.path / "README.md").data
    assert data.datasets == (list(datasets) or None)
    assert {found.dataset_type for found in data.eval_results} == {"text"}


def test_publish_card_names_the_teacher_and_every_setting_that_training_recorded(tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "student")
    settings = {"teacher": "google-bert/bert-base-uncased", "temperature": 2.0, "alpha_ce": 5.0}
    (student.folder.path / "training.json").write_text(json.dumps(settings))
    published = publish(
        PublishConfig(), student, report_of(tmp_path / "r", LOSSES, LOSSES), None, context(tmp_path / "p")
    )
    card = (published.folder.path / "README.md").read_text()
    assert front_matter(card)["base_model"] == "google-bert/bert-base-uncased"
    assert "- temperature: 2.0\n" in card
    assert json.loads((published.folder.path / "training.json").read_text()) == settings


def test_publish_card_teacher_in_a_folder_is_no_base_model(tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "student")
    (student.folder.path / "training.json").write_text(json.dumps({"teacher": str(tmp_path / "bert")}))
    published = publish(
        PublishConfig(), student, report_of(tmp_path / "r", LOSSES, LOSSES), None, context(tmp_path / "p")
    )
    assert "base_model" not in front_matter((published.folder.path / "README.md").read_text())


def test_publish_twice_gives_the_same_digests_and_other_weights_another(tmp_path: Path) -> None:
    report = report_of(tmp_path / "r", LOSSES, LOSSES)
    one, two = tiny_student(tmp_path / "one", seed=1), tiny_student(tmp_path / "two", seed=2)
    first, again = (publish(PublishConfig(), one, report, None, context(tmp_path / name)) for name in ("a", "b"))
    other = publish(PublishConfig(), two, report, None, context(tmp_path / "c"))
    assert first.weights_digest == again.weights_digest != other.weights_digest
    assert first.vocabulary_digest == other.vocabulary_digest


@pytest.mark.parametrize("name", ["owner/model", "", "a b", "models:x"])
def test_publish_config_name_that_no_registry_takes_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"publish\.name"):
        PublishConfig(name=name)
