"""What can be known of tasks before anything runs: what their data is, and that it can be read."""

from collections.abc import Sequence

from stages.errors import InputError
from stages.tasks.data.load import identity as _identity
from stages.tasks.data.load import load
from stages.tasks.data.specs import task_of


def identity(specs: Sequence[str], gate: Sequence[str] = ()) -> dict[str, str]:
    """What the tasks' data is, by their names, for a fingerprint; raises `InputError` for a name that comes twice, and
    for one of the `gate` that is none of them."""
    found: dict[str, str] = {}
    names: list[str] = []
    for spec in specs:
        task = task_of(spec)
        if task.name in names:
            raise InputError(f"evaluate.tasks has two tasks called {task.name}: give one of them another name=.")
        names.append(task.name)
        found |= {f"{task.name}: {name}": mark for name, mark in _identity(task).items()}
    for name in gate:
        if name not in names:
            there = f"only {', '.join(names)}" if names else "none there"
            raise InputError(
                f"publish.gate names {name}, and of evaluate.tasks there is {there}: add it, or leave it out."
            )
    return found


def check_tasks(specs: Sequence[str], seed: int) -> None:
    """Read all of them; raises `InputError` for what cannot be read, hours before it is needed."""
    for spec in specs:
        load(task_of(spec), seed=seed)
