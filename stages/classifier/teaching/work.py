"""What Ray tasks do for a classifier: ask its teacher, fine-tune a student, take both models' time. One device each."""

import io
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig

from stages.classifier.config import ShrinkConfig
from stages.classifier.fitness import head_of
from stages.distillation.step import Arithmetic
from stages.models import set_dropout
from stages.storage import Folder
from stages.tasks.comparison.fits import inner_rows
from stages.tasks.comparison.work import arithmetic_of
from stages.tasks.examples import Examples, Labelled
from stages.tasks.fine_tuning.answers import answers
from stages.tasks.fine_tuning.batches import batch_of
from stages.tasks.fine_tuning.head import reading_of
from stages.tasks.fine_tuning.inputs import Inputs, inputs_of
from stages.tasks.fine_tuning.learn import Scale, Setting, fine_tune, in_spread, outputs_of, said_to, scale_of
from stages.tasks.fine_tuning.taught import Taught
from stages.tasks.metrics import score
from stages.tasks.task import Kind
from stages.tokens.loading import FROM_FILES, load_tokenizer

SAID, FITTED = "said.npy", "fitted.json"
"""What the teacher said to train; what a fine-tuning came to, written behind its model."""
WARM, TIMED = 3, 30
"""Forward passes of each model that are not timed, and that are."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a model answers."""

    inner: float
    """Its score on the part of train that was kept back; 0 where nothing was."""
    scores: tuple[float, ...]
    """On dev, by each of the task's metrics."""
    predicted: Any
    """Its answers to dev, as plain lists and numbers."""
    cut: int
    """Examples that it learned from of which something was cut off."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A model with its head on a device, and how it reads."""

    model: Any
    tokenizer: Any
    kind: Kind
    config: ShrinkConfig
    arithmetic: Arithmetic
    reading: Mapping[str, Any]

    @property
    def pad(self) -> int:
        """The id of padding, as the model has it: its positions may go by it."""
        return int(self.model.config.pad_token_id)

    def inputs(self, examples: Examples) -> Inputs:
        """Examples as it reads them."""
        return inputs_of(examples, self.tokenizer, **self.reading)

    def says(self, inputs: Inputs) -> NDArray[np.float32]:
        """Its head's outputs; numbers as they are."""
        size = 2 * self.config.fine_tuning.batch
        return said_to(self.model, inputs, self.kind, batch=size, pad=self.pad, arithmetic=self.arithmetic)

    def fitted(self, labelled: Labelled, kept_back: Examples | None, cut: int) -> Fitted:
        """What it answers to dev and to the part of train that was kept back."""
        first, *_ = metrics = labelled.task.metrics
        said = self._answers(labelled.dev)
        return Fitted(
            inner=0.0
            if kept_back is None
            else score(first, kept_back, self._answers(kept_back), classes=labelled.classes),
            scores=tuple(score(metric, labelled.dev, said, classes=labelled.classes) for metric in metrics),
            predicted=said.tolist() if isinstance(said, np.ndarray) else [list(tags) for tags in said],
            cut=cut,
        )

    def _answers(self, examples: Examples) -> Any:
        inputs = self.inputs(examples)
        return answers(self.says(inputs), inputs, examples, Scale())


def opened(folder: Path, kind: Kind, config: ShrinkConfig, arithmetic: Arithmetic) -> Reader:
    """The model in a folder, in fp32 and eval mode, its head included."""
    found = AutoConfig.from_pretrained(folder, **FROM_FILES)
    model = head_of(found, str(folder)).from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="sdpa" if arithmetic.device.type == "cuda" else "eager",
        **FROM_FILES,
    )
    return Reader(
        model=model.to(arithmetic.device).eval(),
        tokenizer=load_tokenizer(folder),
        kind=kind,
        config=config,
        arithmetic=arithmetic,
        reading=reading_of(folder, config.fine_tuning.max_tokens),
    )


def learned_from(labelled: Labelled, config: ShrinkConfig) -> tuple[Examples, Examples | None]:
    """(what students learn from, what is kept back of train to choose one by; None where there is no choice)."""
    if not config.chooses:
        return labelled.train, None
    learn, choose = inner_rows(len(labelled.train), config.fine_tuning)
    return labelled.train.take(learn), labelled.train.take(choose)


def ask_teacher(teacher: Folder, labelled: Labelled, config: ShrinkConfig, kept: Folder) -> Fitted:
    """What the teacher answers; what it says to train is kept in the folder `kept`, and then the rest."""
    train, choose = learned_from(labelled, config)
    with teacher.as_local() as local:
        reader = opened(local, labelled.task.kind, config, arithmetic_of(config.fine_tuning))
    inputs, buffer = reader.inputs(train), io.BytesIO()
    np.save(buffer, reader.says(inputs))
    kept.write_bytes(SAID, buffer.getvalue())
    found = reader.fitted(labelled, choose, inputs.cut)
    kept.write_bytes(FITTED, json.dumps(asdict(found)).encode())
    return found


def fit(
    start: Folder, labelled: Labelled, config: ShrinkConfig, setting: Setting, seed: int, said: Folder, kept: Folder
) -> Fitted:
    """Fine-tune the student in `start` on the labels and on what the teacher `said`; it goes into the folder `kept`,
    and behind it what it answers."""
    train, choose = learned_from(labelled, config)
    kind = labelled.task.kind
    with start.as_local() as local:
        reader = opened(local, kind, config, arithmetic_of(config.fine_tuning))
    inputs = reader.inputs(train)
    set_dropout(reader.model, config.fine_tuning.dropout)
    theirs = np.load(io.BytesIO(said.read_bytes(SAID)))
    taught = Taught(
        said=in_spread(theirs, scale_of(kind, inputs.labels)), temperature=config.temperature, alpha=config.alpha
    )
    fine_tune(
        reader.model,
        inputs,
        kind,
        setting,
        seed=seed,
        pad=reader.pad,
        arithmetic=reader.arithmetic,
        taught=taught if config.alpha else None,
        plain_numbers=True,
    )
    found = reader.fitted(labelled, choose, inputs.cut)
    with kept.written_locally() as folder:
        reader.model.save_pretrained(folder)
        reader.tokenizer.save_pretrained(folder)
    kept.write_bytes(FITTED, json.dumps(asdict(found)).encode())
    return found


def read_fitted(kept: Folder) -> Fitted | None:
    """What an earlier call kept in this folder; None where it did not come to its end."""
    try:
        plain = json.loads(kept.read_bytes(FITTED))
    except FileNotFoundError:
        return None
    return Fitted(inner=plain["inner"], scores=tuple(plain["scores"]), predicted=plain["predicted"], cut=plain["cut"])


@torch.inference_mode()
def latencies(models: Mapping[str, Folder], labelled: Labelled, config: ShrinkConfig) -> dict[str, float]:
    """Median milliseconds of a forward pass on CPU, batch 1, fp32, over some examples of dev, the models taking turns:
    a shared machine's speed drifts, and slows both alike."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    cpu = torch.device("cpu")
    arithmetic = Arithmetic(device=cpu, dtype=torch.float32, scaler=torch.amp.GradScaler("cpu", enabled=False))
    readers, kind = {}, labelled.task.kind
    for name, folder in models.items():
        with folder.as_local() as local:
            readers[name] = opened(local, kind, config, arithmetic)
    rows = np.resize(np.random.default_rng(0).permutation(len(labelled.dev))[:TIMED], WARM + TIMED)
    examples = labelled.dev.take(rows.astype(np.int64))
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    inputs = {name: reader.inputs(examples) for name, reader in readers.items()}
    for turn in range(WARM + TIMED):
        for name, reader in readers.items():
            given = batch_of(inputs[name], np.array([turn]), kind=kind, pad=reader.pad, device=cpu)
            started = time.perf_counter()
            outputs_of(reader.model, given, kind)
            if turn >= WARM:
                seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * median(values) for name, values in seconds.items()}
