"""Smaller classifiers of every family: they begin as their teacher, and learn from labels and from what it says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_families import CONFIGS, LAYERS, model_for, tokenizer_for
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoModelForTokenClassification

from stages.classifier.answers import answers_file, difference, digest_of
from stages.classifier.config import ShrinkConfig, SourceConfig
from stages.classifier.fetch import fetch_classifier
from stages.classifier.fitness import check
from stages.classifier.teaching.work import FITTED, Fitted, ask_teacher, fit, latencies, opened, read_fitted
from stages.context import StageContext
from stages.distillation.models.student import take_blocks
from stages.distillation.step import Arithmetic
from stages.errors import InputError
from stages.models import set_dropout
from stages.storage import Folder
from stages.tasks.config import FineTuningConfig
from stages.tasks.examples import Labelled, Texts, Words
from stages.tasks.fine_tuning.batches import batch_of, order
from stages.tasks.fine_tuning.learn import Setting, fine_tune, in_spread, outputs_of, scale_of
from stages.tasks.fine_tuning.taught import Taught
from stages.tasks.task import Files, Kind, Task

COLOURS = ("red", "green", "blue", "gray", "pink", "gold")
ALL = (*COLOURS, "one", "two", "six", "ten", "four", "nine")
FP32 = Arithmetic(device=torch.device("cpu"), dtype=torch.float32, scaler=torch.amp.GradScaler("cpu", enabled=False))
RULES = FineTuningConfig(
    learning_rates=(3e-3,), epochs=(4,), seeds=1, batch=8, dropout=0.0, precision="fp32", max_tokens=16
)
SETTING = Setting(learning_rate=3e-3, epochs=4, batch=8, warmup=0.1, weight_decay=0.01)
HEADS: dict[Kind, tuple[Any, int]] = {
    "classes": (AutoModelForSequenceClassification, 2),
    "number": (AutoModelForSequenceClassification, 1),
    "tokens": (AutoModelForTokenClassification, 2),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sentences(count: int) -> list[list[str]]:
    rng = np.random.default_rng(1)
    return [[ALL[number] for number in rng.integers(0, len(ALL), rng.integers(3, 7))] for _ in range(count)]


def labelled(kind: Kind, count: int = 96) -> Labelled:
    """Whether the first word is a colour, as a class or as a number; which of the words are."""
    lines = sentences(count)
    if kind == "tokens":
        examples: Texts | Words = Words(
            tuple(map(tuple, lines)), tuple(tuple(int(word in COLOURS) for word in one) for one in lines)
        )
    else:
        colour = np.array([int(one[0] in COLOURS) for one in lines])
        labels = colour if kind == "classes" else 1.0 + 2 * colour
        examples = Texts(tuple(" ".join(one) for one in lines), None, labels)
    metrics = {"classes": "accuracy", "number": "r2", "tokens": "accuracy"}[kind]
    cut = 2 * count // 3
    return Labelled(
        task=Task(name="colours", kind=kind, metrics=(metrics,), source=Files(train="colours")),
        classes=() if kind == "number" else ("other", "colour"),
        train=examples.take(np.arange(cut)),
        dev=examples.take(np.arange(cut, count)),
        notes=(),
    )


def classifier(folder: Path, name: str, kind: Kind) -> Folder:
    """A tiny model of a family with a random head, as the stage that fetches one keeps it."""
    tokenizer = tokenizer_for(name, [" ".join(one) for one in sentences(200)])
    tokenizer.save_pretrained(folder / "theirs")
    model_for(name, tokenizer).save_pretrained(folder / "body")
    auto, labels = HEADS[kind]
    model = auto.from_pretrained(folder / "body", num_labels=labels)
    with torch.no_grad():
        for path, weight in model.named_parameters():
            if "classifier" in path or "score" in path:
                weight.normal_(0, 0.2, generator=torch.Generator().manual_seed(0))
    model.save_pretrained(folder / "theirs")
    place = Folder(str(folder / "classifier"))
    return fetch_classifier(SourceConfig(model=str(folder / "theirs")), StageContext(folder=place, seed=0)).folder


@pytest.mark.parametrize("kind", ["classes", "tokens"])
@pytest.mark.parametrize("name", CONFIGS)
def test_student_of_all_blocks_says_what_its_teacher_says(tmp_path: Path, name: str, kind: Kind) -> None:
    place = classifier(tmp_path, name, kind)
    teacher = opened(place.path, kind, ShrinkConfig(task="colours", fine_tuning=RULES), FP32)
    student = take_blocks(teacher.model, range(LAYERS), kind="same").eval()
    inputs = teacher.inputs(labelled(kind).dev)
    expected = teacher.says(inputs)
    assert np.abs(expected).max() > 0.05
    found = [
        outputs_of(student, batch_of(inputs, np.array([row]), kind=kind, pad=teacher.pad, device=FP32.device), kind)[0]
        for row in range(len(inputs))
    ]
    plain = torch.cat(found) if kind == "tokens" else torch.stack(found)
    torch.testing.assert_close(plain, torch.from_numpy(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "kind"), [("gpt2", "classes"), ("bert", "number"), ("modernbert", "tokens")])
def test_teacher_and_student_by_their_tasks(tmp_path: Path, name: str, kind: Kind) -> None:
    """Without Ray: a teacher is taught here first, then a student of two of its blocks learns from it alone."""
    data, start = labelled(kind), classifier(tmp_path, name, kind)
    alone = ShrinkConfig(task="colours", alpha=0.0, fine_tuning=RULES)
    said, kept = Folder(str(tmp_path / "untaught")), Folder(str(tmp_path / "teacher"))
    ask_teacher(start, data, alone, said)
    hard = Setting(learning_rate=5e-3, epochs=8, batch=8, warmup=0.1, weight_decay=0.01)
    teacher = fit(start, data, alone, hard, 0, said, kept)
    assert teacher.scores[0] > 0.7
    config = ShrinkConfig(task="colours", alpha=1.0, fine_tuning=RULES)
    again = ask_teacher(kept, data, config, said)
    assert again.scores == teacher.scores
    assert read_fitted(said) == again
    with kept.as_local() as local:
        whole = opened(local, kind, config, FP32)
    student = take_blocks(whole.model, (0, 3), kind="same")
    small = Folder(str(tmp_path / "small"))
    student.save_pretrained(small.path)
    whole.tokenizer.save_pretrained(small.path)
    before = ask_teacher(small, data, config, Folder(str(tmp_path / "before")))
    found = fit(small, data, config, hard, 0, said, Folder(str(tmp_path / "student")))
    assert found.scores[0] > 0.6
    assert found.scores[0] >= before.scores[0]
    times = latencies({"teacher": kept, "student": small}, data, config)
    assert min(times.values()) > 0
    if kind == "number":
        assert 1 < float(np.mean(found.predicted)) < 3


def test_plain_numbers_is_a_plain_loop_of_torchs(tmp_path: Path) -> None:
    place, data = classifier(tmp_path, "bert", "number"), labelled("number", 36)
    mine, plain = (
        opened(place.path, "number", ShrinkConfig(task="colours", fine_tuning=RULES), FP32) for _ in range(2)
    )
    for one in (mine, plain):
        set_dropout(one.model, 0.0)
    inputs = mine.inputs(data.train)
    theirs = np.random.default_rng(0).normal(2, 1, len(inputs)).astype(np.float32)
    scale, setting = (
        scale_of("number", inputs.labels),
        Setting(learning_rate=1e-3, epochs=1, batch=6, warmup=0.0, weight_decay=0.0),
    )
    taught = Taught(said=in_spread(theirs, scale), temperature=2.0, alpha=0.25)
    how: dict[str, Any] = {"seed": 3, "pad": mine.pad, "arithmetic": FP32}
    fine_tune(mine.model, inputs, "number", setting, **how, taught=taught, plain_numbers=True)
    optimizer = torch.optim.AdamW(plain.model.parameters(), betas=(0.9, 0.98), eps=1e-6, weight_decay=0.0)
    batches = order(inputs.lengths_I, batch=6, seed=3, epoch=0)
    mean, spread = float(inputs.labels.mean()), float(inputs.labels.std())
    plain.model.train()
    for step, rows in enumerate(batches):
        batch = batch_of(inputs, rows, kind="number", pad=mine.pad, device=FP32.device)
        said = outputs_of(plain.model, batch, "number")
        labels, teacher = batch.labels, torch.from_numpy(theirs[rows])
        loss = 0.75 * ((said - labels) / spread).square().mean() + 0.25 * ((said - teacher) / spread).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.model.parameters(), 5.0)
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / len(batches))
        optimizer.step()
        optimizer.zero_grad()
    assert mean > 1
    for (name, ours), other in zip(mine.model.named_parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-4, msg=name)


def test_check_says_what_is_wrong_with_a_model(tmp_path: Path) -> None:
    classifier(tmp_path, "bert", "classes")
    theirs = tmp_path / "theirs"
    assert check(SourceConfig(model=str(theirs))).num_labels == 2
    model = AutoModelForSequenceClassification.from_pretrained(theirs)
    model.config.problem_type = "multi_label_classification"
    model.config.save_pretrained(theirs)
    with pytest.raises(InputError, match="any number of labels at once"):
        check(SourceConfig(model=str(theirs)))
    model.config.problem_type, model.config.id2label = None, {number: str(number) for number in range(5)}
    model.config.save_pretrained(theirs)
    with pytest.raises(InputError, match=r"classifier.bias is \(2,\) and should be \(5,\)|classifier.weight is"):
        check(SourceConfig(model=str(theirs)))
    body = AutoModelForMaskedLM.from_pretrained(tmp_path / "body")
    body.config.architectures = ["BertForSequenceClassification"]  # as somebody's config.json might say
    body.save_pretrained(theirs)
    config = (theirs / "config.json").read_text().replace("BertForMaskedLM", "BertForSequenceClassification")
    (theirs / "config.json").write_text(config)
    with pytest.raises(InputError, match="has no head for classes or a number"):
        check(SourceConfig(model=str(theirs)))


def test_difference_is_of_the_students_on_the_same_examples() -> None:
    dev = labelled("classes").dev
    assert isinstance(dev, Texts)
    truth = dev.labels.astype(int).tolist()
    wrong = [1 - label for label in truth]
    half = [label if place % 2 else 1 - label for place, label in enumerate(truth)]
    files = {name: answers_file(dev, {"teacher": truth, "student": said}) for name, said in (("w", wrong), ("h", half))}
    apart, (low, high) = difference(files["h"], files["w"], "classes", "accuracy", ("other", "colour"))
    assert apart == pytest.approx(0.5)
    assert 0 < low < 0.5 < high
    same, interval = difference(files["h"], files["h"], "classes", "accuracy", ("other", "colour"))
    assert (same, interval) == (0.0, (0.0, 0.0))
    other = Texts(dev.first, None, np.array(wrong))
    assert digest_of(dev, ("a", "b")) == digest_of(labelled("classes").dev, ("a", "b")) != digest_of(other, ("a", "b"))


def test_read_fitted_is_nothing_before_a_fine_tuning_came_to_its_end(tmp_path: Path) -> None:
    assert read_fitted(Folder(str(tmp_path))) is None
    (tmp_path / FITTED).write_text('{"inner": 0.5, "scores": [0.25], "predicted": [1], "cut": 0}')
    assert read_fitted(Folder(str(tmp_path))) == Fitted(inner=0.5, scores=(0.25,), predicted=[1], cut=0)
