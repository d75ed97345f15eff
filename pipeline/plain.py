"""Frozen dataclasses to and from plain data (what JSON and YAML hold), led by nothing but their annotations.

One reader for the three places where something typed comes in from outside: a resolved config, a list given on the
command line, and the record of a finished stage.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pipeline.annotations import element_of, members_of, takes
from pipeline.names import unknown
from stages.errors import ConfigError, InputError
from stages.storage import Folder

T = TypeVar("T")


def to_plain(value: object, *, base: Folder | None = None, results_only: bool = False) -> Any:
    """`value` as dicts, lists and scalars; raises TypeError for what JSON cannot hold.

    Folders become text, relative to the record's folder `base` where possible, so that a moved workdir still loads.
    `results_only` leaves out the fields that do not bear on a result (`stages.where.elsewhere`).
    """
    if isinstance(value, Folder):
        return value.uri if base is None else _relative(value, base)
    if is_dataclass(value) and not isinstance(value, type):
        kept = [f for f in fields(value) if not results_only or f.metadata.get("fingerprint", True)]
        return {f.name: to_plain(getattr(value, f.name), base=base, results_only=results_only) for f in kept}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item, base=base, results_only=results_only) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item, base=base, results_only=results_only) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{value!r} of {type(value).__module__}.{type(value).__qualname__} is nothing that JSON can hold")


def from_plain(kind: type[T], data: object, path: str = "", *, base: Folder | None = None, complete: bool = True) -> T:
    """A `kind` made of plain data; raises `ConfigError` or `InputError` naming the path of what does not fit.

    `complete` asks for every field of every dataclass, so that nothing is filled in unseen by today's defaults.
    """
    made: T = _Reader(base, complete).read(kind, data, path)
    return made


def joined(path: str, name: str) -> str:
    """`path.name`, or `name` at the top."""
    return f"{path}.{name}" if path else name


class _Reader:
    """Reads plain data; `base` is where relative folders start, `complete` as in `from_plain`."""

    def __init__(self, base: Folder | None, complete: bool) -> None:
        self.base, self.complete = base, complete

    def read(self, annotation: Any, data: Any, path: str) -> Any:
        origin = get_origin(annotation)
        if annotation is Any:
            return data
        if annotation is Folder and isinstance(data, str):
            return _absolute(data, self.base)
        if is_dataclass(annotation) and isinstance(annotation, type) and isinstance(data, Mapping):
            return self._dataclass(annotation, data, path)
        if origin is tuple and isinstance(data, list | tuple):
            return self._tuple(annotation, data, path)
        if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(data, Mapping):
            return {str(key): self.read(get_args(annotation)[1], item, f"{path}.{key}") for key, item in data.items()}
        if len(members_of(annotation)) > 1:
            return self._union(annotation, data, path)
        return _scalar(annotation, data, path)

    def _dataclass(self, kind: type, data: Mapping[str, Any], path: str) -> Any:
        known, hints = {f.name: f for f in fields(kind)}, get_type_hints(kind)
        for name in data:
            if name not in known:
                others = [joined(path, other) for other in known]
                raise unknown("field", joined(path, str(name)), others, f"there are {', '.join(others)}.")
        for name, field in known.items():
            if name not in data and (self.complete or _required(field)):
                raise InputError(f"{joined(path, name)} is missing; it must be {takes(hints[name])}.")
        return kind(**{name: self.read(hints[name], item, joined(path, name)) for name, item in data.items()})

    def _tuple(self, annotation: Any, data: list[Any] | tuple[Any, ...], path: str) -> Any:
        elements = get_args(annotation)
        if elements[-1] is not Ellipsis and len(data) != len(elements):
            raise ConfigError(path, data, f"must be a list of {len(elements)}")
        return tuple(self.read(element_of(annotation, i), item, f"{path}.{i}") for i, item in enumerate(data))

    def _union(self, annotation: Any, data: Any, path: str) -> Any:
        members = members_of(annotation)
        if str in members and isinstance(data, str):  # exactly what it is, before "5e-4" is taken for a number
            return data
        shaped = [member for member in members if _has_shape_of(member, data)]
        if len(shaped) == 1:  # then the error can be about the part inside that is wrong
            return self.read(shaped[0], data, path)
        for member in members:
            try:
                return self.read(member, data, path)
            except ConfigError:  # the next member may take it
                continue
        raise ConfigError(path, data, f"must be {takes(annotation)}")


def _has_shape_of(member: Any, data: Any) -> bool:
    if isinstance(data, Mapping):
        return is_dataclass(member) and member is not Folder
    return isinstance(data, list) and get_origin(member) is tuple


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _scalar(annotation: Any, data: Any, path: str) -> Any:
    if get_origin(annotation) is Literal:
        for choice in get_args(annotation):
            if type(choice) is type(data) and choice == data:
                return data
    elif annotation is float and isinstance(data, int | float | str) and not isinstance(data, bool):
        try:
            return float(data)  # text too: YAML 1.1 takes 5e-4 for text
        except ValueError:
            raise ConfigError(path, data, "must be a number") from None
    elif isinstance(annotation, type) and type(data) is annotation:
        return data
    raise ConfigError(path, data, f"must be {takes(annotation)}")


def _relative(folder: Folder, base: Folder) -> str:
    """`folder` as seen from a record in `base`, which is `<root>/<stage>/<fingerprint>`; absolute outside."""
    root = base.uri.rsplit("/", 2)[0]
    if folder.uri == base.uri:
        return "."
    if folder.uri.startswith(f"{base.uri}/"):
        return f"./{folder.uri.removeprefix(f'{base.uri}/')}"
    if folder.uri.startswith(f"{root}/"):
        return f"../../{folder.uri.removeprefix(f'{root}/')}"
    return folder.uri


def _absolute(text: str, base: Folder | None) -> Folder:
    """What `_relative` wrote, wherever the record's folder is now."""
    if base is None or not text.startswith("."):
        return Folder(text)
    if text.startswith("../../"):
        return Folder(f"{base.uri.rsplit('/', 2)[0]}/{text.removeprefix('../../')}")
    return base if text == "." else base / text.removeprefix("./")
