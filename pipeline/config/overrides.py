"""The fields of a config by their dotted paths, as the command line and MLflow name them, with their texts."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_origin

import yaml

from pipeline.config.annotations import dataclass_in, element_of, fixed_length, inside, members_of, takes
from pipeline.config.nearest_name import unknown
from pipeline.config.serialisation import from_plain, joined, to_plain
from stages.errors import ConfigError, InputError

T = TypeVar("T")
Scalar = str | int | float | bool | None
_COMMA, _ANY_COMMA = r"(?<!\\),", r"\\?,"
"""Between the words of a list; the second where the first makes no sense of it, as in numbers."""
_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def override(config: T, assignments: Sequence[tuple[str, str]]) -> T:
    """`config` with the fields at dotted paths set from text; the last one counts where a path comes twice.

    All are set at once, so that fields which have to agree can be changed together. Raises `InputError` for a path
    that does not exist (with the nearest one) and for a text that the field does not take.
    """
    texts = {path.replace("-", "_"): text for path, text in assignments}
    known, data = list(flat(config)), to_plain(config)
    for path, text in texts.items():
        if any(other.startswith(f"{path}.") for other in texts):
            raise InputError(f"--{path} and a field inside of it are both given: leave one of them out.")
        _put(type(config), data, path, text, known)
    return from_plain(type(config), data, complete=False) if texts else config


def flat(config: object) -> dict[str, Scalar]:
    """Every field by its dotted path, as MLflow's parameters have it; a list of scalars is joined by commas."""
    found: dict[str, Scalar] = {}
    _flatten(to_plain(config), "", found)
    return found


def from_text(annotation: Any, text: str, path: str) -> Any:
    """The value that `text` means for the field at `path`; raises `ConfigError` where it means none.

    Lists are separated by commas, of which one with a backslash is a part of its word, or written as JSON or YAML;
    `1_000` and `1e5` are whole numbers; `none` is None.
    """
    if text.startswith("[") and any(get_origin(member) is tuple for member in members_of(annotation)):
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError:  # a glob such as [ab]*.txt, say
            data = None
        if isinstance(data, list):
            return from_plain(annotation, data, path, complete=False)
    for reading in _readings(annotation, text, path):
        try:
            return from_plain(annotation, reading, path, complete=False)
        except ConfigError:  # it may be meant in another way
            continue
    raise ConfigError(path, text, f"must be {takes(annotation)}")


def _readings(annotation: Any, text: str, path: str) -> Iterator[Any]:
    """What a word may mean, the narrowest first; pydantic, being strict, takes the first that is meant here."""
    yield from _numbers(text)
    if text.lower() in _TRUTH:
        yield _TRUTH[text.lower()]
    if text.lower() in ("none", "null"):
        yield None
    for comma in (_COMMA, _ANY_COMMA) if r"\," in text else (_COMMA,):
        words = [word.replace(r"\,", ",").strip() for word in re.split(comma, text)] if text else []
        if words and not words[-1]:  # "0," is a list of one
            words.pop()
        for member in members_of(annotation):
            if get_origin(member) is tuple and fixed_length(member) in (None, len(words)):
                with suppress(ConfigError):  # some word is no such element, so it is no list
                    items = [from_text(element_of(member, index), word, path) for index, word in enumerate(words)]
                    yield to_plain(items)
    yield text


def _numbers(text: str) -> Iterator[int | float]:
    with suppress(ValueError):
        yield int(text)
    with suppress(ValueError):
        number = float(text)
        yield number
        if number.is_integer():  # 1e5 is exact in a float, as every power of ten is up to 1e22
            yield int(number)


def _flatten(data: Any, path: str, found: dict[str, Scalar]) -> None:
    if isinstance(data, dict):
        for name, item in data.items():
            _flatten(item, joined(path, name), found)
    elif isinstance(data, list) and any(isinstance(item, dict | list) for item in data):
        for index, item in enumerate(data):
            _flatten(item, joined(path, index), found)
    else:
        found[path] = ",".join(str(item) for item in data) if isinstance(data, list) else data


def _put(annotation: Any, data: Any, path: str, text: str, known: Sequence[str]) -> None:
    """Set a field of plain data to what `text` means; raises `InputError` for a path that leads nowhere, or to a whole
    group of fields."""
    for part in path.split("."):
        group = dataclass_in(annotation)
        is_field = group is not None and part in {field.name for field in fields(group)}
        if not is_field and not (get_origin(annotation) is tuple and part.isdecimal() and int(part) < len(data)):
            raise unknown("field", path, known, "`distil run RECIPE --help` shows them all.")
        if is_field and data.get(part) is None:  # a group that was not there
            data[part] = {}
        annotation = inside(annotation, part)
        holder, place = data, part if is_field else int(part)
        data = holder[place]
    if is_dataclass(annotation):
        first = fields(annotation)[0].name
        raise InputError(f"{path} is {takes(annotation)}: set one of them, such as --{path}.{first}.")
    holder[place] = to_plain(from_text(annotation, text, path))
