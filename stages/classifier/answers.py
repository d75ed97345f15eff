"""Models' answers to dev in a file, beside what is true: what two students of one task are compared by."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from stages.tasks.artifact import STUDENT
from stages.tasks.comparison.intervals import Interval, interval_of, resampled
from stages.tasks.examples import Examples, Questions, Texts, Words
from stages.tasks.fine_tuning.answers import as_predicted
from stages.tasks.metrics import score
from stages.tasks.task import Kind

ANSWERS = "answers.json"


def answers_file(dev: Examples, predicted: Mapping[str, Any]) -> bytes:
    """The file's content: what is true, and each model's answers by its name, as plain lists and numbers."""
    return json.dumps({"truth": _plain(dev)} | dict(predicted)).encode()


def digest_of(dev: Examples, classes: tuple[str, ...]) -> str:
    """SHA-256 of the examples, what is true of them, and the classes' names by number."""
    texts = dev.words if isinstance(dev, Words) else (dev.first, dev.second) if isinstance(dev, Texts) else ()
    return hashlib.sha256(json.dumps([classes, texts, _plain(dev)]).encode()).hexdigest()


def difference(one: bytes, other: bytes, kind: Kind, metric: str, classes: tuple[str, ...]) -> tuple[float, Interval]:
    """The students' scores in two such files of the same dev, the first's less the other's: (difference, its 95 %
    interval over examples, the same ones for both)."""
    plain, before = json.loads(one), json.loads(other)
    truth = _examples(plain["truth"], kind)
    said = {name: as_predicted(file[STUDENT], kind) for name, file in (("one", plain), ("other", before))}
    drawn = resampled(metric, truth, {name: [given] for name, given in said.items()}, classes=classes)
    scores = {name: score(metric, truth, given, classes=classes) for name, given in said.items()}
    return scores["one"] - scores["other"], interval_of(drawn["one"] - drawn["other"])


def _plain(dev: Examples) -> Any:
    assert not isinstance(dev, Questions), "a classifier answers no questions"
    return dev.labels if isinstance(dev, Words) else dev.labels.tolist()


def _examples(truth: Any, kind: Kind) -> Examples:
    """Examples without their texts, as metrics need none."""
    if kind == "tokens":
        tags = tuple(tuple(one) for one in truth)
        return Words(tuple(("",) * len(one) for one in tags), tags)
    labels = np.asarray(truth, np.int64) if kind == "classes" else np.asarray(truth, np.float64)
    return Texts(("",) * len(truth), None, labels)
