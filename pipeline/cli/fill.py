"""`distil fill`: a masked sentence, filled by teacher and student side by side."""

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForMaskedLM

from pipeline.config.schema import from_yaml
from pipeline.records.report import read_report
from pipeline.records.workdir import CONFIG
from stages.errors import InputError
from stages.models import load_tokenizer
from stages.storage import Folder

TOP = 5


@dataclass(frozen=True)
class Guess:
    """A token for the mask and its probability."""

    token: str
    probability: float


def fill(text: str, workdir: Path) -> None:
    """Print the five likeliest tokens for every mask in `text`, teacher's and student's."""
    report = read_report(workdir)
    if report is None:
        raise InputError(f"the run in {workdir} has no report.json yet; let `distil run` finish first.")
    root = from_yaml((workdir / CONFIG).read_text(encoding="utf-8"), str(workdir / CONFIG)).root
    if not (root / report.folders.student).exists():
        raise InputError(f"the run in {workdir} keeps its models in {root}, which is not on this machine.")
    teacher = guesses(root / report.folders.teacher, text)
    student = guesses(root / report.folders.student, text)
    console = Console(highlight=False)
    for number, (left, right) in enumerate(zip(teacher, student, strict=True), 1):
        title = f"mask {number} of {len(teacher)}" if len(teacher) > 1 else None
        table = Table("teacher", "", "student", "", title=title)
        for ours, theirs in zip(left, right, strict=True):
            table.add_row(ours.token, f"{ours.probability:.3f}", theirs.token, f"{theirs.probability:.3f}")
        console.print(table)


@torch.inference_mode()
def guesses(folder: Folder, text: str) -> list[list[Guess]]:
    """The `TOP` likeliest tokens for each mask in `text`, in order; `InputError` where it has none."""
    with folder.as_local() as local:
        tokenizer = load_tokenizer(local)
        model = AutoModelForMaskedLM.from_pretrained(local, dtype=torch.float32).eval()
    batch = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    length, positions = batch["input_ids"].shape[1], model.config.max_position_embeddings
    if length > positions:
        raise InputError(f"the text has {length} tokens but the model reads {positions}; give a shorter one.")
    masks = (batch["input_ids"][0] == tokenizer.mask_token_id).nonzero().squeeze(1)
    if not len(masks):
        raise InputError(f"{text!r} has no {tokenizer.mask_token}; write it where a word is to be guessed.")
    top = model(**batch).logits[0, masks].softmax(-1).topk(TOP)
    return [
        [Guess(tokenizer.decode([i]), p) for i, p in zip(ids, values, strict=True)]
        for ids, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
