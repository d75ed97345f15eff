"""`distil fill`: a masked sentence, filled by teacher and student side by side; or a text, continued by both."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pipeline.config.schema import from_yaml
from pipeline.records.report import read_report
from pipeline.records.workdir import CONFIG
from stages.distillation.families.family import CAUSAL
from stages.distillation.families.table import family_of
from stages.errors import InputError
from stages.models import model_in
from stages.storage import Folder
from stages.tokens.loading import load_tokenizer

TOP = 5
CONTINUED = 24
"""Tokens by which a causal model continues a text."""


@dataclass(frozen=True)
class Guess:
    """A token and its probability."""

    token: str
    probability: float


@dataclass(frozen=True)
class Filled:
    """What a model makes of a text."""

    guesses: list[list[Guess]]
    """The `TOP` likeliest tokens for each mask, in order; of a causal model, for the next token alone."""
    continued: str | None = None
    """What a causal model goes on with, its likeliest token each time."""


def fill(text: str, workdir: Path) -> None:
    """Print the five likeliest tokens for every mask in `text`, teacher's and student's; of causal models those for the
    next token, and how each goes on."""
    report = read_report(workdir)
    if report is None:
        raise InputError(f"the run in {workdir} has no report.json yet; let `distil run` finish first.")
    root = from_yaml((workdir / CONFIG).read_text(encoding="utf-8"), str(workdir / CONFIG)).root
    if not (root / report.folders.student).exists():
        raise InputError(f"the run in {workdir} keeps its models in {root}, which is not on this machine.")
    teacher = filled(root / report.folders.teacher, text)
    student = filled(root / report.folders.student, text)
    console = Console(highlight=False, markup=False)
    for number, (left, right) in enumerate(zip(teacher.guesses, student.guesses, strict=True), 1):
        title = f"mask {number} of {len(teacher.guesses)}" if len(teacher.guesses) > 1 else None
        table = Table("teacher", "", "student", "", title=title)
        for ours, theirs in zip(left, right, strict=True):
            table.add_row(ours.token, f"{ours.probability:.3f}", theirs.token, f"{theirs.probability:.3f}")
        console.print(table)
    for name, one in (("teacher", teacher), ("student", student)):
        if one.continued is not None:
            console.print(f"{name}: {text}{one.continued}")


@torch.inference_mode()
def filled(folder: Folder, text: str) -> Filled:
    """What the model in `folder` makes of `text`; `InputError` where it has no mask for it, or is too long."""
    with folder.as_local() as local:
        tokenizer: Any = load_tokenizer(local)
        model: Any = model_in(local).eval()
    family = family_of(model.config)
    batch = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    length, positions = batch["input_ids"].shape[1], family.positions(model.config)
    if length > positions:
        raise InputError(f"the text has {length} tokens but the model reads {positions}; give a shorter one.")
    if family.objective is CAUSAL:
        if not length:
            raise InputError("the text has no tokens; write what is to be continued.")
        return Filled(_guesses(model, tokenizer, batch, [-1]), _continued(model, tokenizer, batch, positions))
    masks = (batch["input_ids"][0] == tokenizer.mask_token_id).nonzero().squeeze(1).tolist()
    if not masks:
        raise InputError(f"{text!r} has no {tokenizer.mask_token}; write it where a word is to be guessed.")
    return Filled(_guesses(model, tokenizer, batch, masks))


def _guesses(model: Any, tokenizer: Any, batch: Any, places: Sequence[int]) -> list[list[Guess]]:
    top = model(**batch).logits[0, places].softmax(-1).topk(TOP)
    return [
        [Guess(tokenizer.decode([i]), p) for i, p in zip(ids, values, strict=True)]
        for ids, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


def _continued(model: Any, tokenizer: Any, batch: Any, positions: int) -> str:
    """Up to the end of a document, or to as many tokens as there is room for."""
    begun = batch["input_ids"].shape[1]
    most = min(CONTINUED, positions - begun)
    if most < 1:
        return ""
    ends = tokenizer.eos_token_id
    whole = model.generate(**batch, max_new_tokens=most, do_sample=False, eos_token_id=ends, pad_token_id=ends)
    text = tokenizer.decode(whole[0], skip_special_tokens=True)
    return text.removeprefix(tokenizer.decode(whole[0, :begun], skip_special_tokens=True))
