"""What was kept on labelled tasks, as a table at the end of a run."""

from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from stages.tasks.artifact import STUDENT, TEACHER, TaskResult

_BLIND = "teacher knows nothing"
"""Of a task whose teacher has no score above 0, of which something could be kept."""


def task_table(tasks: Mapping[str, TaskResult]) -> Table:
    """A row a model and task: its score, what it kept of the teacher's, and how far it is from the student's."""
    seeds = sorted({task.seeds for task in tasks.values()})
    counted = " to ".join(map(str, {seeds[0]: None, seeds[-1]: None}))
    table = Table(title="labelled tasks, after fine-tuning", title_justify="left", highlight=False)
    for column in ("", "score", "kept (95 %)", "less the student"):
        table.add_column(column, justify="right" if column else "left")
    for name, task in tasks.items():
        table.add_section()
        table.add_row(f"[bold]{escape(name)}[/bold]", escape(task.metric), f"{task.n:,} examples")
        for model, found in task.models.items():
            low, high = (100 * end for end in found.interval)
            kept = f"{found.kept:.1%} ({low:.1f}–{high:.1f})" if task.teacher > 0 else _BLIND
            middle, below, above = found.difference
            apart = "" if model == STUDENT else f"{middle:+.3f} ({below:+.3f}, {above:+.3f})"
            table.add_row(f"  {model}", f"{found.score:.4f}", "" if model == TEACHER else kept, apart)
    plural = "" if counted == "1" else "s"
    told = f"medians of {counted} seed{plural}; 95 % intervals over examples and seeds"
    table.caption, table.caption_justify = told, "left"
    return table
