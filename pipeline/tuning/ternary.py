"""The loss weights of a search's trials in a triangle, as shares of their sum."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pipeline.tuning.drawing import (
    NAMES,
    PAPER_COLOUR,
    PART_COLOUR,
    Point,
    drawn_trials,
    legend_mark,
    tokens_text,
    value_of,
    write_numbers,
)
from pipeline.tuning.importance import ceiling, comparable
from pipeline.tuning.ledger import Trial

WEIGHTS = ("alpha_ce", "alpha_mlm", "alpha_cos")
CORNERS: tuple[Point, ...] = ((0.5, math.sqrt(3) / 2), (0.0, 0.0), (1.0, 0.0))
"""Where all the weight is on one term, in the order of WEIGHTS: a triangle with sides of 1."""

_TERMS = ("#2a6aa8", "#3a8a4d", "#9a5a1f")
_OUTWARD = ((17, 0), (-14, 8), (0, -9))
"""From the end of a grid line to its label, in points."""


def weights_figure(trials: Sequence[Trial], objective: str, full_tokens: int) -> Figure:
    """The three weights as shares of their sum. Size: how far a trial got; colour: the objective where the most trials
    can be compared, as a longer training alone would be the better one at the last report."""
    # Small marks come on top of large ones.
    shown = sorted(drawn_trials(trials, objective), key=lambda one: -one.tokens)
    tokens, measured = comparable(trials, objective)
    values = [measured[trial.number] for trial in shown if trial.number in measured]
    norm = Normalize(min(values, default=0.0), ceiling(values) if values else 1.0)
    scale = ScalarMappable(norm, "viridis")
    spots = {trial.number: barycentric(*weight_shares(trial)) for trial in shown}
    figure = Figure(figsize=(6.8, 5.2), layout="constrained")
    axes = figure.subplots()
    _draw_triangle(axes)
    for trial in shown:
        is_paper, is_whole = trial.number == 0, trial.state == "completed"
        axes.scatter(
            *spots[trial.number],
            s=300 if is_paper else 130 * max(0.2, min(1.0, trial.tokens / full_tokens)),
            marker="*" if is_paper else "o",
            color=scale.cmap(norm(measured[trial.number])) if trial.number in measured else "white",
            edgecolors=PAPER_COLOUR if is_paper else "black" if is_whole else PART_COLOUR,
            linewidths=1.2 if is_paper or is_whole else 0.6,
            zorder=3,
        )
    label = f"{NAMES.get(objective, objective)}\nafter {tokens_text(tokens)} tokens; lower is better"
    is_above = any(value > (norm.vmax or 0) for value in values)
    figure.colorbar(scale, ax=axes, label=label, shrink=0.8, extend="max" if is_above else "neither")
    handles = [
        legend_mark("o", "black", 9, "whole budget", fill="none"),
        legend_mark("o", PART_COLOUR, 5, "stopped before (the smaller, the earlier)"),
        legend_mark("*", PAPER_COLOUR, 12, "the paper's", fill="none"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    whole = {trial.number for trial in shown if trial.state == "completed"}
    write_numbers(axes, spots, whole)
    return figure


def barycentric(first: float, second: float, third: float) -> Point:
    """Where the shares of three weights, which add up to 1, lie in the triangle of CORNERS."""
    shares = (first, second, third)
    x, y = (sum(share * corner[axis] for share, corner in zip(shares, CORNERS, strict=True)) for axis in (0, 1))
    return x, y


def weight_shares(trial: Trial) -> tuple[float, float, float]:
    """A trial's three weights by their sum, which may be searched too; the paper's where it does not set them."""
    weights = [value_of(trial, name) for name in WEIGHTS]
    first, second, third = (weight / sum(weights) for weight in weights)
    return first, second, third


def _draw_triangle(axes: Axes) -> None:
    """The corners by the fields' names, and where each weight has 25, 50 and 75 % of the sum."""
    axes.set_axis_off()
    axes.set(aspect="equal", xlim=(-0.14, 1.14), ylim=(-0.11, 0.95))
    axes.plot(*zip(*CORNERS, CORNERS[0], strict=True), color="0.3", linewidth=1.0, zorder=1)
    for term, (name, colour, corner) in enumerate(zip(WEIGHTS, _TERMS, CORNERS, strict=True)):
        away = (0.0, 0.03) if term == 0 else (0.0, -0.04)
        across = "bottom" if term == 0 else "top"
        axes.text(corner[0] + away[0], corner[1] + away[1], name, color=colour, ha="center", va=across, weight="bold")
        for share in (0.25, 0.5, 0.75):
            ends = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
            for end, other in zip(ends, (term - 1, term - 2), strict=True):
                end[term], end[other] = share, 1 - share
            start, stop = (barycentric(*end) for end in ends)
            axes.plot(*zip(start, stop, strict=True), color=colour, alpha=0.3, linewidth=0.8, zorder=1)
            axes.annotate(
                f"{share:.0%}",
                start,
                xytext=_OUTWARD[term],
                textcoords="offset points",
                color=colour,
                fontsize=8,
                ha="center",
                va="center",
            )
