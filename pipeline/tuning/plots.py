"""The figures of a search: the objective against T and over the weights, learning curves, which parameter matters."""

import math
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator, StrMethodFormatter
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import create_trial

from pipeline.fields import Scalar
from pipeline.tuning.config import PAPER
from pipeline.tuning.ledger import State, Trial

Point = tuple[float, float]

NAMES = {
    "heldout_mlm_loss": "held-out masked-LM loss (nats)",
    "heldout_kl": "held-out KL(teacher ‖ student) (nats)",
    "heldout_disagreement": "held-out disagreement with the teacher",
}
"""Objectives as axes name them."""
WEIGHTS = ("alpha_ce", "alpha_mlm", "alpha_cos")
CORNERS: tuple[Point, ...] = ((0.5, math.sqrt(3) / 2), (0.0, 0.0), (1.0, 0.0))
"""Where all the weight is on one term, in the order of WEIGHTS: a triangle with sides of 1."""
LEAST = 4
"""Trials below which nothing is said of importance."""

_WHOLE, _PART, _PAPER = "#2a6aa8", "#9a9a9a", "#c8442b"
_TERMS = ("#2a6aa8", "#3a8a4d", "#9a5a1f")
_ENDS: dict[State, str] = {"completed": "o", "stopped early": "x", "failed": "P"}
_CYCLE = tuple(f"C{index}" for index in (0, 1, 2, 3, 4, 5, 6, 8, 9))
"""Matplotlib's own colours without its grey."""
_NAMED = 12
"""Trials that a legend names."""
_OUTWARD = ((17, 0), (-14, 8), (0, -9))
"""From the end of a grid line to its label, in points."""


def figures(trials: Sequence[Trial], objective: str, full_tokens: int) -> Iterator[tuple[str, Figure]]:
    """(file name, figure) for what `trials` have to show; nothing where fewer than two that did not fail reported.

    `full_tokens`: what a whole trial trains on.
    """
    shown = _shown(trials, objective)
    if len(shown) < 2:
        return
    if len({_setting(trial, "temperature") for trial in shown}) > 1:
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
    shown = _shown(trials, objective)
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
        _key("o", _WHOLE, 7, f"whole budget ({len(parts[1])})"),
        _key("o", _PART, 7, f"stopped before ({len(parts[0])}): from a shorter training", fill="none"),
        _key("*", _PAPER, 12, "the paper's"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    heights = {number: y for part in spots for number, (_, y) in part.items()}
    _set_title(panels[0], trials, sum(_last(trial, objective) > heights[trial.number] for trial in shown))
    if parts[1]:
        _write_numbers(panels[-1], spots[-1])
    return figure


def _draw_temperatures(axes: Axes, shown: Sequence[Trial], objective: str) -> dict[int, Point]:
    """Draw trials of one kind; where each one is."""
    top = _fit(axes, [_last(trial, objective) for trial in shown])
    spots = {trial.number: (_setting(trial, "temperature"), min(_last(trial, objective), top)) for trial in shown}
    for trial in shown:
        is_whole, is_paper = trial.state == "completed", trial.number == 0
        colour = _PAPER if is_paper else _WHOLE if is_whole else _PART
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


def weights_figure(trials: Sequence[Trial], objective: str, full_tokens: int) -> Figure:
    """The three weights as shares of their sum. Size: how far a trial got; colour: the objective where the most trials
    can be compared, as a longer training alone would be the better one at the last report."""
    shown = sorted(_shown(trials, objective), key=lambda one: -one.tokens)  # small marks come on top of large ones
    tokens, measured = comparable(trials, objective)
    values = [measured[trial.number] for trial in shown if trial.number in measured]
    norm = Normalize(min(values, default=0.0), _ceiling(values) if values else 1.0)
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
            edgecolors=_PAPER if is_paper else "black" if is_whole else _PART,
            linewidths=1.2 if is_paper or is_whole else 0.6,
            zorder=3,
        )
    label = f"{NAMES.get(objective, objective)}\nafter {_short(tokens)} tokens; lower is better"
    is_above = any(value > (norm.vmax or 0) for value in values)
    figure.colorbar(scale, ax=axes, label=label, shrink=0.8, extend="max" if is_above else "neither")
    handles = [
        _key("o", "black", 9, "whole budget", fill="none"),
        _key("o", _PART, 5, "stopped before (the smaller, the earlier)"),
        _key("*", _PAPER, 12, "the paper's", fill="none"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    whole = {trial.number for trial in shown if trial.state == "completed"}
    _write_numbers(axes, spots, whole)
    return figure


def curves_figure(trials: Sequence[Trial], objective: str, full_tokens: int) -> Figure:
    """The objective over tokens; a curve ends in what became of its trial. The legend names the best whole ones."""
    shown = sorted((trial for trial in trials if _curve(trial, objective)), key=lambda one: _last(one, objective))
    whole = [trial for trial in shown if trial.state == "completed" and trial.number]
    colours = {trial.number: _CYCLE[rank % len(_CYCLE)] for rank, trial in enumerate(whole)} | {0: "black"}
    figure = Figure(figsize=(8.0, 4.6), layout="constrained")
    axes = figure.subplots()
    top = _fit(axes, [value for trial in shown for _, value in _curve(trial, objective)])
    handles = []
    for trial in shown:
        colour, is_paper = colours.get(trial.number, _PART), trial.number == 0
        tokens, values = zip(*_curve(trial, objective), strict=True)
        width = 3.0 if is_paper else 1.6 if trial in whole else 0.9
        order = 4 if is_paper else 3 if trial in whole else 2
        axes.plot(tokens, values, color=colour, linewidth=width, zorder=order)
        axes.plot(tokens[-1], min(values[-1], top), color=colour, marker=_ENDS.get(trial.state), ms=5, zorder=order)
        if is_paper or trial in whole[:_NAMED]:
            name = f"{values[-1]:#.4g}  " + ("the paper's" if is_paper else f"trial {trial.number}")
            handles.append(Line2D([], [], color=colour, linewidth=width, label=name))
    counts = Counter(trial.state for trial in shown)
    ends = [_key(mark, _PART, 6, f"{state} ({counts[state]})") for state, mark in _ENDS.items() if counts[state]]
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
    bars = axes.barh(names, [found[name] for name in names], color=_WHOLE, height=0.6)
    axes.bar_label(bars, [f"{found[name]:.0%}" for name in names], padding=4)
    axes.set(xlim=(0, 1.12 * max(found.values())), xlabel="share of the objective's variance (fANOVA, main effects)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_title(f"{len(values)} trials after {_short(tokens)} tokens", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def importances(trials: Sequence[Trial], objective: str) -> dict[str, float]:
    """Share of each of the sampler's parameters in how much the objective varies, the largest first; they add up to 1.

    Only what was measured after equally many tokens is compared. Empty where it cannot be told: fewer than four such
    trials, an objective that does not vary, or no parameter that does.
    """
    _, measured = comparable(trials, objective)
    points = {trial.number: trial.point for trial in trials if trial.number in measured and trial.point}
    names = [name for name in next(iter(points.values()), {}) if all(name in point for point in points.values())]
    columns = {name: [point[name] for point in points.values()] for name in names}
    varying = {name: _distribution(column) for name, column in columns.items() if len(set(column)) > 1}
    if len(points) < LEAST or not varying:
        return {}
    # One setting that diverges has nearly all of the variance, and would leave nothing to say of the others.
    top = _ceiling([measured[number] for number in points])
    values = {number: min(measured[number], top) for number in points}
    return _fanova(varying, points, values) if len(set(values.values())) > 1 else {}


def comparable(trials: Sequence[Trial], objective: str) -> tuple[int, dict[int, float]]:
    """(tokens, objective by trial number) of the most trials that reported after equally many tokens.

    ASHA stops trials at different lengths, and a longer training is lower whatever its setting. Where several numbers
    of tokens have equally many trials, the largest: the nearest to what the search is after.
    """
    at: dict[int, dict[int, float]] = {}
    for trial in trials:
        for tokens, value in _curve(trial, objective):
            at.setdefault(tokens, {})[trial.number] = value
    return max(at.items(), key=lambda item: (len(item[1]), item[0]), default=(0, {}))


def barycentric(first: float, second: float, third: float) -> Point:
    """Where the shares of three weights, which add up to 1, lie in the triangle of CORNERS."""
    shares = (first, second, third)
    x, y = (sum(share * corner[axis] for share, corner in zip(shares, CORNERS, strict=True)) for axis in (0, 1))
    return x, y


def weight_shares(trial: Trial) -> tuple[float, float, float]:
    """A trial's three weights by their sum, which may be searched too; the paper's where it does not set them."""
    weights = [_setting(trial, name) for name in WEIGHTS]
    first, second, third = (weight / sum(weights) for weight in weights)
    return first, second, third


def _fanova(
    distributions: Mapping[str, BaseDistribution],
    points: Mapping[int, Mapping[str, Scalar]],
    values: Mapping[int, float],
) -> dict[str, float]:
    """fANOVA (Hutter et al. 2014), as Optuna has it, with a fixed seed.

    Of Optuna's evaluators, because it uses all of some 16 trials: a forest is fitted to every one of them, and a bar is
    a share of variance. PED-ANOVA, the default, compares the best tenth with the rest: two trials with fourteen.
    """
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(direction="minimize")
            for number, point in points.items():
                params = {name: point[name] for name in distributions}
                study.add_trial(create_trial(params=params, distributions=dict(distributions), value=values[number]))
            found = optuna.importance.get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    except RuntimeError:  # every tree of the forest is constant
        return {}
    finally:
        optuna.logging.set_verbosity(level)
    return {name: float(share) for name, share in found.items()}


def _distribution(column: Sequence[Scalar]) -> BaseDistribution:
    numbers = [value for value in column if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(column):
        return FloatDistribution(min(numbers), max(numbers))
    return CategoricalDistribution(sorted(set(column), key=str))


def _curve(trial: Trial, objective: str) -> list[tuple[int, float]]:
    """(tokens, objective) of its reports, without those that are no number."""
    pairs = [(report.tokens, report.metrics.get(objective, math.nan)) for report in trial.reports]
    return [(tokens, value) for tokens, value in pairs if math.isfinite(value)]


def _shown(trials: Sequence[Trial], objective: str) -> list[Trial]:
    return [trial for trial in trials if trial.state != "failed" and _curve(trial, objective)]


def _last(trial: Trial, objective: str) -> float:
    return _curve(trial, objective)[-1][1]


def _setting(trial: Trial, name: str) -> float:
    value = trial.setting.get(name, PAPER[name])
    assert isinstance(value, int | float)
    return float(value)


def _rounded(shares: Sequence[float]) -> tuple[float, ...]:
    """Shares that differ by rounding alone are the same."""
    return tuple(round(share, 6) for share in shares)


def _ceiling(values: Sequence[float]) -> float:
    """The largest value that is no outlier (Tukey's fence), so that one bad report does not squash the others."""
    low, high = np.quantile(values, (0.25, 0.75))
    return max(value for value in values if value <= high + 1.5 * (high - low))


def _fit(axes: Axes, values: Sequence[float]) -> float:
    """Set what the y axis shows of `values`; the height at which what lies above is drawn."""
    low, top = min(values), _ceiling(values)
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


def _key(marker: str, colour: str, size: float, label: str, *, fill: str | None = None) -> Line2D:
    """A mark for the legend."""
    face = colour if fill is None else fill
    return Line2D([], [], linestyle="", marker=marker, color=colour, markerfacecolor=face, markersize=size, label=label)


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


def _write_numbers(axes: Axes, spots: Mapping[int, Point], numbered: Collection[int] | None = None) -> None:
    """Write the number of each trial (of those in `numbered`) beside its spot, on the side that is farthest from other
    spots and numbers; the paper's has its star."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # distances on paper are known once the layout is
    places = {number: 72 / figure.dpi * axes.transData.transform(spot) for number, spot in spots.items()}
    texts = [72 / figure.dpi * text.get_window_extent().get_points().mean(axis=0) for text in axes.texts]
    taken = [*places.values(), *texts]
    sides = [12 * np.array((math.cos(angle), math.sin(angle))) for angle in np.linspace(0, 2 * math.pi, 13)[:-1]]
    for number, here in places.items():
        if number == 0 or (numbered is not None and number not in numbered):
            continue
        side = max(sides, key=lambda one: min(float(np.hypot(*(here + one - other))) for other in taken))
        taken.append(here + side)
        text = axes.annotate(str(number), spots[number], xytext=tuple(side), textcoords="offset points", fontsize=8)
        text.set(ha="center", va="center", path_effects=[withStroke(linewidth=1.5, foreground="white")], zorder=4)


def _short(tokens: int) -> str:
    """Such as 2.05M."""
    return EngFormatter(sep="")(float(f"{tokens:.3g}"))
