"""What can be known of tasks before anything runs: what their data is, and that it can be read."""

from collections.abc import Sequence

from stages.errors import InputError
from stages.tasks.data.load import identity as _identity
from stages.tasks.data.load import load
from stages.tasks.data.specs import task_of


def identity(specs: Sequence[str]) -> dict[str, str]:
    """What the tasks' data is, by their names, for a fingerprint; raises `InputError` for a name that comes twice."""
    found: dict[str, str] = {}
    for spec in specs:
        task = task_of(spec)
        if any(name.startswith(f"{task.name}: ") for name in found):
            raise InputError(f"evaluate.tasks has two tasks called {task.name}: give one of them another name=.")
        found |= {f"{task.name}: {name}": mark for name, mark in _identity(task).items()}
    return found


def check_tasks(specs: Sequence[str], seed: int) -> None:
    """Read all of them; raises `InputError` for what cannot be read, hours before it is needed."""
    for spec in specs:
        load(task_of(spec), seed=seed)
