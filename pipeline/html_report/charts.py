"""Curves as SVG that takes its colours from the page: light and dark are the same drawing."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from pipeline.tracking.figures import Curve, smoothed

STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: the page's own letters
    "svg.hashsalt": "distilray",  # the same curves give the same bytes
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.6,
    "axes.formatter.limits": (-3, 5),
}
INK, LINE, STUDENT, TEACHER, START = "#010203", "#020304", "#030405", "#040506", "#050607"
COLOURS = {INK: "muted", LINE: "line", STUDENT: "student", TEACHER: "teacher", START: "start"}
"""What is drawn in these colours takes the page's custom property of that name."""
MANY = 50
"""Points from which on a noisy curve is drawn faintly, with its running mean above it."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing with what stands above it."""

    title: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class Level:
    """A value that does not change, for comparison; `colour` is one of `COLOURS`."""

    value: float
    colour: str


def chart(title: str, curve: Curve, *, noisy: bool, levels: Sequence[Level] = ()) -> Chart:
    """One curve over optimiser steps; a `noisy` one of many points is smoothed."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.2, 2.1), layout="constrained")
        axes = figure.subplots()
        steps, values = [step for step, _ in curve], [value for _, value in curve]
        many = len(values) >= MANY
        if many and noisy:
            axes.plot(steps, values, color=STUDENT, alpha=0.25, linewidth=0.8)
            values = smoothed(values, max(2, len(values) // MANY))
        axes.plot(steps, values, color=STUDENT, linewidth=1.6, marker=None if many else "o", markersize=3)
        for level in levels:
            axes.axhline(level.value, color=level.colour, linestyle="--", linewidth=1.2)
        axes.set_xlim(left=0)
        axes.set_xlabel("optimiser step", color=INK)
        axes.tick_params(colors=INK, length=0)
        axes.grid(color=LINE)
        for spine in axes.spines.values():
            spine.set_color(LINE)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Chart(title=title, svg=themed(drawn.getvalue(), title))


def themed(svg: str, title: str) -> str:
    """A drawing to be put into a page: in the page's colours and letters, as wide as its place."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style).*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg))
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # every drawing has the same ones
    svg = re.sub(r"font-family: [^;\"]*;", "", svg)
    for colour, name in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
