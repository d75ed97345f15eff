"""An ablation as bars: how far each variant's held-out loss is from the recipe's, with its interval."""

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pipeline.ablation.interval import CONFIDENCE
from pipeline.ablation.result import Ablation
from stages.evaluation.artifact import LOSS

_COLOURS = {"paper": "#2a6aa8", "ours": "#c8842b"}
_NAMES = {"paper": "in the paper's table 4", "ours": "choices of ours"}


def bars(ablation: Ablation) -> Figure:
    """A bar a variant, in the table's order from the top; pale where its interval holds 0."""
    shown = [(row, row.difference) for row in ablation.rows if row.difference is not None]
    figure = Figure(figsize=(8.0, 0.42 * len(shown) + 1.6), layout="constrained")
    axes = figure.subplots()
    for place, (row, apart) in enumerate(shown):
        colour = _COLOURS[row.by]
        axes.barh(place, apart.mean, height=0.6, color=colour, alpha=1.0 if apart.differs else 0.35)
        ends = [[apart.mean - apart.low], [apart.high - apart.mean]]
        axes.errorbar(apart.mean, place, xerr=ends, color="black", capsize=3, linewidth=1)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [f"{row.name}: {row.what}" for row, _ in shown])
    axes.invert_yaxis()
    axes.set_xlabel(f"held-out {LOSS[ablation.objective]} above the recipe's (nats)")
    title = f"{ablation.recipe}, {len(ablation.seeds)} seeds, {CONFIDENCE:.0%} intervals; pale: cannot be told from 0"
    figure.suptitle(title, fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    there = dict.fromkeys(row.by for row, _ in shown)
    marks = [Patch(color=_COLOURS[by], label=_NAMES[by]) for by in there]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure
