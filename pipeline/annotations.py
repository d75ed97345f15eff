"""What a field's annotation takes: in words for a person, and from one word of a command line."""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from stages.errors import ConfigError
from stages.storage import Folder

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "none",
    Folder: "a folder",
}
_MANY: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts"}
_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def takes(annotation: Any) -> str:
    """What a field of this annotation takes, in words, to come after "must be"."""
    if annotation in _WORDS:
        return _WORDS[annotation]
    if get_origin(annotation) is Literal:
        return " or ".join(repr(choice) for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        element = element_of(annotation, 0)
        return f"a list of {_MANY[element] if element in _MANY else f'items, each {takes(element)}'}"
    if is_dataclass(annotation):
        return f"a group of fields ({', '.join(f.name for f in fields(annotation))})"
    if isinstance(get_origin(annotation), type) and issubclass(get_origin(annotation), Mapping):
        return "a table of names and values"
    *most, last = (takes(member) for member in members_of(annotation))
    return f"{', '.join(most)} or {last}" if most else last


def members_of(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, the strictest first: a float would take every whole number, and text takes anything."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return (annotation,)
    order = {int: 0, float: 1, bool: 2, str: 4}
    return tuple(sorted(get_args(annotation), key=lambda member: order.get(member, 3)))


def element_of(annotation: Any, index: int) -> Any:
    """The annotation of element `index` of a tuple, of fixed length or `tuple[X, ...]`."""
    elements = get_args(annotation)
    return elements[0] if len(elements) == 2 and elements[1] is Ellipsis else elements[index]


def dataclass_in(annotation: Any) -> Any:
    """The dataclass that this annotation is or, with `| None`, may be; None where it is neither."""
    return next((member for member in members_of(annotation) if is_dataclass(member)), None)


def from_text(annotation: Any, text: str, path: str) -> Any:
    """The value that `text` means for the field at `path`; raises `ConfigError` where it means none.

    Lists are separated by commas or written as YAML; `1_000` and `1e5` are whole numbers; `none` is None.
    """
    for member in members_of(annotation):
        found = _from_text(member, text, path)
        if found is not _NOTHING:
            return found
    raise ConfigError(path, text, f"must be {takes(annotation)}")


_NOTHING = object()
"""Stands for "this annotation does not take that text": None is a value that some take."""


def _from_text(annotation: Any, text: str, path: str) -> Any:
    if annotation is type(None):
        return None if text.lower() in ("none", "null") else _NOTHING
    if annotation is bool:
        return _TRUTH.get(text.lower(), _NOTHING)
    if annotation in (int, float):
        return _number(annotation, text)
    if annotation is str:
        return text
    if get_origin(annotation) is Literal:
        return next((choice for choice in get_args(annotation) if str(choice) == text), _NOTHING)
    if get_origin(annotation) is tuple:
        return _list(annotation, text, path)
    return _NOTHING


def _number(kind: type[int] | type[float], text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        if kind is float:
            return _NOTHING
    number = _number(float, text)  # 1e5 is exact in a float, as every power of ten is up to 1e22
    return int(number) if number is not _NOTHING and number.is_integer() else _NOTHING


def _list(annotation: Any, text: str, path: str) -> Any:
    from pipeline.plain import from_plain  # which needs the words above

    if text.startswith("["):
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError:  # a glob such as [ab]*.txt, say
            data = None
        if isinstance(data, list):
            return from_plain(annotation, data, path, complete=False)
    words = [word.strip() for word in text.split(",")] if text else []
    if words and not words[-1]:  # "0," is a list of one
        words.pop()
    elements = get_args(annotation)
    if elements[-1] is not Ellipsis and len(elements) != len(words):
        return _NOTHING
    found = [_from_any(element_of(annotation, index), word, path) for index, word in enumerate(words)]
    return _NOTHING if any(item is _NOTHING for item in found) else tuple(found)


def _from_any(annotation: Any, text: str, path: str) -> Any:
    found = (_from_text(member, text, path) for member in members_of(annotation))
    return next((item for item in found if item is not _NOTHING), _NOTHING)
