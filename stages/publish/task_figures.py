"""Labelled tasks in a model card: a table for people, and the hub's own list of results."""

from collections.abc import Mapping

from huggingface_hub import EvalResult

from stages.tasks.artifact import TaskResult

METRICS = {
    "accuracy": ("accuracy", "accuracy"),
    "f1": ("f1", "F1"),
    "macro_f1": ("f1", "macro F1"),
    "mcc": ("matthews_correlation", "Matthews correlation"),
    "pearson": ("pearsonr", "Pearson correlation"),
    "spearman": ("spearmanr", "Spearman correlation"),
    "r2": ("r_squared", "R²"),
    "span_f1": ("seqeval", "F1 of spans"),
    "em": ("exact_match", "exact match"),
    "squad_f1": ("f1", "F1 of words"),
}
"""A metric's name on the hub, and for a person; another's is its own."""
TASK_TYPES = {
    "classes": "text-classification",
    "number": "text-classification",  # the hub has no task of its own for STS-B and its like
    "tokens": "token-classification",
    "spans": "question-answering",
}


def metric_title(metric: str) -> str:
    """What a person calls it."""
    return METRICS.get(metric, (metric, metric))[1]


def others_of(tasks: Mapping[str, TaskResult]) -> list[str]:
    """The further models that any of the tasks has a score of, in the order in which they come."""
    return list(dict.fromkeys(name for task in tasks.values() for name in task.others))


def task_table(tasks: Mapping[str, TaskResult]) -> str:
    """A row a task: teacher, further models, student, what was kept and within which interval. Empty without tasks."""
    if not tasks:
        return ""
    others = others_of(tasks)
    heads = ["task", "metric", "examples", "teacher", *others, "student", "kept", "95 % interval"]
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for name, task in tasks.items():
        further = [f"{task.others[other]:.4f}" if other in task.others else "" for other in others]
        low, high = task.interval
        cells = [name, metric_title(task.metric), f"{task.n:,}", f"{task.teacher:.4f}", *further, f"{task.student:.4f}"]
        lines.append(f"| {' | '.join([*cells, f'{task.kept:.1%}', f'{low:.1%} to {high:.1%}'])} |")
    seeds = sorted({task.seeds for task in tasks.values()})
    each = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return "\n".join(lines) + (
        f"\n\nAll models fine-tuned by the same rules, {each} {'seed' if each == '1' else 'seeds'} each (the median is "
        "shown); kept: the student's score / the teacher's, its interval over examples and seeds."
    )


def task_results(tasks: Mapping[str, TaskResult]) -> list[EvalResult]:
    """The student's scores after fine-tuning, as the hub lists them."""
    return [
        EvalResult(
            task_type=TASK_TYPES[task.kind],
            dataset_type=name,
            dataset_name=f"{name}, after fine-tuning",
            dataset_args={"examples": task.n, "seeds": task.seeds},
            metric_type=METRICS.get(task.metric, (task.metric, task.metric))[0],
            metric_name=metric_title(task.metric),
            metric_value=round(task.student, 4),
        )
        for name, task in tasks.items()
    ]
