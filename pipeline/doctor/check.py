"""A line of the doctor's table, and how many machines are spoken of in one sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_NAMED = 3
"""Machines by name; the rest are counted."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at. Field names are a contract with whoever reads the JSON: docs/cli.md."""

    check: str
    found: str
    faults: tuple[str, ...] = ()
    """A sentence, with a remedy, for each thing of which a run would fail."""
    warnings: tuple[str, ...] = ()
    """The same for what costs speed or certainty."""


def several(names: Sequence[str]) -> str:
    """`none`, `a`, `a and b`, `a, b, c and 4 more`."""
    if not names:
        return "none"
    if len(names) > _NAMED + 1:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def alike(values: Mapping[str, str]) -> dict[str, list[str]]:
    """The machines that have the same value, for each: the commonest first."""
    groups: dict[str, list[str]] = {}
    for machine, value in values.items():
        groups.setdefault(value, []).append(machine)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def in_short(values: Mapping[str, str]) -> str:
    """What machines have, as a table says it."""
    groups = alike(values)
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{value} on {several(machines)}" for value, machines in groups.items())


def megabytes(number: float) -> str:
    """A speed in bytes per second."""
    return f"{number / 1e6:,.0f} MB/s" if number >= 1e7 else f"{number / 1e6:.1f} MB/s"
