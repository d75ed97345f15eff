"""What was kept on labelled tasks, as a table at the end of a run."""

from collections.abc import Mapping

from rich.table import Table

from stages.tasks.artifact import STUDENT, TEACHER, TaskResult

_BLIND = "no better than nothing"
"""Of a task whose teacher has no score above 0, of which something could be kept."""


def task_table(tasks: Mapping[str, TaskResult]) -> Table:
    """A row a model and task: its score, what it kept of the teacher's, and how far it is from the student's."""
    seeds = sorted({task.seeds for task in tasks.values()})
    counted = " to ".join(map(str, {seeds[0]: None, seeds[-1]: None}))
    table = Table(title="labelled tasks, after fine-tuning", title_justify="left", highlight=False)
    for column in ("task", "model", "score", "kept", "95 % interval", "less the student, 95 % interval"):
        table.add_column(column, justify="left" if column in ("task", "model") else "right")
    for name, task in tasks.items():
        table.add_section()
        for place, (model, found) in enumerate(task.models.items()):
            title = (name, f"{task.metric}, n = {task.n:,}")[place] if place < 2 else ""
            low, high = (f"{100 * end:.1f}" for end in found.interval)
            kept = ("", "") if model == TEACHER else (f"{found.kept:.1%}", f"{low} to {high} %")
            middle, below, above = found.difference
            apart = "" if model == STUDENT else f"{middle:+.4f}, {below:+.4f} to {above:+.4f}"
            table.add_row(title, model, f"{found.score:.4f}", *(kept if task.teacher > 0 else (_BLIND, "")), apart)
    table.caption, table.caption_justify = f"medians of {counted} seeds; intervals over examples and seeds", "left"
    return table
