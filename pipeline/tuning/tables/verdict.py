"""What came of a search: the best setting beside the paper's, and what to make of it in a sentence."""

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from pipeline.config.overrides import Scalar
from pipeline.tuning.tables.trials import WEIGHTS_NAME, value_text, varying, weights_text
from pipeline.tuning.verdict import Search


def verdict_table(search: Search) -> Table:
    """The paper's setting beside the best other one, on the seeds of the confirmation."""
    paper, best, verdict = search.verdict.paper, search.verdict.best, search.verdict
    table = Table(title=f"{search.objective} on {len(search.seeds)} fresh seeds", title_justify="left")
    for column in ("", "paper's setting", "best" if best is None else f"best (trial {best.trial})", "gain ± spread"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    empty: dict[str, Scalar] = {}
    mine, theirs = paper.setting, best.setting if best else empty
    for name in ("temperature", WEIGHTS_NAME, *varying([one.setting for one in search.confirmed])):
        row = [_setting_text(name, setting) if setting else "–" for setting in (mine, theirs)]
        table.add_row(Text("T" if name == "temperature" else name), *map(Text, row))
    table.add_section()
    for index, seed in enumerate(search.seeds):
        values = [f"{paper.values[index]:.4f}", f"{best.values[index]:.4f}" if best else "–"]
        gain = f"{paper.values[index] - best.values[index]:.4f}" if best else ""
        table.add_row(f"seed {seed}", *values, gain)
    gain = f"{verdict.gain:.4f} ± {verdict.spread:.4f}" if best else ""
    table.add_row("mean", f"{paper.mean:.4f}", f"{best.mean:.4f}" if best else "–", gain, style="bold")
    others = [one for one in search.confirmed if one.trial not in (paper.trial, best.trial if best else None)]
    if others:
        told = ", ".join(f"trial {one.trial} with a mean of {one.mean:.4f}" for one in others)
        table.caption, table.caption_justify = f"also confirmed: {told}", "left"
    return table


def verdict_lines(search: Search, command: str) -> list[str]:
    """What the confirmation came to, in a sentence, and the `command` for the full run."""
    paper, best, verdict = search.verdict.paper, search.verdict.best, search.verdict
    if best is None:
        return ["nothing to confirm: no other trial got far enough", f"full run: {command}"]
    name, seeds = f"trial {best.trial}", f"{len(search.seeds)} fresh seeds"
    figures = f"{search.objective} {best.mean:.4f} instead of {paper.mean:.4f}"
    gain = f"gain {verdict.gain:.4f} ± {verdict.spread:.4f}"
    if verdict.is_better:
        sentence = f"{name} is better than the paper's setting on every one of {seeds}: {figures}, {gain}"
    else:
        sentence = f"no better than the paper's: {name}, the best other one, has {figures} on {seeds}, {gain}"
    return [sentence, f"full run: {command}"]


def _setting_text(name: str, setting: Mapping[str, Scalar]) -> str:
    return weights_text(setting) if name == WEIGHTS_NAME else value_text(name, setting.get(name))
