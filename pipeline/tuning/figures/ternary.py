"""The loss weights of a search's trials in a triangle, as shares of their sum."""

from collections.abc import Sequence

from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from mpltern.ternary import TernaryAxes  # with this, matplotlib knows the projection

from pipeline.tuning.figures.drawing import (
    NAMES,
    PAPER_COLOUR,
    PART_COLOUR,
    drawn_trials,
    legend_mark,
    tokens_text,
    value_of,
    write_numbers,
)
from pipeline.tuning.figures.importance import ceiling, comparable
from pipeline.tuning.ledger import Trial

WEIGHTS = ("alpha_ce", "alpha_mlm", "alpha_cos")
_TERMS = ("#2a6aa8", "#3a8a4d", "#9a5a1f")


def weights_figure(trials: Sequence[Trial], objective: str, full_tokens: int) -> Figure:
    """The three weights as shares of their sum. Size: how far a trial got; colour: the objective where the most trials
    can be compared, as a longer training alone would be the better one at the last report."""
    # Small marks come on top of large ones.
    shown = sorted(drawn_trials(trials, objective), key=lambda one: -one.tokens)
    tokens, measured = comparable(trials, objective)
    values = [measured[trial.number] for trial in shown if trial.number in measured]
    norm = Normalize(min(values, default=0.0), ceiling(values) if values else 1.0)
    scale = ScalarMappable(norm, "viridis")
    figure = Figure(figsize=(7.4, 5.4), layout="constrained")
    axes: TernaryAxes = figure.add_subplot(projection="ternary")
    _name_sides(axes)
    for trial in shown:
        is_paper, is_whole = trial.number == 0, trial.state == "completed"
        axes.scatter(
            *weight_shares(trial),
            s=300 if is_paper else 130 * max(0.2, min(1.0, trial.tokens / full_tokens)),
            marker="*" if is_paper else "o",
            color=scale.cmap(norm(measured[trial.number])) if trial.number in measured else "white",
            edgecolors=PAPER_COLOUR if is_paper else "black" if is_whole else PART_COLOUR,
            linewidths=1.2 if is_paper or is_whole else 0.6,
            clip_on=False,  # a mark on a side is whole
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
    spots = {trial.number: axes.transProjection.transform(weight_shares(trial)) for trial in shown}
    write_numbers(axes, spots, whole)
    return figure


def weight_shares(trial: Trial) -> tuple[float, float, float]:
    """A trial's three weights by their sum, which may be searched too; the paper's where it does not set them."""
    weights = [value_of(trial, name) for name in WEIGHTS]
    first, second, third = (weight / sum(weights) for weight in weights)
    return first, second, third


def _name_sides(axes: TernaryAxes) -> None:
    """The corners by the fields' names, and where each weight has 25, 50 and 75 % of the sum."""
    for axis, name, colour in zip((axes.taxis, axes.laxis, axes.raxis), WEIGHTS, _TERMS, strict=True):
        axis.set_label_text(name, color=colour, weight="bold")
        axis.labelpad = 10
        axis.set_label_rotation_mode("horizontal")
        axis.set_ticks((0.25, 0.5, 0.75))
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.set_tick_params(length=0, pad=8, labelsize=8, labelrotation="horizontal")
        axis.set_tick_params(colors=colour, grid_color=colour, grid_alpha=0.3)
    axes.grid()
