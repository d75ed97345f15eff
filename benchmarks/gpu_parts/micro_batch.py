"""The automatic search for a micro-batch, and whether training goes on after the device ran out of memory."""

import time

import torch
from shapes import Shape, arithmetic_of, batch_of, rows_of, student_of, teacher_of
from torch import nn

from gpu_parts.sizes import Note, Sizes
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.frozen import freeze
from stages.distillation.step import Counts, DistillationModule, accumulate, adamw, update
from stages.training.micro_batch_search import fitting

SMALL_CARD = 0.25
"""The share of the card that the search is given the second time: there it must meet the limit."""


class Trial:
    """A training whose steps can be tried with any number of rows; remembers which were, and which had no room."""

    def __init__(self, shape: Shape, device: torch.device) -> None:
        teacher = teacher_of(shape, device)
        self.student = student_of(teacher, shape)
        self.arithmetic = arithmetic_of(device)
        self.module, self.frozen = (
            DistillationModule(self.student, LossWeights()),
            freeze(teacher, self.arithmetic.dtype),
        )
        self.optimizer = adamw(self.student, learning_rate=1e-5, weight_decay=0.0)
        self.shape, self.batch = shape, batch_of(shape, device)
        self.tried: list[int] = []
        self.failed: list[int] = []

    def __call__(self, rows: int) -> None:
        self.tried.append(rows)
        try:
            self.step(rows)
        except torch.OutOfMemoryError:
            self.failed.append(rows)
            raise
        finally:
            self.optimizer.zero_grad(set_to_none=True)

    def step(self, rows: int) -> None:
        """Forward and backward pass over so many rows."""
        counts = Counts(positions=rows * self.shape.length, masked=rows * self.shape.masked)
        accumulate(self.module, self.frozen, [rows_of(self.batch, rows)], counts, self.arithmetic)

    def goes_on(self, rows: int) -> bool:
        """Whether a whole step with so many rows leaves finite weights."""
        self.step(rows)
        norm = update(self.module, self.optimizer, 1e-5, self.arithmetic)
        return bool(torch.isfinite(norm)) and all(bool(torch.isfinite(p).all()) for p in self.student.parameters())


def moments(model: nn.Module) -> int:
    """Bytes that AdamW's two moments will take."""
    return 2 * sum(parameter.nbytes for parameter in model.parameters())


def run(sizes: Sizes, device: torch.device, note: Note) -> None:
    """With the whole card; with a quarter of it; then far beyond that quarter, and on."""
    shape = Shape(**{**vars(sizes.base), "rows": sizes.most_rows})
    trial, faults = Trial(shape, device), []
    free = 4 * 2**30  # counts on a CPU alone
    for name, part in (("whole", 1.0), ("quarter", SMALL_CARD)):
        trial.tried.clear()
        if device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(part, device)
        started = time.perf_counter()
        found = fitting(
            trial,
            most=shape.rows,
            block_length=shape.length,
            device=device,
            available=free,
            reserved=moments(trial.student),
            part=part,
        )
        seconds = time.perf_counter() - started
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()  # the search may have run into the end of the memory
        note({f"{name}_found": found, f"{name}_tried": list(trial.tried), f"{name}_seconds": seconds})
        if not trial.goes_on(found):
            faults.append(f"with {found} rows, as found, a step's weights are no finite numbers")
        note({"faults": faults})
        if device.type == "cuda":
            note({f"{name}_peak_mb": round(torch.cuda.max_memory_allocated() / 2**20)})
            trial.optimizer.state.clear()
    if device.type != "cuda":
        return
    before = len(trial.failed)
    try:
        trial(shape.rows)
        faults.append(f"{shape.rows} rows had room in {SMALL_CARD} of the card: nothing was proved")
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
    survived = len(trial.failed) > before and trial.goes_on(found)
    if not survived:
        faults.append("training did not go on after the device ran out of memory")
    note({"out_of_memory_survived": survived, "faults": faults})
