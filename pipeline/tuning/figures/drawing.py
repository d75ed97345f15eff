"""What the figures of a search have in common: which trials they show, colours, marks, and numbers beside them."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter

from pipeline.tuning.config import PAPER
from pipeline.tuning.figures.importance import curve
from pipeline.tuning.ledger import Trial

Point = tuple[float, float]

NAMES = {
    "heldout_mlm_loss": "held-out masked-LM loss (nats)",
    "heldout_kl": "held-out KL(teacher ‖ student) (nats)",
    "heldout_disagreement": "held-out disagreement with the teacher",
}
"""Objectives as axes name them."""
WHOLE_COLOUR, PART_COLOUR, PAPER_COLOUR = "#2a6aa8", "#9a9a9a", "#c8442b"
"""Of trials that ran to the end, of those that were stopped before, and of the paper's."""


def drawn_trials(trials: Sequence[Trial], objective: str) -> list[Trial]:
    """Those that did not fail and reported a number."""
    return [trial for trial in trials if trial.state != "failed" and curve(trial, objective)]


def value_of(trial: Trial, name: str) -> float:
    """Temperature or a weight of a trial; the paper's where it does not set it."""
    value = trial.setting.get(name, PAPER[name])
    assert isinstance(value, int | float)
    return float(value)


def legend_mark(marker: str, colour: str, size: float, label: str, *, fill: str | None = None) -> Line2D:
    """A mark for the legend."""
    face = colour if fill is None else fill
    return Line2D([], [], linestyle="", marker=marker, color=colour, markerfacecolor=face, markersize=size, label=label)


def write_numbers(axes: Axes, spots: Mapping[int, Point], numbered: Collection[int] | None = None) -> None:
    """Write the number of each trial (of those in `numbered`) beside its spot, on the side that is farthest from other
    spots and numbers; the paper's has its star."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # distances on paper are known once the layout is
    places = {number: 72 / figure.dpi * axes.transData.transform(spot) for number, spot in spots.items()}
    taken = [*places.values()]
    sides = [12 * np.array((math.cos(angle), math.sin(angle))) for angle in np.linspace(0, 2 * math.pi, 13)[:-1]]
    for number, here in places.items():
        if number == 0 or (numbered is not None and number not in numbered):
            continue
        side = max(sides, key=lambda one: min(float(np.hypot(*(here + one - other))) for other in taken))
        taken.append(here + side)
        text = axes.annotate(str(number), spots[number], xytext=tuple(side), textcoords="offset points", fontsize=8)
        text.set(ha="center", va="center", path_effects=[withStroke(linewidth=1.5, foreground="white")], zorder=4)


def tokens_text(tokens: int) -> str:
    """Such as 2.05M."""
    return EngFormatter(sep="")(float(f"{tokens:.3g}"))
