"""How a task is named: a standard one, or a file with what stands where in it.

- sst2: from the hub; sst2:data=glue/SST-2: from the files of its release
- mine.csv:text=question,label=intent,dev=other.csv: a table of one's own
- train.json:kind=spans: SQuAD's layout; eng.train:kind=tokens,dev=eng.testa: CoNLL's columns
"""

import difflib
import re
from collections.abc import Collection
from dataclasses import replace

from stages.errors import InputError
from stages.storage import Folder
from stages.tasks.data.guess import kind_of_file, kind_of_labels, metrics_for
from stages.tasks.data.load import identity, mark_of
from stages.tasks.data.reading import conll, table
from stages.tasks.data.reading.judged import number_of
from stages.tasks.data.reading.suffix import TABLES, stem_of, suffix_of
from stages.tasks.data.standard import STANDARD, Standard
from stages.tasks.task import METRICS, Columns, Files, Kind, Layout, Task

_SPEC = re.compile(r"(?P<what>.+?)(?::(?=[a-z_]+=)(?P<keys>.*))?", re.DOTALL)
_OF_STANDARD = ("data", "revision", "metric", "name")
_OF_FILES = (
    "text", "label", "kind", "dev", "dev_share", "name", "metric", "delimiter", "header", "quotes",
)  # fmt: skip
_SPOKEN = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " "}


def task_of(spec: str, folder: str | None = None) -> Task:
    """The task that a spec names; `folder`, where there is one, holds the files of GLUE's or SQuAD's release.

    Raises `InputError` for an unknown task, key, kind or metric, a file that is not there, and a kind that is neither
    said nor plain from the file. What is in the files is otherwise checked by `load`.
    """
    parsed = _SPEC.fullmatch(spec.strip())
    if not parsed:
        raise InputError("a task's name is empty; name a standard one, or a file.")
    what, given = parsed["what"], _keys(parsed["keys"] or "", spec)
    standard = next((one for one in STANDARD if one.name == what), None)
    if standard is not None:
        task = _standard(standard, given, folder, spec)
    elif suffix_of(what)[0] or "/" in what or given.keys() & {"kind", "text", "label"}:
        task = _own(what, given, spec)
    else:
        raise InputError(
            f"there is no task {what!r}{_nearest(what, [one.name for one in STANDARD])}; there are "
            f"{', '.join(one.name for one in STANDARD)}, and files: PATH:text=COLUMN,label=COLUMN."
        )
    if isinstance(task.source, Files):
        identity(task)  # whether its files are there
    return task


def _keys(text: str, spec: str) -> dict[str, str]:
    """{key: value} of key=value,key=value; a comma in a value is written \\,"""
    given: dict[str, str] = {}
    for part in re.split(r"(?<!\\),", text) if text else ():
        key, equals, value = part.partition("=")
        if not equals or not value:
            raise InputError(f"task {spec}: {part!r} is no key=value; a comma within a value is \\,")
        if key in given:
            raise InputError(f"task {spec} says {key}= twice; leave one out.")
        given[key] = value.replace("\\,", ",")
    return given


def _standard(standard: Standard, given: dict[str, str], folder: str | None, spec: str) -> Task:
    _only(given, _OF_STANDARD, spec)
    data = given.get("data") or (folder if standard.files else None)
    if data:
        if "revision" in given:
            raise InputError(f"task {spec}: revision= is of the hub, and data= names files; leave one out.")
        task = standard.task(_release(standard, data, spec))
    else:
        task = standard.task(replace(standard.hub, revision=given.get("revision") or standard.hub.revision))
    metrics = _metrics(given, task.kind, spec) or task.metrics
    return replace(task, name=given.get("name", task.name), metrics=metrics)


def _release(standard: Standard, data: str, spec: str) -> Files:
    """Its files in a folder, or in the one of its own inside that."""
    files = standard.files
    if files is None:
        raise InputError(
            f"task {spec}: {standard.name} is read from the hub; for files say PATH:text=…,label=…,dev=PATH."
        )
    places = [Folder(data) / standard.folder, Folder(data)] if standard.folder else [Folder(data)]
    found = next((place for place in places if place.exists(files.train)), None)
    if found is None:
        wanted = f"{standard.folder}/{files.train}" if standard.folder else files.train
        raise InputError(f"task {spec}: {data} has no {wanted}; name the folder with the release's files.")
    return replace(files, train=f"{found}/{files.train}", dev=f"{found}/{files.dev}")


def _own(path: str, given: dict[str, str], spec: str) -> Task:
    _only(given, _OF_FILES, spec)
    mark_of(path)
    said = _one_of(given, "kind", tuple(METRICS), spec)
    found = None if said else kind_of_file(path)
    kind: Kind | None = said or (found[0] if found else None)  # type: ignore[assignment]
    files = _files(path, kind, given, spec)
    rows = None
    if kind is None or (kind == "tokens" and "metric" not in given):
        rows = conll.cells(path, files) if files.layout == "conll" else table.cells(path, files)
        if kind is None:
            found = kind_of_labels(rows)
            kind = found[0]
    return Task(
        name=given.get("name") or stem_of(path),
        kind=kind,
        metrics=_metrics(given, kind, spec) or metrics_for(kind, rows),
        source=files,
        notes=(f"{path}: kind={kind} was taken, since {found[1]}.",) if found else (),
    )


def _files(path: str, kind: Kind | None, given: dict[str, str], spec: str) -> Files:
    suffix = suffix_of(path)[0]
    quotes, header = (_one_of(given, key, ("yes", "no"), spec) for key in ("quotes", "header"))
    layout: Layout = "table"
    if kind == "spans":
        layout = "squad"
    elif kind == "tokens" and suffix not in TABLES:
        layout = "conll"
    elif quotes == "no":
        layout = "plain"
    of_rows = given.keys() & {"delimiter", "header", "quotes"}
    if of_rows and suffix not in (".csv", ".tsv"):
        raise InputError(f"task {spec}: {of_rows.pop()}= is said of .csv and .tsv alone; leave it out.")
    if layout == "squad" and (of_columns := given.keys() & {"text", "label"}):
        raise InputError(f"task {spec}: SQuAD's layout has names of its own; leave {of_columns.pop()}= out.")
    if given.get("dev") == path:
        raise InputError(f"task {spec} names one file for train and dev; leave dev= out, and a part of it is dev.")
    return Files(
        train=path,
        dev=given.get("dev", ""),
        dev_share=_share(given, spec),
        layout=layout,
        columns=_columns(given, layout, kind, spec),
        header=header != "no",
        delimiter=_SPOKEN.get(given.get("delimiter", ""), given.get("delimiter", "")),
    )


def _columns(given: dict[str, str], layout: Layout, kind: Kind | None, spec: str) -> Columns:
    """text=one+two are two texts; a plus in a name is written \\+."""
    if layout in ("squad", "conll"):
        return Columns(text=given.get("text", ""), label=given.get("label", ""))
    usual = ("tokens", "labels") if kind == "tokens" else ("text", "label")
    texts = [one.replace("\\+", "+") for one in re.split(r"(?<!\\)\+", given.get("text", usual[0]))]
    if len(texts) > 2 or "" in texts or (kind == "tokens" and len(texts) > 1):
        raise InputError(f"task {spec}: text= is one column, or for a pair two: text=one+two (a plus in a name: \\+).")
    return Columns(text=texts[0], second=texts[1] if len(texts) > 1 else "", label=given.get("label", usual[1]))


def _share(given: dict[str, str], spec: str) -> float:
    if "dev_share" not in given:
        return Files.dev_share
    if "dev" in given:
        raise InputError(f"task {spec}: dev_share= is of a cut, and dev= names a file; leave one out.")
    share = number_of(given["dev_share"])
    if share is None or not 0 < share <= 0.5:
        raise InputError(f"task {spec}: dev_share={given['dev_share']} must be a share above 0, 0.5 at most.")
    return share


def _metrics(given: dict[str, str], kind: Kind, spec: str) -> tuple[str, ...]:
    """Those that are said, metric=f1+accuracy; () where none is."""
    metrics = tuple(given["metric"].split("+")) if "metric" in given else ()
    for metric in metrics:
        name, colon, positive = metric.partition(":")
        if name not in METRICS[kind] or (colon and (name != "f1" or not positive)):
            raise InputError(
                f"task {spec}: {metric!r} is no metric of kind={kind}{_nearest(name, METRICS[kind])}; there are "
                f"{', '.join(METRICS[kind])}."
            )
    return metrics


def _only(given: dict[str, str], keys: Collection[str], spec: str) -> None:
    for key in given:
        if key not in keys:
            raise InputError(
                f"task {spec}: {key}= is not known here{_nearest(key, keys)}; there are {', '.join(keys)}."
            )


def _one_of(given: dict[str, str], key: str, values: tuple[str, ...], spec: str) -> str | None:
    value = given.get(key)
    if value is not None and value not in values:
        raise InputError(
            f"task {spec}: {key}={value} is not known{_nearest(value, values)}; say {' or '.join(values)}."
        )
    return value


def _nearest(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""
