"""A page's contents with plain numbers, without a run."""

import math
from typing import Any

from labelled import TASKS
from workdirs import a_report

from pipeline.html_report.contents import Contents, Task, headline, measures, settings
from pipeline.html_report.curves import heldout_charts, loss_charts, progress_charts
from pipeline.html_report.examples import Example, Filling
from pipeline.recipes import recipe

CURVES = {
    name: [(step, 1 + 3 * math.exp(-step / 90) + 0.05 * math.sin(step)) for step in range(5, 390, 5)]
    for name in ("loss", "loss_ce", "loss_mlm", "loss_cos", "learning_rate", "grad_norm", "tokens_per_second")
} | {
    name: [(step, 3.2 + 1.2 * math.exp(-step / 90)) for step in (130, 260, 390)]
    for name in ("heldout_mlm_loss", "heldout_top1", "heldout_kl", "heldout_agreement")
}


def an_example(word: str = "tensor") -> Example:
    """A sentence that the teacher fills rightly and the student does not."""
    guesses = [Filling(name, 0.5 / (i + 1), name == word) for i, name in enumerate((word, "array", "matrix"))]
    return Example(
        before="The shape of a ",
        word=word,
        after=" is a tuple of its sizes along each of its axes.",
        teacher=tuple(guesses),
        student=tuple(reversed(guesses)),
    )


def a_page(**other: Any) -> Contents:
    """A whole page, but for what is given."""
    report = a_report("1b2c3d", tasks=TASKS)
    fields: dict[str, Any] = {
        "name": "distilray-demo",
        "recipe": "demo",
        "made": "2026-01-01 12:00 UTC",
        "fingerprint": "ab12",
        "verdict": report.verdict,
        "headline": headline(report),
        "measures": measures(report),
        "closeness": "80.0% agree",
        "tasks": [Task(result=task) for task in TASKS.values()],
        "others": ["student at step 0"],
        "losses": loss_charts(CURVES, "masked"),
        "heldout": heldout_charts(CURVES, report),
        "progress": progress_charts(CURVES),
        "examples": [an_example()] * 4,
        "causal": False,
        "corpus": [("source", "library-docs"), ("documents", "13,571 to learn from, 120 held out")],
        "cost": [("machine of the driver", "2 × AMD EPYC, 24 GiB"), ("commit", "0123456789ab")],
        "seconds": [("corpus", "61.0"), ("distil", "180.2")],
        "settings": settings(recipe("demo")),
    }
    return Contents(**fields | other)
