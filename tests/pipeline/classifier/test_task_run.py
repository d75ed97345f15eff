"""`distil task` as a user has it: a fine-tuned BERT made smaller, published, registered, and made once."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from published import tiny_tokenizer
from rich.console import Console as Terminal
from tiny import WORDS, tiny_bert
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from pipeline.classifier.asked import config_of_task
from pipeline.classifier.run import Made, run
from pipeline.cli.arguments import parse, split
from pipeline.cli.console import Console
from pipeline.cli.main import main
from stages.distillation.step import Arithmetic
from stages.tasks.data.load import load
from stages.tasks.data.specs import task_of
from stages.tasks.fine_tuning.head import with_head
from stages.tasks.fine_tuning.inputs import inputs_of
from stages.tasks.fine_tuning.learn import Setting, fine_tune

CPU = torch.device("cpu")
LAYERS = 4


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Home:
    folder: Path
    teacher: Path
    spec: str
    store: str

    def words(self, *further: str, layers: str, name: str) -> list[str]:
        work = str(self.folder / name)
        rules = ["--seeds", "2", "--learning-rate", "3e-3", "--epochs", "4", "--batch", "8", "--precision", "fp32"]
        place = ["--tracking.uri", self.store, "--tracking.system-metrics", "false"]
        return [
            *["task", str(self.teacher), self.spec, "--layers", layers, "--name", "tiny-intents", "--workdir", work],
            *[*rules, *place, *further],
        ]

    def task(self, *further: str, layers: str, name: str) -> tuple[Made, str]:
        own, fields = split(self.words(*further, layers=layers, name=name))
        printed = self.folder / "printed.txt"
        with printed.open("w") as file:
            made = run(config_of_task(parse(own), fields), Console(Terminal(file=file, width=160)))
        return made, printed.read_text()


def rows(file: Path, names: dict[bool, str]) -> None:
    """A class by whether the first word is of the first half of the vocabulary."""
    rng = np.random.default_rng(3)
    lines = [[WORDS[i] for i in rng.integers(0, len(WORDS), 6)] for _ in range(160)]
    low = {word: number < 20 for number, word in enumerate(WORDS)}
    file.write_text("\n".join(["text,intent", *(f"{' '.join(one)},{names[low[one[0]]]}" for one in lines)]))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> Home:
    """A BERT of four blocks that was fine-tuned; its classes are not in the order of their names."""
    folder = tmp_path_factory.mktemp("task")
    (folder / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    rows(folder / "intents.csv", {True: "low", False: "high"})
    spec = f"{folder}/intents.csv:text=text,label=intent,metric=accuracy+macro_f1"
    tiny_bert(layers=LAYERS, scale=0.05, max_position_embeddings=32).save_pretrained(folder / "body")
    tokenizer, labelled = tiny_tokenizer(WORDS), load(task_of(spec))
    model = with_head(folder / "body", "classes", labelled.classes, pad=0, seed=0, dropout=0.0, device=CPU)
    inputs = inputs_of(labelled.train, tokenizer, longest=32)
    setting = Setting(learning_rate=5e-3, epochs=15, batch=8, warmup=0.1, weight_decay=0.01)
    arithmetic = Arithmetic(device=CPU, dtype=torch.float32, scaler=torch.amp.GradScaler("cpu", enabled=False))
    fine_tune(model, inputs, "classes", setting, seed=0, pad=0, arithmetic=arithmetic)
    with torch.no_grad():  # "low" is 0 from here on, where the sorted classes have "high" there
        model.classifier.weight.copy_(model.classifier.weight.flip(0).clone())
        model.classifier.bias.copy_(model.classifier.bias.flip(0).clone())
    model.config.id2label, model.config.label2id = {0: "low", 1: "high"}, {"low": 0, "high": 1}
    model.save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    return Home(folder, folder / "teacher", spec, f"sqlite:///{folder}/mlflow.db")


def plain_accuracy(folder: Path, spec: str) -> float:
    """By transformers alone, a text at a time."""
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    labelled = load(task_of(spec))
    right = []
    for text, label in zip(labelled.dev.first, labelled.dev.labels, strict=True):
        with torch.no_grad():
            said = int(model(**tokenizer(text, return_tensors="pt")).logits.argmax())
        right.append(model.config.id2label[said] == labelled.classes[label])
    return float(np.mean(right))


@pytest.mark.timeout(600)
def test_task_halves_a_classifier_publishes_it_and_says_what_was_kept(home: Home, ray_session: None) -> None:
    made, said = home.task(layers="alternate", name="half")
    work = home.folder / "half"
    report = json.loads((work / "report.json").read_text())
    student = work / report["folders"]["student"]
    teacher, own = plain_accuracy(home.teacher, home.spec), plain_accuracy(student, home.spec)
    assert teacher > 0.8
    assert own > 0.6
    assert report["teacher"]["score"] == pytest.approx(teacher)
    assert report["student"]["score"] == pytest.approx(own)
    assert report["kept"] == pytest.approx(own / teacher)
    assert report["interval"][0] <= report["kept"] <= report["interval"][1]
    assert report["chosen"]["layers"] == [0, 2]
    assert len(report["chosen"]["by_seed"]) == 2
    assert report["train"] + report["chosen_on"] == 128
    model = AutoModelForSequenceClassification.from_pretrained(student)
    assert model.num_parameters() == report["student"]["parameters"] < report["teacher"]["parameters"]
    found = pipeline("text-classification", model=str(student))(["w1 w30 w7", "w35 w2 w9"])
    assert {one["label"] for one in found} <= {"low", "high"}
    card = (student / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    assert f"| accuracy | {teacher:.4f} | {own:.4f} |" in card
    assert "accuracy" in said
    client = mlflow.MlflowClient(home.store)
    live = client.get_run(report["mlflow_run_id"])
    assert live.info.status == "FINISHED"
    assert live.data.metrics["final/kept"] == pytest.approx(report["kept"])
    aliases = client.get_registered_model("tiny-intents").aliases
    assert set(aliases) == {"candidate", "champion"}
    mlflow.set_tracking_uri(home.store)
    loaded = mlflow.transformers.load_model("models:/tiny-intents@candidate")
    assert loaded("w1 w30 w7")[0]["label"] == found[0]["label"]
    before = (work / "report.json").read_bytes()
    again, _ = home.task(layers="alternate", name="half")
    assert all(one.reused for one in again.all())
    assert (work / "report.json").read_bytes() == before
    assert len(client.search_model_versions("name = 'tiny-intents'")) == 1
    assert made.published.artifact == again.published.artifact


@pytest.mark.timeout(600)
def test_task_student_of_all_blocks_begins_as_its_teacher_and_is_judged_beside_the_champion(
    home: Home, ray_session: None
) -> None:
    home.task(layers=str(LAYERS), name="whole")
    work = home.folder / "whole"
    (start,) = (work / "shrink").glob("*/start")
    teacher, student = (AutoModelForSequenceClassification.from_pretrained(one) for one in (home.teacher, start))
    ids = torch.arange(5, 25).reshape(2, 10)
    with torch.no_grad():
        expected = teacher(ids).logits
        torch.testing.assert_close(student(ids).logits, expected, rtol=1e-5, atol=1e-5)
    assert expected.abs().max() > 0.1
    report = json.loads((work / "report.json").read_text())
    assert "beside version 1, champion until now: accuracy" in report["verdict"]
    (record,) = (work / "shrink").glob("*/record.json")
    record.unlink()  # as if it had been killed just before its end
    before = {file: file.stat().st_mtime_ns for file in (work / "shrink").glob("*/fitted/*/*.json")}
    made, _ = home.task(layers=str(LAYERS), name="whole")
    assert not made.shrunk.reused
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert made.shrunk.artifact.student.score == report["student"]["score"]


def test_task_what_is_wrong_is_said_before_anything_runs(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    folder = home.folder
    rows(folder / "others.csv", {True: "low", False: "middle"})
    tiny_bert(layers=2).save_pretrained(folder / "language")
    tiny_tokenizer(WORDS).save_pretrained(folder / "language")
    (folder / "numbers.csv").write_text("text,label\n" + "\n".join(f"w{i},{i / 7:.3f}" for i in range(1, 30)))
    model, spec = str(home.teacher), home.spec
    cases = {
        (str(folder / "language"), spec): "saved as a BertForMaskedLM, has no head for classes or a number",
        (model, f"{folder}/others.csv:text=text,label=intent"): "it does not know middle",
        (model, f"{folder}/numbers.csv"): "predicts 2 classes and task numbers has a number",
        (model, f"{folder}/nowhere.csv:text=a,label=b"): "nowhere.csv",
        (str(folder / "nothing"), spec): "is no folder",
        (model, spec, "--layers", "9"): "shrink.layers is 9 but must be between 1 and the teacher's 4 blocks",
        (model, spec, "--seeds", "0"): "shrink.fine_tuning.seeds is 0",
        (model, spec, "--alpha", "2"): "shrink.alpha is 2",
        (model, spec, "--sedes", "3"): "sedes",
        (model, spec, "--name", "a b"): "publish.name is 'a b'",
    }
    capsys.readouterr()  # transformers shows how it saves
    for words, sentence in cases.items():
        place = ["--workdir", str(folder / "wrong"), "--tracking.uri", home.store]
        assert main(["task", *words, *place]) == 2, words
        said = capsys.readouterr().err
        assert sentence in said, (words, said)
        assert said.count("\n") == 1
