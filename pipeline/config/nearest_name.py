"""The one sentence for a name that does not exist, with the nearest one that does."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from stages.errors import InputError

_ALIKE = 0.6
"""How alike two names must be to be taken for a slip of the finger; difflib's own default."""


def unknown(thing: str, name: str, known: Sequence[str], otherwise: str) -> InputError:
    """The error for `name`, which is none of `known`; `otherwise` says what to do where nothing is near."""
    found = nearest(name, known)
    hint = f"did you mean {found}?" if found else otherwise
    return InputError(f"there is no {thing} {name}; {hint}")


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The most similar of `known`, by the whole dotted path or by its last part alone; None where none is similar."""
    scored = [(max(_alike(name, other), 0.95 * _alike(_last(name), _last(other))), other) for other in known]
    score, best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
    return best if score >= _ALIKE else None


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]
