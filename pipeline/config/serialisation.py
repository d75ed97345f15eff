"""Frozen dataclasses to and from plain data (what JSON and YAML hold), led by nothing but their annotations.

One reader for the three places where something typed comes in from outside: a resolved config, a list given on the
command line, and the record of a finished stage. Pydantic reads; the dataclasses know nothing of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails, SchemaValidator, core_schema

from pipeline.config.annotations import fixed_length, inside, shaped, takes
from pipeline.config.nearest_name import unknown
from stages.errors import ConfigError, InputError
from stages.storage import Folder

T = TypeVar("T")
Path = Sequence[str | int]
_STRANGE = "unexpected_keyword_argument"
"""Pydantic's word for a field that does not exist."""
_FLOAT, _TEXT = core_schema.float_schema(), core_schema.str_schema()
_NO_JSON: Any = [[[]]]
"""Stands in JSON for what it cannot hold, such as a date in a YAML: no field takes it."""


def to_plain(value: object, *, base: Folder | None = None, results_only: bool = False) -> Any:
    """`value` as dicts, lists and scalars; raises TypeError for what JSON cannot hold.

    Folders become text, relative to the record's folder `base` where possible, so that a moved workdir still loads.
    `results_only` leaves out what does not bear on a result: fields marked with `stages.context.elsewhere`, and those
    marked with `since` as long as they mean what was done before them.
    """
    # Not pydantic's: fingerprints are made of this, so no release of a library may write a value in another way. And
    # pydantic would take what nobody means to record, a set or a date, where this is a fault that is found at once.
    if isinstance(value, Folder):
        return value.uri if base is None else _relative(value, base)
    if is_dataclass(value) and not isinstance(value, type):
        found = [(f, to_plain(getattr(value, f.name), base=base, results_only=results_only)) for f in fields(value)]
        return {f.name: item for f, item in found if not results_only or _bears(f, item)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item, base=base, results_only=results_only) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item, base=base, results_only=results_only) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{value!r} of {type(value).__module__}.{type(value).__qualname__} is nothing that JSON can hold")


def from_plain(
    kind: type[T],
    data: object,
    path: str = "",
    *,
    base: Folder | None = None,
    complete: bool = True,
    lenient: bool = False,
) -> T:
    """A `kind` made of plain data; raises `ConfigError` or `InputError` naming the path of what does not fit.

    `complete` asks for every field of every dataclass, so that nothing is filled in unseen by today's defaults.
    `lenient` is for what an older or newer version may have written: a field that is not there gets its default, and
    one that is not known is passed over.
    """
    # As JSON, where pydantic's strict mode is what is wanted: lists for tuples, tables for dataclasses, whole numbers
    # for floats, and nothing else is taken for what it is not.
    try:
        text = json.dumps(data, default=lambda _: _NO_JSON)
    except TypeError as error:  # in YAML even a date may be a name
        raise InputError(f"{path or 'it'} has a name that is no text: {error}.") from error
    try:
        reader = _reader(cast(Any, kind), complete and not lenient)
        made: T = reader.validate_json(text, strict=True, extra="ignore" if lenient else "forbid", context=base)
    except ValidationError as error:
        raise _refusal(kind, data, error.errors(include_url=False), path) from None
    return made


def joined(*parts: str | int) -> str:
    """The parts of a path with dots between; empty ones are left out."""
    return ".".join(str(part) for part in parts if part != "")


def _bears(field: Field[Any], plain: Any) -> bool:
    mark = field.metadata
    as_before = "absent_when" in mark and to_plain(mark["absent_when"], results_only=True) == plain
    return mark.get("fingerprint", True) and not as_before


@cache
def _reader(kind: Any, complete: bool) -> SchemaValidator:
    """Made when it is first asked for: some milliseconds for a whole config."""
    return SchemaValidator(_with_ours(TypeAdapter(kind).core_schema, complete))


def _with_ours(schema: Any, complete: bool) -> Any:
    """Pydantic's schema, but for what is read in a way of our own: floats, folders, and fields with a default."""
    if isinstance(schema, list | tuple):
        return type(schema)(_with_ours(part, complete) for part in schema)
    if not isinstance(schema, dict):
        return schema
    if schema == _FLOAT:
        return core_schema.no_info_before_validator_function(_number, schema)
    if _TEXT in schema.get("choices", ()):  # a union with text: there, what looks like a number is text
        return schema | {"choices": [one if one == _FLOAT else _with_ours(one, complete) for one in schema["choices"]]}
    if schema.get("cls") is Folder:
        return core_schema.with_info_after_validator_function(
            _absolute, core_schema.str_schema(), ref=schema.get("ref")
        )
    if schema.get("type") == "default" and complete:
        return _with_ours(schema["schema"], complete)
    return {name: _with_ours(part, complete) for name, part in schema.items()}


def _number(given: Any) -> Any:
    """The number that a text is: YAML 1.1 takes 5e-4 for text."""
    try:
        return float(given) if isinstance(given, str) else given
    except ValueError:  # and is refused as what it is
        return given


def _relative(folder: Folder, base: Folder) -> str:
    """`folder` as seen from a record in `base`, which is `<root>/<stage>/<fingerprint>`; absolute outside."""
    for above, way in ((base.uri, "./"), (_root_of(base), "../../")):
        if folder.uri.startswith(f"{above}/"):
            return way + folder.uri.removeprefix(f"{above}/")
    return "." if folder == base else folder.uri


def _absolute(text: str, info: ValidationInfo) -> Folder:
    """What `_relative` wrote, wherever the record's folder is now."""
    base: Folder | None = info.context
    if base is None or not text.startswith("."):
        return Folder(text)
    if text.startswith("../../"):
        return Folder(f"{_root_of(base)}/{text.removeprefix('../../')}")
    return base if text == "." else base / text.removeprefix("./")


def _root_of(base: Folder) -> str:
    return base.uri.rsplit("/", 2)[0]


def _follow(annotation: Any, data: Any, path: Path) -> tuple[Any, Any, Path]:
    """(annotation, data, path) at the end of a path of pydantic's, which also names the members of unions."""
    found: list[str | int] = []
    for part in path:
        annotation = shaped(annotation, data)
        if part in (data if isinstance(data, Mapping) else range(len(data)) if isinstance(data, list | tuple) else ()):
            annotation, data = inside(annotation, part), data[part]
            found.append(part)
    return shaped(annotation, data), data, found


def _refusal(kind: Any, data: Any, errors: Sequence[ErrorDetails], path: str) -> InputError:
    """The sentence for the first name that does not exist; without one, for what is wrong furthest inside: of a union's
    members that is the one which was meant."""
    error = min(errors, key=lambda one: (one["type"] != _STRANGE, -len(one["loc"])))
    if error["type"] == "value_error":  # a dataclass's own rule
        return error["ctx"]["error"]
    named = error["type"] in (_STRANGE, "missing")  # then the path's last part is none of the data, or of the fields
    annotation, given, inner = _follow(kind, data, error["loc"][:-1] if named else error["loc"])
    if named and isinstance(given, Mapping):
        name = error["loc"][-1]
        others = [joined(path, *inner, field.name) for field in fields(annotation)]
        if error["type"] == _STRANGE:
            return unknown("field", joined(path, *inner, name), others, f"there are {', '.join(others)}.")
        return InputError(f"{joined(path, *inner, name)} is missing; it must be {takes(inside(annotation, name))}.")
    length = fixed_length(annotation) if isinstance(given, list | tuple) else None
    wanted = takes(annotation) if length is None else f"a list of {length}"
    return ConfigError(joined(path, *inner), given, f"must be {wanted}")
