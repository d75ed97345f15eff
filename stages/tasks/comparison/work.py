"""One fine-tuning from folder to figures, as a Ray task does it, on one device."""

import io
import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from stages.distillation.hardware import dtype_of, keep_freed_memory
from stages.distillation.step import Arithmetic
from stages.storage import Folder
from stages.tasks.comparison.fits import Fit, inner_rows
from stages.tasks.config import FineTuningConfig
from stages.tasks.examples import Labelled
from stages.tasks.fine_tuning.answers import answers
from stages.tasks.fine_tuning.head import padding_of, reading_of, with_head
from stages.tasks.fine_tuning.inputs import inputs_of
from stages.tasks.fine_tuning.learn import fine_tune, said_to, scale_of
from stages.tasks.fine_tuning.taught import Taught
from stages.tasks.metrics import score
from stages.tokens.loading import load_tokenizer


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a fine-tuning came to."""

    scores: tuple[float, ...]
    """By each of the task's metrics, in their order."""
    predicted: Any
    """Its answers to dev, as plain lists, numbers and texts."""
    cut: int
    """Examples of train of which something was cut off."""
    seconds: float


def work(
    fit: Fit, labelled: Labelled, config: FineTuningConfig, *, said: Folder | None, keep_as: str, taught_as: str
) -> Outcome:
    """Fine-tune and score. `said`: the folder in which what a teacher said lies, or is kept: of this one as `keep_as`
    where it keeps it, of its teacher as `taught_as`."""
    started = time.monotonic()
    arithmetic = arithmetic_of(config)
    device = arithmetic.device
    train, asked = labelled.train, labelled.dev
    if fit.inner:
        learn_rows, score_rows = inner_rows(len(train), config)
        train, asked = train.take(learn_rows), train.take(score_rows)
    kind = labelled.task.kind
    with fit.candidate.folder.as_local() as local:
        tokenizer = load_tokenizer(local)
        pad, reading = padding_of(tokenizer), reading_of(local, config.max_tokens)
        inputs = inputs_of(train, tokenizer, **reading)
        model = with_head(local, kind, labelled.classes, pad=pad, seed=fit.seed, dropout=config.dropout, device=device)
    taught = (
        None
        if fit.second_step is None
        else Taught(
            said=np.load(io.BytesIO(_folder(said).read_bytes(taught_as))),
            temperature=fit.second_step.temperature,
            alpha=fit.second_step.alpha,
        )
    )
    fine_tune(model, inputs, kind, fit.setting, seed=fit.seed, pad=pad, arithmetic=arithmetic, taught=taught)
    how: dict[str, Any] = {"batch": 2 * config.batch, "pad": pad, "arithmetic": arithmetic}
    if fit.keeps:
        buffer = io.BytesIO()
        np.save(buffer, said_to(model, inputs, kind, **how))
        _folder(said).write_bytes(keep_as, buffer.getvalue())
    dev = inputs_of(asked, tokenizer, **reading)
    scale = scale_of(kind, inputs.labels)
    predicted = answers(said_to(model, dev, kind, **how), dev, asked, scale)
    scores = tuple(score(metric, asked, predicted, classes=labelled.classes) for metric in labelled.task.metrics)
    plain = predicted.tolist() if isinstance(predicted, np.ndarray) else predicted
    return Outcome(scores=scores, predicted=plain, cut=inputs.cut, seconds=time.monotonic() - started)


def arithmetic_of(config: FineTuningConfig) -> Arithmetic:
    """This process's device, a GPU where it has one, in the precision asked for; and as many threads as it may use."""
    torch.set_num_threads(config.cpus if not torch.cuda.is_available() else os.cpu_count() or 1)
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype_of(config.precision, device)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    return Arithmetic(device=device, dtype=dtype, scaler=scaler)


def _folder(said: Folder | None) -> Folder:
    assert said is not None, "who learns from a teacher, or is one, knows where what it says is kept"
    return said
