"""The model card of a smaller classifier: its figures beside its teacher's, how it is used, how it was made."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from stages.classifier.artifact import Classifier, ClassifierScore, Shrunk
from stages.publish.config import PublishConfig
from stages.publish.task_figures import METRICS, TASK_TYPES, metric_title
from stages.tasks.task import Kind

LOADING = """```python
from transformers import pipeline

model = pipeline("{task}", model="path/to/this/folder")
print(model({text!r}))
```"""


def pipeline_task(kind: Kind) -> str:
    """The task's name on the hub, in transformers' pipelines and in MLflow."""
    return TASK_TYPES[kind]


def classifier_card(config: PublishConfig, teacher: Classifier, shrunk: Shrunk, *, called: str, positions: int) -> str:
    """README.md with the front matter that the Hugging Face hub reads; no figure in it that was not measured. `called`:
    what a person calls the model's class; `positions`: tokens that it reads."""
    task = pipeline_task(shrunk.kind)
    is_on_hub = "/" in teacher.name and not Path(teacher.name).exists()
    front_matter = ModelCardData(
        model_name=config.name,
        license=config.license,
        language=list(config.language) or None,
        library_name="transformers",
        pipeline_tag=task,
        tags=[task, "knowledge-distillation", "distilray"],
        base_model=teacher.name if is_on_hub else None,
        datasets=list(config.datasets) or None,
        eval_results=_results(shrunk, task),
    )
    low, high = shrunk.interval
    parts = [
        f"---\n{front_matter.to_yaml()}\n---",
        f"# {config.name}",
        f"A {called} of {len(shrunk.chosen.layers)} layers for {shrunk.task}, distilled from `{teacher.name}`, which "
        f"has {teacher.layers}: {shrunk.student.parameters / shrunk.teacher.parameters:.0%} of its parameters, "
        f"{shrunk.teacher.latency_ms / shrunk.student.latency_ms:.1f} times its speed, and {shrunk.kept:.1%} of its "
        f"{metric_title(shrunk.metric)} (95 % interval: {low:.1%} to {high:.1%}).",
        config.description,
        "## Figures",
        figures(shrunk),
        "## Loading",
        LOADING.format(task=task, text="A text of the kind that it was fine-tuned on."),
        f"From the registry: `mlflow.transformers.load_model('models:/{config.name}@candidate')`.",
        "## Limits",
        "What its teacher or its labels got wrong, bias included, it has taken over: test it on your own texts before "
        f"anything depends on it. It reads at most {positions} tokens at once.",
        "## Training",
        _training(teacher, shrunk),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def figures(shrunk: Shrunk) -> str:
    """Teacher and student beside each other, in Markdown."""
    rows = [(metric_title(shrunk.metric), shrunk.teacher.score, shrunk.student.score)]
    rows += [(metric_title(name), score, shrunk.student.others[name]) for name, score in shrunk.teacher.others.items()]
    lines = ["| | teacher | student |", "|---|---:|---:|"]
    lines += [f"| {name} | {teacher:.4f} | {student:.4f} |" for name, teacher, student in rows]

    def row(title: str, field: str, form: str, scale: float = 1) -> str:
        cells = (format(getattr(model, field) / scale, form) for model in (shrunk.teacher, shrunk.student))
        return f"| {title} | {' | '.join(cells)} |"

    lines += [
        row("parameters", "parameters", ",.0f"),
        row("size in fp32 (MB)", "bytes", ".1f", 1e6),
        row("latency (ms)", "latency_ms", ".2f"),
    ]
    low, high = shrunk.interval
    return "\n".join(lines) + (
        f"\n\nKept of the teacher's {metric_title(shrunk.metric)}: {shrunk.kept:.1%}, {low:.1%} to {high:.1%} with "
        f"95 % confidence over the {shrunk.n:,} examples of dev, by which nothing was chosen. Latency: the median "
        "forward pass of one such example in fp32 on a CPU."
    )


def _results(shrunk: Shrunk, task: str) -> list[EvalResult]:
    """The student's figures as the hub lists them."""
    model: ClassifierScore = shrunk.student
    return [
        EvalResult(
            task_type=task,
            dataset_type=shrunk.task,
            dataset_name=shrunk.task,
            dataset_args={"examples": shrunk.n, "digest": shrunk.dev_digest[:16]},
            metric_type=METRICS.get(metric, (metric, metric))[0],
            metric_name=metric_title(metric),
            metric_value=round(value, 4),
        )
        for metric, value in ({shrunk.metric: model.score} | model.others).items()
    ]


def _training(teacher: Classifier, shrunk: Shrunk) -> str:
    chosen = shrunk.chosen
    lines = [
        f"- teacher: `{teacher.name}`, blocks copied: {', '.join(map(str, chosen.layers))}, its head with them",
        f"- {shrunk.train:,} examples, {chosen.epochs} epochs, learning rate {chosen.learning_rate:g}, "
        f"seed {chosen.seed}",
    ]
    if shrunk.chosen_on:
        lines.append(f"- chosen among all that were fine-tuned on {shrunk.chosen_on:,} further examples of train")
    return "\n".join(lines + [f"- {note}" for note in shrunk.notes])
