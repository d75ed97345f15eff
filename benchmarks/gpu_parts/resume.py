"""A training that is stopped half way and gone on with, beside one that never was: the same bits, or how far apart.

As a worker does it: dropout seeded by the step, rows by the step, weights and moments through files on a disk. What
differs between two runs that were never stopped is the device's own doing and no fault of stopping.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from shapes import Shape, arithmetic_of, batch_of, rows_of, student_of, teacher_of
from torch import Tensor, nn

from gpu_parts.sizes import Figures, Note, Sizes, synchronize
from stages.distillation.data.batch import Batch
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.frozen import freeze
from stages.distillation.schedule import dropout_seed
from stages.distillation.step import Counts, DistillationModule, accumulate, adamw, update
from stages.training.checkpoints import snapshot

BATCHES = 4
"""Different batches, taken in turn."""


class Training:
    """A small training at some step."""

    def __init__(self, shape: Shape, device: torch.device) -> None:
        torch.manual_seed(0)
        teacher = teacher_of(shape, device)
        self.student = student_of(teacher, shape)
        for module in self.student.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.1
        self.arithmetic = arithmetic_of(device)
        self.module, self.frozen = (
            DistillationModule(self.student, LossWeights()),
            freeze(teacher, self.arithmetic.dtype),
        )
        self.optimizer = adamw(self.student, learning_rate=1e-4, weight_decay=0.01)
        self.batch = batch_of(replace(shape, rows=shape.rows * BATCHES), device)
        self.shape = shape
        self.counts = Counts(positions=shape.tokens, masked=shape.rows * shape.masked)

    def rows(self, step: int) -> Batch:
        """The batch of one step."""
        start = step % BATCHES * self.shape.rows
        whole = Batch(*(t[start:] for t in (self.batch.input_ids_RL, self.batch.positions_RM, self.batch.labels_RM)))
        return rows_of(whole, self.shape.rows)

    def learn(self, steps: range) -> None:
        """The steps of this range."""
        for step in steps:
            self.gradients(step)
            update(self.module, self.optimizer, 1e-4, self.arithmetic)

    def gradients(self, step: int) -> dict[str, Tensor]:
        """The gradients of one step, left in place too."""
        torch.manual_seed(dropout_seed(0, step, 0))
        accumulate(self.module, self.frozen, [self.rows(step)], self.counts, self.arithmetic)
        return {n: p.grad.clone() for n, p in self.student.named_parameters() if p.grad is not None}

    def weights(self) -> dict[str, Tensor]:
        """Copies of all weights."""
        return {name: parameter.detach().clone() for name, parameter in self.student.named_parameters()}


def largest_difference(found: dict[str, Tensor], other: dict[str, Tensor]) -> tuple[float, str]:
    """The largest absolute difference and the tensor that has it; (0.0, "") where all bits are the same."""
    each = {name: float((found[name] - other[name]).abs().max()) for name in found}
    name = max(each, key=lambda key: each[key])
    return (each[name], name) if each[name] else (0.0, "")


def stopped_half_way(shape: Shape, device: torch.device, steps: int) -> dict[str, Tensor]:
    """Weights after `steps`, with a stop through files after half of them."""
    with tempfile.TemporaryDirectory() as folder:
        first = Training(shape, device)
        first.learn(range(steps // 2))
        snapshot.write(Path(folder), first.student, snapshot.copied(first.student, first.optimizer))
        second = Training(shape, device)
        second.gradients(steps - 1)  # whatever was computed before a start must leave no trace
        second.optimizer.zero_grad(set_to_none=True)
        snapshot.read(Path(folder), second.student, second.optimizer)
        second.learn(range(steps // 2, steps))
        return second.weights()


def at_once(shape: Shape, device: torch.device, steps: int) -> dict[str, Tensor]:
    """Weights after `steps` without a stop."""
    training = Training(shape, device)
    training.learn(range(steps))
    return training.weights()


@contextmanager
def deterministic() -> object:
    """torch's deterministic algorithms, where it has them."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def compared(shape: Shape, device: torch.device, steps: int) -> Figures:
    """Three runs' weights beside one another."""
    whole, again = at_once(shape, device, steps), at_once(shape, device, steps)
    stopped = stopped_half_way(shape, device, steps)
    resumed, where = largest_difference(stopped, whole)
    repeated, _ = largest_difference(again, whole)
    return {
        "identical": resumed == 0,
        "largest_difference": resumed,
        "where": where,
        "largest_difference_of_two_runs_never_stopped": repeated,
    }


def differing_gradients(shape: Shape, device: torch.device) -> list[str]:
    """Parameters whose gradient is another one when the same step is computed twice."""
    training = Training(shape, device)
    first = training.gradients(0)
    training.optimizer.zero_grad(set_to_none=True)
    second = training.gradients(0)
    return [name for name in first if not torch.equal(first[name], second[name])]


def seconds_of(training: Training, steps: int, device: torch.device, learn: Callable[[range], None]) -> float:
    """Seconds of so many steps, after two that are not counted."""
    learn(range(2))
    synchronize(device)
    started = time.perf_counter()
    learn(range(steps))
    synchronize(device)
    return time.perf_counter() - started


def run(sizes: Sizes, device: torch.device, note: Note) -> None:
    """As it is; then with torch's deterministic algorithms, and what those cost."""
    shape, faults = sizes.small, []
    as_it_is = compared(shape, device, sizes.steps)
    note({"steps": sizes.steps, "as_it_is": as_it_is, "gradients_that_differ": differing_gradients(shape, device)})
    with deterministic():
        strictly = compared(shape, device, sizes.steps)
        note({"deterministic": strictly})
        strict_seconds = seconds_of(one := Training(shape, device), sizes.steps, device, one.learn)
    plain_seconds = seconds_of(one := Training(shape, device), sizes.steps, device, one.learn)
    if as_it_is["largest_difference"] > 10 * as_it_is["largest_difference_of_two_runs_never_stopped"]:
        faults.append(f"a stopped run differs by more than two runs that never stopped do: {as_it_is}")
    note({"deterministic_takes": strict_seconds / plain_seconds, "faults": faults})
