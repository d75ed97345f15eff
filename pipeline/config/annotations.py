"""What a field's annotation takes, in words for a person, and what is inside of it."""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from stages.storage import Folder

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "none",
    Folder: "a folder",
    Any: "anything",
}
_MANY: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts"}


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
    if _is_table(annotation):
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
    return elements[0] if fixed_length(annotation) is None else elements[index]


def fixed_length(annotation: Any) -> int | None:
    """How many elements a tuple has; None where they are any number, and for what is no tuple."""
    elements = get_args(annotation)
    return len(elements) if get_origin(annotation) is tuple and elements[-1] is not Ellipsis else None


def dataclass_in(annotation: Any) -> Any:
    """The dataclass that this annotation is or, with `| None`, may be; None where it is neither."""
    return next((member for member in members_of(annotation) if is_dataclass(member)), None)


def shaped(annotation: Any, data: Any) -> Any:
    """The one member of a union that has the shape of `data`, a table or a list: an error can then be about the part
    inside that is wrong. The annotation itself where it is not one."""
    found = [member for member in members_of(annotation) if _has_shape_of(member, data)]
    return found[0] if len(found) == 1 else annotation


def inside(annotation: Any, part: str | int) -> Any:
    """The annotation of a field of a dataclass, of an element of a tuple, or of a value of a table."""
    if get_origin(annotation) is tuple:
        return element_of(annotation, int(part))
    group = dataclass_in(annotation)
    return get_args(annotation)[1] if group is None else get_type_hints(group)[str(part)]


def _has_shape_of(member: Any, data: Any) -> bool:
    if isinstance(data, Mapping):
        return (is_dataclass(member) and member is not Folder) or _is_table(member)
    return isinstance(data, list | tuple) and get_origin(member) is tuple


def _is_table(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)
