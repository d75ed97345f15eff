"""The figures of a run, drawn from its metrics: the losses, and the learning rate with what goes along with it."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Curve = Sequence[tuple[int, float]]
"""(optimiser step, value), in order."""

HELDOUT = "heldout"
"""What the names of held-out metrics begin with, after the stage's."""


BESIDE = ("learning_rate", "grad_norm", "tokens_per_second", "heldout_top1")
"""What is drawn below one another beside the losses."""


class History:
    """The curves of a run as they grow, thinned so that a million steps stay drawable and small."""

    def __init__(self, limit: int = 4000) -> None:
        """`limit`: points kept of a curve; beyond it every other one goes, and half as many come in."""
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self._limit = limit
        self._strides: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take in what was measured at an optimiser step; what is told again, after a restart, is passed over."""
        for name, value in metrics.items():
            if step <= self._last.get(name, -1):
                continue
            self._last[name] = step
            seen, stride = self._seen.get(name, 0), self._strides.get(name, 1)
            self._seen[name] = seen + 1
            if seen % stride:
                continue
            curve = self.curves.setdefault(name, [])
            curve.append((step, value))
            if len(curve) > self._limit:
                self.curves[name] = curve[::2]
                self._strides[name] = 2 * stride


def figures(history: Mapping[str, Curve]) -> Iterator[tuple[str, Figure]]:
    """(file name, figure) for what `history` holds; nothing for what it does not."""
    losses = {name: curve for name, curve in history.items() if "loss" in name.lower() and curve}
    if losses:
        yield "loss.png", loss_figure(losses)
    progress = {name: curve for name, curve in history.items() if curve and _last(name) in BESIDE}
    if progress:
        yield "progress.png", progress_figure(progress)


def loss_figure(losses: Mapping[str, Curve]) -> Figure:
    """Training losses on the left (faint: every step; full: smoothed), held-out losses on the right."""
    heldout = {name: curve for name, curve in losses.items() if _is_heldout(name)}
    train = {name: curve for name, curve in losses.items() if name not in heldout}
    panels = [(title, curves) for title, curves in (("training", train), ("held-out", heldout)) if curves]
    figure = Figure(figsize=(6.4 * len(panels), 4.2), layout="constrained")
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, curve in curves.items():
            _draw(axes, name, curve)
        axes.set(title=title, xlabel="optimiser step", ylabel="loss (nats)")
        axes.legend(frameon=False)
    return figure


def progress_figure(curves: Mapping[str, Curve]) -> Figure:
    """Each curve in a panel of its own, one below the other."""
    figure = Figure(figsize=(6.4, 2.1 * len(curves) + 0.4), layout="constrained")
    panels = figure.subplots(len(curves), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (name, curve) in zip(panels, curves.items(), strict=True):
        _draw(axes, name, curve)
        axes.set_ylabel(_last(name).replace("_", " "))
    panels[-1].set_xlabel("optimiser step")
    return figure


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean of up to `window` values ending at each; a plain running mean shows no trend that is not there.

    A value that is no finite number, such as the norm of a gradient that was passed over, counts for none.
    """
    return pd.Series(values, dtype=float).rolling(window, min_periods=1).mean().tolist()


def _draw(axes: Axes, name: str, curve: Curve) -> None:
    steps, values = [step for step, _ in curve], [value for _, value in curve]
    if len(values) < 50 or _is_heldout(name) or _last(name) == "learning_rate":
        axes.plot(steps, values, label=name, marker="." if len(values) < 50 else None)
        return
    (line,) = axes.plot(steps, values, alpha=0.2, linewidth=0.8)
    axes.plot(steps, smoothed(values, max(2, len(values) // 50)), label=name, color=line.get_color())


def _is_heldout(name: str) -> bool:
    return _last(name).startswith(HELDOUT)


def _last(name: str) -> str:
    """A metric's name without the stage that may stand before it."""
    return name.rsplit("/", 1)[-1]
