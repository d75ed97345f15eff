"""What a fine-tuned teacher said to the same inputs, and how far a student is from it: the second step of distillation
(DistilBERT, section 3; Hinton et al. 2015, section 2)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.tasks.fine_tuning.batches import TaskBatch
from stages.tasks.fine_tuning.inputs import IGNORED, Inputs
from stages.tasks.task import Kind


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A teacher's own outputs, as `said_to` gives them, and how much they count."""

    said: NDArray[np.float32]
    temperature: float
    alpha: float


def taught_loss(outputs: Tensor, batch: TaskBatch, kind: Kind, inputs: Inputs, taught: Taught) -> Tensor:
    """T² · KL(teacher ‖ student at T), the mean over texts, words or an answer's two ends; of numbers the mean squared
    difference, since there is nothing to soften."""
    if kind in ("number", "classes"):
        theirs = torch.from_numpy(taught.said[batch.rows]).to(outputs.device)
        if kind == "number":
            return nn.functional.mse_loss(outputs, theirs)
        return softened(outputs, theirs, taught.temperature)
    where = np.concatenate([np.arange(inputs.starts_I[row], inputs.starts_I[row + 1]) for row in batch.rows])
    real = batch.real_RL.bool()
    if kind == "tokens":
        asked = batch.labels[real] != IGNORED
        theirs = torch.from_numpy(taught.said[where]).to(outputs.device)
        return softened(outputs[real][asked], theirs[asked], taught.temperature)
    # An end of an answer is a choice among the tokens of its window; padding is none of them.
    theirs = torch.full_like(outputs, -torch.inf)
    theirs[real] = torch.from_numpy(taught.said[where]).to(outputs.device)
    masked = outputs.masked_fill(real.logical_not().unsqueeze(-1), -torch.inf)
    return softened(masked.transpose(1, 2).flatten(0, 1), theirs.transpose(1, 2).flatten(0, 1), taught.temperature)


def softened(student_RC: Tensor, teacher_RC: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student), both softened by T, the mean over R; a choice that is no choice (−inf) weighs
    nothing."""
    student = torch.log_softmax(student_RC / temperature, dim=-1)
    teacher = torch.log_softmax(teacher_RC / temperature, dim=-1)
    apart = torch.where(teacher.isinf(), 0.0, teacher.exp() * (teacher - student.masked_fill(student.isinf(), 0.0)))
    return temperature**2 * apart.sum(-1).mean()
