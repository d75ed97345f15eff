"""A search's trials and its confirmation's runs as a person sees them: a row each, a line each, values in short."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pipeline.config.overrides import Scalar
from pipeline.tuning.ledger import State, Trial

WEIGHTS_NAME = "ce / mlm / cos"
_WEIGHTS = ("alpha_ce", "alpha_mlm", "alpha_cos")
_REASON = 60
_BAR = 8
_COLOURS: dict[State, str] = {"running": "yellow", "completed": "green", "stopped early": "dim", "failed": "red"}


def trials_table(
    trials: Sequence[Trial], objective: str, full_tokens: int, title: str = "", most: int | None = None
) -> Table:
    """The trials by number, a row each. Fields of the settings besides T and the weights have columns where they vary.

    At `most` so many rows, of a line each: trial 0, the best and those that run come first, then the latest.
    """
    further, best = varying([trial.setting for trial in trials]), best_so_far(trials, objective)
    table = _table(title)
    for name in ("#", "T", WEIGHTS_NAME, *further, "state", "progress", objective):
        _column(table, name, left=name in ("state", "progress"))
    table.add_column("")  # the only one that gives way where it is narrow
    shown = _most_telling(trials, best, most)
    for trial in shown:
        table.add_row(
            Text(str(trial.number)),
            Text(value_text("temperature", trial.setting.get("temperature"))),
            Text(weights_text(trial.setting)),
            *(Text(value_text(name, trial.setting.get(name))) for name in further),
            *_outcome(trial, objective, full_tokens, bold=trial is best),
            Text(_remark(trial, trial is best), no_wrap=most is not None, overflow="ellipsis"),
        )
    if len(shown) < len(trials):
        table.caption, table.caption_justify = f"and {len(trials) - len(shown)} that are over", "left"
    return table


def runs_table(runs: Sequence[Trial], objective: str, full_tokens: int, title: str = "") -> Table:
    """The confirmation's runs, a row each, in the order in which they began."""
    table = _table(title)
    for name in ("trial", "seed", "state", "progress", objective):
        _column(table, name, left=name in ("state", "progress"))
    table.add_column("")
    for run in sorted(runs, key=lambda run: run.number):
        outcome = _outcome(run, objective, full_tokens, bold=False)
        table.add_row(Text(str(run.confirms)), Text(str(run.seed)), *outcome, Text(_cut(run.why)))
    return table


def best_so_far(trials: Sequence[Trial], objective: str) -> Trial | None:
    """The lowest objective among those that got furthest, as `pipeline.tuning.verdict.candidates` compares them."""
    reported = [trial for trial in trials if trial.reports and trial.state != "failed"]
    furthest = max((trial.distance for trial in reported), default=None)
    there = [trial for trial in reported if trial.distance == furthest]
    return min(there, key=lambda trial: trial.objective(objective) or 0.0, default=None)


def varying(settings: Sequence[Mapping[str, Scalar]]) -> list[str]:
    """The fields besides T and the weights that are not the same in all settings, in the settings' order."""
    names = dict.fromkeys(name for setting in settings for name in setting)
    known = ("temperature", *_WEIGHTS)
    return [name for name in names if name not in known and len({setting.get(name) for setting in settings}) > 1]


def trial_line(trial: Trial, objective: str, full_tokens: int) -> str:
    """A trial that is over, in a line."""
    further = [name for name in trial.setting if name not in ("temperature", *_WEIGHTS)]
    temperature = value_text("temperature", trial.setting.get("temperature"))
    setting = [f"T {temperature}", f"{WEIGHTS_NAME} {weights_text(trial.setting)}"]
    setting += [f"{name} {value_text(name, trial.setting[name])}" for name in further]
    value = trial.objective(objective)
    parts = [", ".join(setting), described(trial, full_tokens), "" if value is None else f"{objective} {value:.4f}"]
    return "  ".join(part for part in (*parts, _cut(trial.why)) if part)


def described(trial: Trial, full_tokens: int) -> str:
    """`running 40 %`, `completed`, `stopped early at 10 %`, `failed at 10 %`."""
    share = f"{100 * _share(trial, full_tokens):.0f} %"
    if trial.state == "completed":
        return trial.state
    return f"running {share}" if trial.state == "running" else f"{trial.state} at {share}"


def count_text(trials: Sequence[Trial], unit: str = "trials") -> str:
    """`16 trials: 4 completed, 11 stopped early, 1 failed`."""
    states = Counter(trial.state for trial in trials)
    told = ", ".join(f"{states[state]} {state}" for state in _COLOURS if states[state])
    return f"{len(trials)} {unit}: {told}" if told else f"no {unit}"


def value_text(name: str, value: Scalar) -> str:
    """A field's value in a few letters."""
    if value is None or isinstance(value, bool | str):
        return "–" if value is None else str(value)
    if name in ("temperature", *_WEIGHTS):
        return f"{value:.2f}"
    if isinstance(value, int):
        return str(value)
    return f"{value:.1e}" if name == "learning_rate" else f"{value:.3g}"


def weights_text(setting: Mapping[str, Scalar]) -> str:
    """`5.00 / 2.00 / 1.00`: ce, mlm, cos."""
    return " / ".join(value_text(name, setting.get(name)) for name in _WEIGHTS)


def _outcome(trial: Trial, objective: str, full_tokens: int, *, bold: bool) -> tuple[Text, Text, Text]:
    """The cells for state, progress and objective."""
    colour, value = _COLOURS[trial.state], trial.objective(objective)
    done = round(_BAR * _share(trial, full_tokens))
    bar = Text.assemble(("━" * done, colour), ("─" * (_BAR - done), "dim"))
    shown = Text("–" if value is None else f"{value:.4f}", style="bold" if bold else "")
    return Text(described(trial, full_tokens), style=colour), bar, shown


def _remark(trial: Trial, is_best: bool) -> str:
    """Why a trial failed, or what it is."""
    return _cut(trial.why) or ", ".join(["paper"] * (trial.number == 0) + ["best"] * is_best)


def _cut(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _REASON else f"{line[: _REASON - 1]}…"


def _share(trial: Trial, full_tokens: int) -> float:
    return min(1.0, trial.tokens / full_tokens)


def _most_telling(trials: Sequence[Trial], best: Trial | None, most: int | None) -> list[Trial]:
    def is_old(trial: Trial) -> bool:
        return trial.is_over and trial.number != 0 and trial is not best

    kept = sorted(trials, key=lambda trial: (is_old(trial), trial.number != 0, trial is not best, -trial.number))
    return sorted(kept[:most], key=lambda trial: trial.number)


def _table(title: str) -> Table:
    look = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, title_justify="left", highlight=False)
    look.title = Text(title, style="table.title") if title else None
    return look


def _column(table: Table, name: str, *, left: bool) -> None:
    header = Text(name.replace("heldout_", "heldout\n"))  # or the name would be thrice as wide as the figures
    table.add_column(header, justify="left" if left else "right", no_wrap=True)
