"""The fields of a config by their dotted paths, as the command line and MLflow name them."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, get_origin, get_type_hints

from pipeline.annotations import dataclass_in, element_of, from_text, takes
from pipeline.names import unknown
from pipeline.plain import from_plain, joined, to_plain
from stages.errors import InputError

T = TypeVar("T")
Scalar = str | int | float | bool | None


def override(config: T, assignments: Sequence[tuple[str, str]]) -> T:
    """`config` with the fields at dotted paths set from text; the last one counts where a path comes twice.

    All are set at once, so that fields which have to agree can be changed together. Raises `InputError` for a path
    that does not exist (with the nearest one) and for a text that the field does not take.
    """
    texts: dict[str, str] = {}
    for path, text in assignments:
        path = path.replace("-", "_")
        texts.pop(path, None)
        texts[path] = text
    known = flat(config)
    for path in texts:
        _check_path(type(config), config, path, list(known))
    return _replaced(type(config), config, texts, "")


def flat(config: object) -> dict[str, Scalar]:
    """Every field by its dotted path, as MLflow's parameters have it; a list of scalars is joined by commas."""
    found: dict[str, Scalar] = {}
    _flatten(to_plain(config), "", found)
    return found


def _flatten(data: Any, path: str, found: dict[str, Scalar]) -> None:
    if isinstance(data, dict):
        for name, item in data.items():
            _flatten(item, joined(path, name), found)
    elif isinstance(data, list) and any(isinstance(item, dict | list) for item in data):
        for index, item in enumerate(data):
            _flatten(item, joined(path, str(index)), found)
    else:
        found[path] = ",".join(str(item) for item in data) if isinstance(data, list) else data


def _check_path(annotation: Any, value: Any, path: str, known: Sequence[str]) -> None:
    """Raise where `path` leads nowhere in `value`."""
    for part in path.split("."):
        step = _step(annotation, value, part)
        if step is None:
            raise unknown("field", path, known, "`distil run RECIPE --help` shows them all.")
        annotation, value = step


def _step(annotation: Any, value: Any, part: str) -> tuple[Any, Any] | None:
    """(annotation, value) of the field or list item `part` of `value`; None where there is none."""
    group = dataclass_in(annotation)
    if group is not None and part in {f.name for f in fields(group)}:
        return get_type_hints(group)[part], getattr(value, part, None)
    if get_origin(annotation) is tuple and part.isdecimal() and int(part) < len(value):
        return element_of(annotation, int(part)), value[int(part)]
    return None


def _replaced(annotation: Any, value: Any, texts: Mapping[str, str], path: str) -> Any:
    """`value` with the texts set, by paths that start at `value`."""
    if "" in texts and len(texts) > 1:
        raise InputError(f"--{path} and a field inside of it are both given: leave one of them out.")
    if "" in texts:
        return _whole(annotation, texts[""], path)
    parts: dict[str, dict[str, str]] = {}
    for rest, text in texts.items():
        first, _, remainder = rest.partition(".")
        parts.setdefault(first, {})[remainder] = text
    changed = {}
    for part, inner in parts.items():
        step = _step(annotation, value, part)
        assert step is not None, f"{path} {part} was checked"
        changed[part] = _replaced(*step, inner, joined(path, part))
    if isinstance(value, tuple):
        return tuple(changed.get(str(index), item) for index, item in enumerate(value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **changed)
    return from_plain(dataclass_in(annotation), to_plain(changed), path, complete=False)  # it was None


def _whole(annotation: Any, text: str, path: str) -> Any:
    group = dataclass_in(annotation)
    if group is annotation:
        first = fields(group)[0].name
        raise InputError(f"{path} is {takes(group)}: set one of them, such as --{path}.{first}.")
    return from_text(annotation, text, path)
