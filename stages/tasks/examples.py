"""The rows of a task, as models are taught and scored with: texts, words or questions, and what is true of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.tasks.task import Task

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Texts:
    """A class or a number for each text, or pair of texts."""

    first: tuple[str, ...]
    second: tuple[str, ...] | None
    labels: NDArray[np.int64] | NDArray[np.float64]
    """(n,): numbers of classes in int64, or the numbers themselves in float64."""

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: Rows) -> "Texts":
        """The rows of these numbers, in this order, repeats and all."""
        second = None if self.second is None else _taken(self.second, rows)
        return Texts(_taken(self.first, rows), second, self.labels[rows])


@dataclass(frozen=True)
class Words:
    """A class for each word of each sentence."""

    words: tuple[tuple[str, ...], ...]
    labels: tuple[tuple[int, ...], ...]
    """As many numbers of classes as there are words, sentence by sentence."""

    def __len__(self) -> int:
        return len(self.words)

    def take(self, rows: Rows) -> "Words":
        """The sentences of these numbers, in this order, repeats and all."""
        return Words(_taken(self.words, rows), _taken(self.labels, rows))


@dataclass(frozen=True)
class Questions:
    """Questions whose answers are stretches of their contexts."""

    ids: tuple[str, ...]
    questions: tuple[str, ...]
    contexts: tuple[str, ...]
    answers: tuple[tuple[tuple[str, int], ...], ...]
    """For each question its right answers, one at least: (text, the character of the context where it starts)."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Rows) -> "Questions":
        """The questions of these numbers, in this order, repeats and all."""
        return Questions(
            _taken(self.ids, rows),
            _taken(self.questions, rows),
            _taken(self.contexts, rows),
            _taken(self.answers, rows),
        )


Examples = Texts | Words | Questions


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A task's data, whole and checked."""

    task: Task
    classes: tuple[str, ...]
    """The classes' names, by number; () for a number and for spans."""
    train: Examples
    dev: Examples
    notes: tuple[str, ...]
    """Sentences for a person: what was guessed, cut off or left out."""


def _taken(values: tuple, rows: Rows) -> tuple:
    return tuple(values[row] for row in rows.tolist())
