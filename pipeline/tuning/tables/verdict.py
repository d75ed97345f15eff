"""What came of a search: the best setting beside the paper's, and what to make of it in a sentence."""

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from pipeline.config.overrides import Scalar
from pipeline.tuning.tables.trials import WEIGHTS_NAME, value_text, varying, weights_text
from pipeline.tuning.verdict import Confirmed, Search, Verdict


def verdict_table(search: Search) -> Table:
    """The paper's setting beside the best other one, on the seeds of the confirmation."""
    verdict = search.verdict
    paper, best = verdict.paper, verdict.best
    table = Table(title=f"{search.objective} on {_seeds_text(search, paper)}", title_justify="left")
    for column in ("", "paper's setting", "best" if best is None else f"best (trial {best.trial})", "gain ± spread"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    empty: dict[str, Scalar] = {}
    mine, theirs = paper.setting, best.setting if best else empty
    for name in ("temperature", WEIGHTS_NAME, *varying([one.setting for one in search.confirmed])):
        row = [_setting_text(name, setting) if setting else "–" for setting in (mine, theirs)]
        table.add_row(Text("T" if name == "temperature" else name), *map(Text, row))
    table.add_section()
    for index, value in enumerate(paper.values):
        values = [f"{value:.4f}", f"{best.values[index]:.4f}" if best else "–"]
        gain = f"{value - best.values[index]:.4f}" if best else ""
        table.add_row(f"seed {search.seeds[index]}", *values, gain)
    gain = f"{verdict.gain:.4f} ± {verdict.spread:.4f}" if best else ""
    table.add_row("mean", f"{paper.mean:.4f}", f"{best.mean:.4f}" if best else "–", gain, style="bold")
    if best:
        table.add_row(f"{verdict.confidence:.0%} interval", "", "", _interval_text(verdict))
    others = [one for one in search.confirmed[1:] if best is None or one.trial != best.trial]
    if others:
        told = ", ".join(
            f"trial {one.trial} with a mean of {one.mean:.4f} on {_seeds_text(search, one)}" for one in others
        )
        table.caption, table.caption_justify = f"also run: {told}", "left"
    return table


def verdict_lines(search: Search, command: str) -> list[str]:
    """What the confirmation came to, in a sentence, and the `command` for the full run."""
    verdict = search.verdict
    paper, best = verdict.paper, verdict.best
    if best is None:
        return ["nothing to confirm: no other trial got far enough", f"full run: {command}"]
    figures = f"{search.objective} {best.mean:.4f} instead of {paper.mean:.4f} on {_seeds_text(search, best)}"
    gain = (
        f"gain {verdict.gain:.4f} ± {verdict.spread:.4f}, {verdict.confidence:.0%} interval {_interval_text(verdict)}"
    )
    if verdict.is_better:
        sentence = f"trial {best.trial} is better than the paper's setting: {figures}, {gain}"
    else:
        sentence = f"no better than the paper's: trial {best.trial}, the best other one, has {figures}, {gain}"
        if len(best.values) < len(search.seeds):
            why = f"its next run failed: {best.why}" if best.why else "it could not win any more"
            sentence = f"{sentence}; then {why}"
    return [sentence, f"full run: {command}"]


def _seeds_text(search: Search, one: Confirmed) -> str:
    run, all = len(one.values), len(search.seeds)
    return f"{all} fresh seeds" if run == all else f"{run} of {all} fresh seeds"


def _interval_text(verdict: Verdict) -> str:
    return f"{verdict.low:.4f} to {verdict.high:.4f}"


def _setting_text(name: str, setting: Mapping[str, Scalar]) -> str:
    return weights_text(setting) if name == WEIGHTS_NAME else value_text(name, setting.get(name))
