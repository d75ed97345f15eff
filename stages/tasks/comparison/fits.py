"""What is fine-tuned: one model, on one task, in one setting, with one seed."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stages.storage import Folder
from stages.tasks.config import FineTuningConfig, SecondStepConfig
from stages.tasks.examples import Labelled
from stages.tasks.fine_tuning.learn import Setting

VERSION = 1
"""Raised whenever what a fine-tuning comes to changes: those that are kept no longer count then."""
INNER_MOST = 2000
"""Examples of train, at most, by which a setting is chosen."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model that is compared."""

    name: str
    """What it is in the comparison: teacher, student, start, …"""
    folder: Folder
    """With its head over the vocabulary, as transformers loads it, and its tokenizer."""
    mark: str
    """What tells its weights from others': equal where they are."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One fine-tuning."""

    task: str
    candidate: Candidate
    setting: Setting
    seed: int
    inner: bool = False
    """Whether it learns from a part of train and is scored on the rest of it: to choose a setting."""
    taught_by: "Fit | None" = None
    """The teacher's fine-tuning that it learns from beside the labels."""
    second_step: SecondStepConfig | None = None
    keeps: bool = False
    """Whether what it says to train is kept, for another to learn from."""


def key_of(fit: Fit, data: dict[str, str], config: FineTuningConfig) -> str:
    """Where its outcome is kept: a hash of all that bears on it. `data`: what the task's rows are, with their caps."""
    parts = {
        "version": VERSION,
        "model": fit.candidate.mark,
        "task": fit.task,
        "data": data,
        "setting": asdict(fit.setting),
        "seed": fit.seed,
        "inner": config.inner_share if fit.inner else None,
        "dropout": config.dropout,
        "max_tokens": config.max_tokens,
        "precision": config.precision,
        "taught": None if fit.taught_by is None else key_of(fit.taught_by, data, config),
        "second_step": None if fit.second_step is None else asdict(fit.second_step),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def settings_of(config: FineTuningConfig) -> list[Setting]:
    """The grid."""
    return [
        Setting(
            learning_rate=rate,
            epochs=epochs,
            batch=config.batch,
            warmup=config.warmup,
            weight_decay=config.weight_decay,
        )
        for rate, epochs in itertools.product(config.learning_rates, config.epochs)
    ]


def grid(task: str, candidate: Candidate, config: FineTuningConfig) -> list[Fit]:
    """The fine-tunings by which a setting is chosen; none where there is one setting alone."""
    settings = settings_of(config)
    return [
        Fit(task=task, candidate=candidate, setting=setting, seed=0, inner=True)
        for setting in (settings if len(settings) > 1 else ())
    ]


def finals(
    task: str, candidate: Candidate, setting: Setting, config: FineTuningConfig, keeps: bool = False
) -> Iterator[Fit]:
    """A model's fine-tunings at the setting that was chosen for it, one a seed."""
    for seed in range(config.seeds):
        yield Fit(task=task, candidate=candidate, setting=setting, seed=seed, keeps=keeps)


def inner_rows(examples: int, config: FineTuningConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows of train to learn from, rows of train to score on) while a setting is chosen; the same for all models."""
    shuffled = np.random.Generator(np.random.Philox(key=[0, examples])).permutation(examples)
    asked = max(1, min(INNER_MOST, round(config.inner_share * examples)))
    return np.sort(shuffled[asked:]), np.sort(shuffled[:asked])


def capped(labelled: Labelled, config: FineTuningConfig, seed: int) -> Labelled:
    """With as many examples as the rules allow, drawn by `seed`, in their own order."""
    train, dev = labelled.train, labelled.dev
    if config.train_examples is not None and config.train_examples < len(train):
        train = train.take(_some(len(train), config.train_examples, [seed, 0]))
    if config.dev_examples is not None and config.dev_examples < len(dev):
        dev = dev.take(_some(len(dev), config.dev_examples, [seed, 1]))
    return replace(labelled, train=train, dev=dev)


def _some(there: int, wanted: int, key: list[int]) -> NDArray[np.int64]:
    return np.sort(np.random.Generator(np.random.Philox(key=key)).permutation(there)[:wanted])
