"""The figures of a search: the objective against T and over the weights, learning curves, which parameter matters."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator, StrMethodFormatter

from pipeline.tuning.figures.drawing import (
    NAMES,
    PAPER_COLOUR,
    PART_COLOUR,
    WHOLE_COLOUR,
    Point,
    drawn_trials,
    legend_mark,
    tokens_text,
    value_of,
    write_numbers,
)
from pipeline.tuning.figures.importance import ceiling, comparable, curve, importances
from pipeline.tuning.figures.ternary import weight_shares, weights_figure
from pipeline.tuning.ledger import State, Trial

_ENDS: dict[State, str] = {"completed": "o", "stopped early": "x", "failed": "P"}
_CYCLE = tuple(f"C{index}" for index in (0, 1, 2, 3, 4, 5, 6, 8, 9))
"""Matplotlib's own colours without its grey."""
_NAMED = 12
"""Trials that a legend names."""


def figures(trials: Sequence[Trial], objective: str, full_tokens: int) -> Iterator[tuple[str, Figure]]:
    """(file name, figure) for what `trials` have to show; nothing where fewer than two that did not fail reported.

    `full_tokens`: what a whole trial trains on.
    """
    shown = drawn_trials(trials, objective)
    if len(shown) < 2:
        return
    if len({value_of(trial, "temperature") for trial in shown}) > 1:
        yield "temperature.png", temperature_figure(trials, objective)
    if len({_rounded(weight_shares(trial)) for trial in shown}) > 1:
        yield "weights.png", weights_figure(trials, objective, full_tokens)
    yield "curves.png", curves_figure(trials, objective, full_tokens)
    found = importances(trials, objective)
    if len(found) > 1:
        yield "importance.png", importance_figure(found, *comparable(trials, objective))


def temperature_figure(trials: Sequence[Trial], objective: str) -> Figure:
    """The objective at each trial's last report against its temperature: whole trials below, above them those that were
    stopped, on a scale of their own. Failed trials are counted, not drawn."""
    shown = drawn_trials(trials, objective)
    parts = [[trial for trial in shown if (trial.state == "completed") == is_whole] for is_whole in (False, True)]
    drawn = [part for part in parts if part]
    figure = Figure(figsize=(6.4, 2.2 + 1.5 * len(drawn)), layout="constrained")
    panels = figure.subplots(len(drawn), 1, squeeze=False, sharex=True, height_ratios=(2, 3)[-len(drawn) :])[:, 0]
    panels[0].set_xscale("log")
    spots = [_draw_temperatures(axes, part, objective) for axes, part in zip(panels, drawn, strict=True)]
    panels[-1].set_xlabel("temperature T")
    panels[-1].xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 6, 8)))
    panels[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panels[-1].xaxis.set_minor_locator(NullLocator())
    figure.supylabel(NAMES.get(objective, objective), fontsize="medium")
    handles = [
        legend_mark("o", WHOLE_COLOUR, 7, f"whole budget ({len(parts[1])})"),
        legend_mark("o", PART_COLOUR, 7, f"stopped before ({len(parts[0])}): from a shorter training", fill="none"),
        legend_mark("*", PAPER_COLOUR, 12, "the paper's"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    heights = {number: y for part in spots for number, (_, y) in part.items()}
    _set_title(panels[0], trials, sum(_last(trial, objective) > heights[trial.number] for trial in shown))
    if parts[1]:
        write_numbers(panels[-1], spots[-1])
    return figure


def _draw_temperatures(axes: Axes, shown: Sequence[Trial], objective: str) -> dict[int, Point]:
    """Draw trials of one kind; where each one is."""
    top = _fit(axes, [_last(trial, objective) for trial in shown])
    spots = {trial.number: (value_of(trial, "temperature"), min(_last(trial, objective), top)) for trial in shown}
    for trial in shown:
        is_whole, is_paper = trial.state == "completed", trial.number == 0
        colour = PAPER_COLOUR if is_paper else WHOLE_COLOUR if is_whole else PART_COLOUR
        axes.scatter(
            *spots[trial.number],
            s=200 if is_paper else 44,
            marker="*" if is_paper else "o",
            facecolors=colour if is_whole else "none",
            edgecolors=colour,
            alpha=1.0 if is_whole or is_paper else 0.7,
            zorder=3,
        )
    return spots


def curves_figure(trials: Sequence[Trial], objective: str, full_tokens: int) -> Figure:
    """The objective over tokens; a curve ends in what became of its trial. The legend names the best whole ones."""
    shown = sorted((trial for trial in trials if curve(trial, objective)), key=lambda one: _last(one, objective))
    whole = [trial for trial in shown if trial.state == "completed" and trial.number]
    colours = {trial.number: _CYCLE[rank % len(_CYCLE)] for rank, trial in enumerate(whole)} | {0: "black"}
    figure = Figure(figsize=(8.0, 4.6), layout="constrained")
    axes = figure.subplots()
    top = _fit(axes, [value for trial in shown for _, value in curve(trial, objective)])
    handles = []
    for trial in shown:
        colour, is_paper = colours.get(trial.number, PART_COLOUR), trial.number == 0
        tokens, values = zip(*curve(trial, objective), strict=True)
        width = 3.0 if is_paper else 1.6 if trial in whole else 0.9
        order = 4 if is_paper else 3 if trial in whole else 2
        axes.plot(tokens, values, color=colour, linewidth=width, zorder=order)
        axes.plot(tokens[-1], min(values[-1], top), color=colour, marker=_ENDS.get(trial.state), ms=5, zorder=order)
        if is_paper or trial in whole[:_NAMED]:
            name = f"{values[-1]:#.4g}  " + ("the paper's" if is_paper else f"trial {trial.number}")
            handles.append(Line2D([], [], color=colour, linewidth=width, label=name))
    counts = Counter(trial.state for trial in shown)
    ends = [
        legend_mark(mark, PART_COLOUR, 6, f"{state} ({counts[state]})")
        for state, mark in _ENDS.items()
        if counts[state]
    ]
    figure.legend(handles=handles + ends, loc="outside right upper", frameon=False, title="last report")
    axes.set(xlim=(0, 1.02 * full_tokens), xlabel="tokens trained on", ylabel=NAMES.get(objective, objective))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    _set_title(axes, trials, sum(_last(trial, objective) > top for trial in shown))
    return figure


def importance_figure(found: Mapping[str, float], tokens: int, values: Mapping[int, float]) -> Figure:
    """What `importances` found, the largest on top; `tokens` and `values` are `comparable`'s."""
    names = sorted(found, key=lambda name: found[name])
    figure = Figure(figsize=(6.4, 0.42 * len(names) + 1.5), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [found[name] for name in names], color=WHOLE_COLOUR, height=0.6)
    axes.bar_label(bars, [f"{found[name]:.0%}" for name in names], padding=4)
    axes.set(xlim=(0, 1.12 * max(found.values())), xlabel="share of the objective's variance (fANOVA, main effects)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_title(f"{len(values)} trials after {tokens_text(tokens)} tokens", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _last(trial: Trial, objective: str) -> float:
    return curve(trial, objective)[-1][1]


def _rounded(shares: Sequence[float]) -> tuple[float, ...]:
    """Shares that differ by rounding alone are the same."""
    return tuple(round(share, 6) for share in shares)


def _fit(axes: Axes, values: Sequence[float]) -> float:
    """Set what the y axis shows of `values`; the height at which what lies above is drawn."""
    low, top = min(values), ceiling(values)
    margin = 0.08 * (top - low) or 0.01 * abs(top) or 0.01
    edge = top + margin if top < max(values) else top
    axes.set_ylim(low - 1.5 * margin, edge + margin)
    axes.grid(alpha=0.25)
    return edge


def _set_title(axes: Axes, trials: Sequence[Trial], above: int) -> None:
    """How many trials there are, failed, and lie above the axis."""
    failed = sum(trial.state == "failed" for trial in trials)
    parts = [f"{failed} failed"] * bool(failed) + [f"{above} above the axis, drawn at its top"] * bool(above)
    axes.set_title(", ".join([f"{len(trials)} trials", *parts]), fontsize="medium")
