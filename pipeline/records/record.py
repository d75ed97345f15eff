"""What a finished stage leaves beside its data: what it was made from, what it made, and how long that took.

`<root>/<stage>/<fingerprint>/record.json` is written last and whole, so its presence means finished. The fingerprint
follows from config, inputs' fingerprints, seed and the stage's version, never from an output: so it is known before
anything runs.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pipeline.config.overrides import Scalar, flat
from pipeline.config.serialisation import from_plain, to_plain
from pipeline.runtime.environment import Environment
from stages.errors import InputError
from stages.storage import Folder

T = TypeVar("T")
NAME = "record.json"
SCHEMA = 1
"""Of record.json. Raised when older code, which passes over fields that it does not know, would misread it; one that
says nothing is of schema 1. A further field that has a default needs no other."""
_FINGERPRINT_LENGTH = 16


class Stale(Exception):
    """A record is there but does not count; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """All that bears on a stage's result."""

    stage: str
    version: int
    """The one that the stage declares: raised when its code changes what it makes."""
    seed: int | None
    """None for a stage that draws nothing at random."""
    config: Any
    """The config's fields that bear on the result, as plain data."""
    inputs: Mapping[str, str]
    """Fingerprints by the stages' names."""
    outside: Mapping[str, str]
    """What comes from outside of the pipeline, by name: a file's digest, say."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The content of record.json."""

    fingerprint: str
    identity: Identity
    artifact: Any
    """The stage's artifact as plain data; folders in it are relative to the record's own."""
    seconds: float
    finished: str
    """ISO 8601, UTC."""
    environment: Environment = field(default_factory=Environment)
    """Shown, and without a say in whether the record counts."""


def identify(
    stage: str,
    version: int,
    config: object,
    *,
    seed: int | None = None,
    inputs: Mapping[str, str] | None = None,
    outside: Mapping[str, str] | None = None,
) -> Identity:
    """The identity of a stage with this config; leaves out the fields that are marked as bearing on no result."""
    plain = to_plain(config, results_only=True)
    return Identity(
        stage=stage, version=version, seed=seed, config=plain, inputs=dict(inputs or {}), outside=dict(outside or {})
    )


def fingerprint(identity: Identity) -> str:
    """The first 16 hex digits of the SHA-256 of canonical JSON: the same on every machine and in every process."""
    text = json.dumps(_canonical(to_plain(identity)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_FINGERPRINT_LENGTH]


def _canonical(data: Any) -> Any:
    """With 2.0 written as 2: a recipe and a YAML may each use the one that it likes."""
    if isinstance(data, dict):
        return {name: _canonical(item) for name, item in data.items()}
    if isinstance(data, list):
        return [_canonical(item) for item in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data


def write_record(folder: Folder, record: Record) -> None:
    """Mark `folder` as finished."""
    data = {"schema": SCHEMA, **to_plain(record)}
    folder.write_bytes(NAME, json.dumps(data, indent=2, ensure_ascii=False).encode())


def read_record(folder: Folder) -> Record | None:
    """The record in `folder`, None where there is none; raises `Stale` for one that this version cannot read."""
    try:
        data = json.loads(folder.read_bytes(NAME))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Stale(f"its record is damaged: {error}") from error
    if not isinstance(data, dict):
        raise Stale("its record is damaged: it is no table")
    schema = data.get("schema", 1)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise Stale(f"its record was written by a newer version: its schema is {schema!r}, and {SCHEMA} can be read")
    shown = data.pop("environment", {})
    record = _read(Record, data)
    try:
        return replace(record, environment=_read(Environment, shown))
    except Stale:  # then it is not known, which is no reason to make the result again
        return record


def read_artifact(kind: type[T], record: Record, folder: Folder) -> T:
    """The artifact that a stage recorded in `folder`; raises `Stale` where its class needs what was not recorded.

    A field that came later gets its default, which therefore must be what was true before.
    """
    return _read(kind, record.artifact, folder)


def _read(kind: type[T], data: object, base: Folder | None = None) -> T:
    try:
        return from_plain(kind, data, base=base, lenient=True)
    except InputError as error:
        raise Stale(f"its record was written by another version: {error}") from error


def newest_other(stage_folder: Folder, than: str) -> Record | None:
    """The latest finished record of a stage, other than the one with fingerprint `than`."""
    found = []
    for name in stage_folder.names():
        try:
            record = None if name == than else read_record(stage_folder / name)
        except Stale:  # nothing to compare with
            continue
        found += [record] if record else []
    return max(found, key=lambda record: record.finished, default=None)


def differences(old: Identity, new: Identity) -> tuple[str, ...]:
    """What changed from `old` to `new`, one field each: "distil.temperature 2.0 → 3.0", "input tokens changed"."""
    found = []
    if old.version != new.version:
        found.append(f"code version {old.version} → {new.version}")
    if old.seed != new.seed:
        found.append(f"seed {old.seed} → {new.seed}")
    before, after = flat(old.config), flat(new.config)
    was_alike, is_alike = flat(_canonical(old.config)), flat(_canonical(new.config))
    found += [
        f"{new.stage}.{name} {_shown(before, name)} → {_shown(after, name)}"
        for name in dict.fromkeys((*before, *after))
        if _shown(was_alike, name) != _shown(is_alike, name)
    ]
    for what, was, now in (("input ", old.inputs, new.inputs), ("", old.outside, new.outside)):
        for name in dict.fromkeys((*was, *now)):
            if was.get(name) != now.get(name):
                found.append(f"{what}{name} {_happened(name, was, now)}")
    return tuple(found)


def _shown(fields: Mapping[str, Scalar], name: str) -> str:
    return repr(fields[name]) if name in fields else "(no such field)"


def _happened(name: str, was: Mapping[str, str], now: Mapping[str, str]) -> str:
    return "changed" if name in was and name in now else "added" if name in now else "gone"
