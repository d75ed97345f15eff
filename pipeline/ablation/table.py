"""What an ablation came to, for a person: a table, a sentence a row, and the same as Markdown."""

from statistics import fmean

from rich.table import Table
from rich.text import Text

from pipeline.ablation.interval import CONFIDENCE, Difference
from pipeline.ablation.result import Ablation, Row
from stages.evaluation.artifact import LOSS

_BY = {"recipe": "", "paper": "paper's", "ours": "ours"}


def columns(ablation: Ablation) -> tuple[str, ...]:
    """The table's."""
    loss = LOSS[ablation.objective]
    return "variant", "whose", "what", loss, "top-1", "difference in loss", f"{CONFIDENCE:.0%} interval", "verdict"


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table, as text."""
    found = (f"{row.loss:.4f}", f"{fmean(row.top1):.4f}") if row.losses else ("–", "–")
    apart = row.difference
    told = ("", "") if apart is None else (f"{apart.mean:+.4f}", interval_text(apart))
    return row.name, _BY[row.by], row.what, *found, *told, verdict(row)


def verdict(row: Row) -> str:
    """In a word or two; empty of the recipe itself."""
    if row.why:
        return "failed"
    if row.difference is None:
        return ""
    if not row.difference.differs:
        return "cannot be told from nothing"
    return "worse" if row.difference.mean > 0 else "better"


def ablation_table(ablation: Ablation) -> Table:
    """A row a variant, the recipe's first."""
    title = f"{ablation.recipe} without one thing at a time, on {len(ablation.seeds)} seeds"
    table = Table(title=title, title_justify="left", highlight=False)
    for index, name in enumerate(columns(ablation)):
        table.add_column(name, justify="right" if 2 < index < 7 else "left", no_wrap=index < 2)
    for row in ablation.rows:
        table.add_row(*map(Text, cells(row)), end_section=row.by == "recipe")
    table.caption, table.caption_justify = caption(ablation), "left"
    return table


def caption(ablation: Ablation) -> str:
    """What the figures are of, and how far they can be trusted together."""
    compared = sum(row.difference is not None for row in ablation.rows)
    return (
        f"{ablation.heldout_tokens:,} held-out tokens, the same for all, packed as the recipe packs "
        f"({ablation.packing}); intervals over seeds and blocks. Of {compared} variants that change nothing, "
        f"{(1 - CONFIDENCE) * compared:.2f} would be said to differ all the same."
    )


def sentences(ablation: Ablation) -> list[str]:
    """A sentence a row but the recipe's, and one for each variant that there is not."""
    lines = [sentence(row) for row in ablation.rows if row.by != "recipe"]
    return [*lines, *(f"{one.name} is left out: {one.why}." for one in ablation.left_out)]


def sentence(row: Row) -> str:
    """Whether a variant differs from the recipe, and how."""
    name = f"{row.name} ({row.what})"
    if row.why:
        return f"{name} did not come to its end, so nothing is said of it: {row.why}."
    apart = row.difference
    assert apart is not None, "a variant that came to its end is compared"
    figures = f"a loss {abs(apart.mean):.4f} nats {'above' if apart.mean > 0 else 'below'} the recipe's"
    if not apart.differs:
        return f"{name} cannot be told from nothing: {figures}, {CONFIDENCE:.0%} interval {interval_text(apart)}."
    return f"{name} differs, it is {verdict(row)}: {figures}, {CONFIDENCE:.0%} interval {interval_text(apart)}."


def markdown(ablation: Ablation) -> str:
    """Table and sentences for MLflow's page."""
    names = columns(ablation)
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * 3}{'---:|' * 4}---|"]
    lines += [f"| {' | '.join(cells(row))} |" for row in ablation.rows]
    told = "\n".join(f"- {line}" for line in sentences(ablation))
    return "\n".join(lines) + f"\n\n{caption(ablation)}\n\n{told}"


def interval_text(apart: Difference) -> str:
    """Such as +0.0123 to +0.0456."""
    return f"{apart.low:+.4f} to {apart.high:+.4f}"
