"""The model card: what the model is, its measured figures beside the teacher's, how it was trained, how to load it."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from stages.distil.artifact import TRAINING_FILE, Student
from stages.distillation.families.family import MASKED, Objective
from stages.distillation.families.table import family_of
from stages.evaluation.artifact import LOSS, ModelScore, Report
from stages.publish.task_figures import task_results, task_table
from stages.tasks.artifact import TaskResult

Training = Mapping[str, str | int | float | bool | None]

LOADING = {
    "masked": """```python
from transformers import pipeline

fill = pipeline("fill-mask", model="path/to/this/folder")
for guess in fill("The {mask} of a tensor."):
    print(f"{{guess['score']:.3f}} {{guess['token_str']}}")
```""",
    "causal": """```python
from transformers import pipeline

write = pipeline("text-generation", model="path/to/this/folder")
print(write("The", max_new_tokens=20)[0]["generated_text"])
```""",
}

NO_TASKS: Mapping[str, TaskResult] = MappingProxyType({})
"""Of a student that was measured on no labelled task."""

USES = {
    "masked": "It fills masks and gives embeddings, and is meant to be fine-tuned. It does not write text.",
    "causal": "It continues texts, and is meant to be fine-tuned. What it writes is likely, and need not be true.",
}
LIMITS = """{uses}
It knows no facts to rely on. What its corpus or its teacher got wrong or left out, bias included, it has taken over:
test it on your own data before anything depends on it. It reads at most {positions} tokens at once."""


@dataclass(frozen=True)
class Words:
    """What a card calls things, by what the model was taught."""

    loss: str
    top1: str
    asked: str


WORDS = {
    "masked": Words(f"{LOSS['masked']} (nats)", "top-1 at masks", "the masked words"),
    "causal": Words(f"{LOSS['causal']} (nats)", "top-1 of the next token", "the next tokens"),
}


def read_training(folder: Path) -> Training:
    """What distilling wrote about itself into the student's folder; empty where it wrote nothing."""
    file = folder / TRAINING_FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def model_card(
    *,
    name: str,
    license: str,
    language: tuple[str, ...],
    datasets: tuple[str, ...],
    description: str,
    config: Any,
    mask_token: str,
    positions: int,
    student: Student,
    report: Report,
    training: Training,
    tasks: Mapping[str, TaskResult] = NO_TASKS,
) -> str:
    """README.md with the front matter that the Hugging Face hub reads; no figure in it that was not measured.

    `tasks`: by name, those that the student was measured on; without any the card says nothing of them.
    """
    family = family_of(config)
    teacher, objective = str(training.get("teacher", "")), family.objective
    front_matter = ModelCardData(
        model_name=name,
        license=license,
        language=list(language),
        library_name="transformers",
        pipeline_tag=objective.pipeline_tag,
        tags=[config.model_type, objective.pipeline_tag, "knowledge-distillation", "distilray"],
        base_model=teacher if _is_hub_name(teacher) else None,
        datasets=list(datasets) or None,
        eval_results=_results(report, datasets, objective) + task_results(tasks),
    )
    parts = [
        f"---\n{front_matter.to_yaml()}\n---",
        f"# {name}",
        _summary(teacher, student, report, family.called(config), objective),
        description,
        "## Figures",
        _figures(report, WORDS[objective.name]),
        "## Tasks" if tasks else "",
        task_table(tasks),
        "## Loading",
        LOADING[objective.name].format(mask=mask_token),
        f"From the registry: `mlflow.transformers.load_model('models:/{name}@candidate')`.",
        "## Intended use and limits",
        LIMITS.format(uses=USES[objective.name], positions=positions),
        "## Training",
        _training(student, training),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _results(report: Report, datasets: tuple[str, ...], objective: Objective) -> list[EvalResult]:
    """The student's figures as the hub lists them; the data set's name is the hub's where there is one and no other."""
    figures: list[tuple[str, str, float]] = [
        ("loss", WORDS[objective.name].loss, report.student.mlm_loss),
        ("perplexity", "perplexity", report.student.perplexity),
        ("accuracy", WORDS[objective.name].top1, report.student.top1),
    ]
    return [
        EvalResult(
            task_type=objective.pipeline_tag,
            dataset_type=datasets[0] if len(datasets) == 1 else "text",
            dataset_name="held-out text of the corpus",
            dataset_args={"tokens": report.heldout_tokens, "digest": report.heldout_digest[:16]},
            metric_type=metric,
            metric_name=title,
            metric_value=round(value, 4),
        )
        for metric, title, value in figures
    ]


def _is_hub_name(teacher: str) -> bool:
    """Whether the hub knows models by such a name; a folder on somebody's disk is no base model to link to."""
    return bool(re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", teacher)) and not os.path.exists(teacher)


def _summary(teacher: str, student: Student, report: Report, called: str, objective: Objective) -> str:
    of = f"`{teacher}`" if _is_hub_name(teacher) else "another model"
    at = "filling masks in" if objective is MASKED else "the next token of"
    return (
        f"A {len(student.layers)}-layer {called} distilled from {of}: {report.size_ratio:.0%} of its teacher's "
        f"parameters, {report.speedup:.1f} times its speed, and {report.kept_top1:.1%} of its top-1 accuracy at "
        f"{at} held-out text."
    )


def _figures(report: Report, words: Words) -> str:
    """Teacher, student at step 0 and student beside each other, then how close the last is to the first."""
    rows: list[tuple[str, str, str]] = [
        ("parameters", "parameters", ",d"),
        ("size in fp32 (MB)", "megabytes", ".1f"),
        (words.loss, "mlm_loss", ".4f"),
        ("perplexity", "perplexity", ".2f"),
        (words.top1, "top1", ".4f"),
        ("latency (ms)", "latency_ms", ".2f"),
    ]
    models = (report.teacher, report.student_at_init, report.student)
    lines = ["| | teacher | student at step 0 | student |", "|---|---:|---:|---:|"]
    for title, field, form in rows:
        cells = (format(_value(model, field), form) for model in models)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + (
        f"\n\nStudent and teacher agree on {report.agreement:.1%} of {words.asked}; KL(teacher ‖ student) "
        f"{report.kl:.4f} nats, cosine of the last hidden states {report.cosine:.4f}. Measured on "
        f"{report.heldout_tokens:,} held-out tokens (digest `{report.heldout_digest[:16]}`), the same for every "
        "model; latency is the median encoder forward of one block in fp32, without the vocabulary head."
    )


def _value(model: ModelScore, field: str) -> float:
    return model.bytes / 1e6 if field == "megabytes" else getattr(model, field)


def _training(student: Student, training: Training) -> str:
    """What training took, and every setting that it recorded."""
    copied = "none" if training.get("start") == "random" else ", ".join(map(str, student.layers))
    lines = [
        f"- teacher layers copied: {copied}",
        f"- optimiser steps: {student.steps:,}",
        f"- tokens seen: {student.tokens:,}",
        f"- time: {student.seconds:,.0f} s at {student.tokens_per_second:,.0f} tokens/s",
    ]
    return "\n".join(lines + [f"- {name}: {value}" for name, value in training.items()])
