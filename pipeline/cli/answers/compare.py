"""`distil compare`: two runs side by side, from what each left in its workdir."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.answers.formats import in_columns
from pipeline.cli.answers.runs import NONE, Row, near, report_of, row_of, when
from pipeline.cli.progress_rate import amount, duration
from pipeline.config.overrides import Scalar, flat
from pipeline.config.schema import PipelineConfig, from_yaml
from pipeline.records.report import RunReport
from pipeline.records.which_run import find_workdir
from pipeline.records.workdir import read_run
from stages.errors import InputError

Numbers = dict[str, float]
_LONGEST = 48
"""Characters of a value in the text; the JSON has all of it."""
_PERCENT, _THREE = "{:.1%}".format, "{:.3f}".format
_SHOWN: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("top-1 kept", "kept_top1", _PERCENT),
    ("student's top-1", "student.top1", _THREE),
    ("student's loss", "student.mlm_loss", _THREE),
    ("teacher's top-1", "teacher.top1", _THREE),
    ("teacher's loss", "teacher.mlm_loss", _THREE),
    ("agreement", "agreement", _PERCENT),
    ("KL", "kl", _THREE),
    ("cosine", "cosine", _THREE),
    ("parameters", "student.parameters", amount),
    ("size", "size_ratio", _PERCENT),
    ("speed-up", "speedup", "{:.2f} ×".format),
    ("steps", "steps", amount),
    ("tokens", "tokens", amount),
    ("tokens/s", "tokens_per_second", amount),
    ("distilling took", "seconds.distil", duration),
    ("peak memory", "peak_memory_mb", "{:,.0f} MiB".format),
)
"""Figures in the text: what they are called there, in report.json, and how they are written."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The answer. Field names are a contract with whoever reads the JSON: docs/cli.md."""

    runs: tuple[Row, Row]
    fields: dict[str, tuple[Scalar, Scalar]]
    figures: dict[str, tuple[float | None, float | None]]
    same_heldout: bool | None


def compare(one: str, other: str) -> Comparison:
    """What differs between two RUNs; raises `InputError` where one is no run, or no longer the one in its workdir."""
    first, second = _workdir(one), _workdir(other)
    if first == second:
        raise InputError(f"{one} and {other} are both in {first}: give runs in two workdirs.")
    configs, reports = (_config(first), _config(second)), (_report(first), _report(second))
    return Comparison(
        runs=(row_of(first), row_of(second)),
        fields=_differing(*configs),
        figures=_paired(*map(_numbers, reports)),
        same_heldout=_same_heldout(*reports),
    )


def as_text(found: Comparison) -> str:
    """Both runs, the fields that differ, and the figures, in three columns throughout."""
    runs = found.runs
    rows: list[Sequence[str]] = [
        ("run", *(near(run.workdir) for run in runs)),
        ("recipe", *(run.recipe or NONE for run in runs)),
        ("state", *(run.state for run in runs)),
        ("when (UTC)", *map(when, runs)),
        ("", "", ""),
        ("fields that differ" if found.fields else "no field differs", "", ""),
        *((name, *map(_in_short, pair)) for name, pair in found.fields.items()),
        ("", "", ""),
        ("figures" if found.figures else "no figures yet", "", ""),
    ]
    for label, name, written in _SHOWN:
        if name in found.figures:
            rows.append((label, *(NONE if value is None else written(value) for value in found.figures[name])))
    lines = in_columns(rows)
    if found.same_heldout is False:
        lines += "\n\nscored on different held-out text: accuracies and losses do not compare."
    return lines


def _workdir(run: str) -> Path:
    workdir = find_workdir(run)
    found = read_run(workdir)
    if found is not None and run in found.mlflow_run_ids[:-1]:
        raise InputError(
            f"{workdir} holds a later run than {run}, and config and report of that one alone: compare the two in "
            "MLflow (`distil ui`)."
        )
    return workdir


def _config(workdir: Path) -> PipelineConfig:
    run = read_run(workdir)
    assert run is not None, f"{workdir} was found by its run.json"
    file = workdir / run.config
    try:
        return from_yaml(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"{file} cannot be read ({reason}): give a run that has its config.") from error


def _report(workdir: Path) -> RunReport | None:
    run = read_run(workdir)
    return None if run is None else report_of(workdir, run)


def _differing(one: PipelineConfig, other: PipelineConfig) -> dict[str, tuple[Scalar, Scalar]]:
    """In a config's order. A workdir is not a difference but what each run is called here."""
    first, second = flat(one), flat(other)
    pairs = {name: (first.get(name), second.get(name)) for name in {**first, **second} if name != "workdir"}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _numbers(report: RunReport | None) -> Numbers:
    """Those of a report by their dotted names; none where there is none."""
    found = {} if report is None else flat(report)
    return {name: value for name, value in found.items() if isinstance(value, float | int) and name != "champion"}


def _paired(one: Numbers, other: Numbers) -> dict[str, tuple[float | None, float | None]]:
    return {name: (one.get(name), other.get(name)) for name in {**one, **other}}


def _same_heldout(one: RunReport | None, other: RunReport | None) -> bool | None:
    """Whether both were asked for the same of the same text; None where one has not been asked yet."""
    if one is None or other is None:
        return None
    return (one.heldout_digest, one.objective) == (other.heldout_digest, other.objective)


def _in_short(value: Scalar) -> str:
    text = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
