"""What a person reads of an ablation: cells, a sentence a row, Markdown, bars."""

import io
from dataclasses import replace

import numpy as np
from rich.console import Console

from pipeline.ablation.figure import bars
from pipeline.ablation.interval import Difference
from pipeline.ablation.plan import LeftOut
from pipeline.ablation.result import Ablation, Row
from pipeline.ablation.table import ablation_table, caption, cells, markdown, sentences
from pipeline.config.serialisation import from_plain, to_plain

OWN = Row(name="recipe", by="recipe", what="the full recipe", changes={}, tokens=9, losses=(2.0, 2.2), top1=(0.5, 0.6))
WORSE = Row(
    name="random",
    by="paper",
    what="random weights",
    changes={"distil.start": "random"},
    tokens=9,
    losses=(3.0, 3.4),
    top1=(0.2, 0.3),
    difference=Difference(mean=1.1, low=0.9, high=1.3),
)
UNSURE = replace(
    WORSE, name="packing", by="ours", what="other", difference=Difference(mean=-0.01, low=-0.03, high=0.01)
)
BETTER = replace(UNSURE, name="head", difference=Difference(mean=-0.02, low=-0.03, high=-0.01))
FAILED = replace(WORSE, name="hot", losses=(), top1=(), difference=None, why="no finite number")
ABLATION = Ablation(
    recipe="demo",
    objective="masked",
    seeds=(1, 2),
    heldout_digest="d",
    heldout_tokens=65_536,
    packing="stream",
    mlflow_run_id="m1",
    rows=(OWN, WORSE, UNSURE, BETTER, FAILED),
    left_out=(LeftOut(name="unfolded", why="there is nothing"),),
)


def test_cells_of_a_row() -> None:
    assert cells(OWN) == ("recipe", "", "the full recipe", "2.1000", "0.5500", "", "", "")
    assert cells(WORSE)[3:] == ("3.2000", "0.2500", "+1.1000", "+0.9000 to +1.3000", "worse")
    assert cells(UNSURE)[5:] == ("-0.0100", "-0.0300 to +0.0100", "cannot be told from nothing")
    assert cells(BETTER)[7] == "better"
    assert cells(FAILED)[3:] == ("–", "–", "", "", "failed")


def test_sentences_say_of_each_whether_it_differs() -> None:
    assert sentences(ABLATION) == [
        "random (random weights) differs, it is worse: a loss 1.1000 nats above the recipe's, 95% interval +0.9000 to "
        "+1.3000.",
        "packing (other) cannot be told from nothing: a loss 0.0100 nats below the recipe's, 95% interval -0.0300 to "
        "+0.0100.",
        "head (other) differs, it is better: a loss 0.0200 nats below the recipe's, 95% interval -0.0300 to -0.0100.",
        "hot (random weights) did not come to its end, so nothing is said of it: no finite number.",
        "unfolded is left out: there is nothing.",
    ]


def test_table_and_markdown_have_every_row_and_what_may_be_luck() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(ablation_table(ABLATION))
    shown = console.export_text()
    for text in ("masked-LM loss", "+0.9000 to +1.3000", "packed as the recipe packs (stream)"):
        assert text in shown
        assert text in markdown(ABLATION)
    assert "Of 3 variants that change nothing, 0.15 would be said to differ all the same." in caption(ABLATION)
    lines = markdown(ABLATION).splitlines()
    assert {line.count("|") for line in lines[:7]} == {9}


def test_bars_are_the_differences_with_their_intervals() -> None:
    (axes,) = bars(ABLATION).axes
    assert [bar.get_width() for bar in axes.patches] == [1.1, -0.01, -0.02]
    assert [bar.get_alpha() for bar in axes.patches] == [1.0, 0.35, 1.0]
    ends = [collection.get_segments()[0][:, 0] for collection in axes.collections]
    np.testing.assert_allclose(ends, [(0.9, 1.3), (-0.03, 0.01), (-0.03, -0.01)])
    assert axes.get_yticklabels()[0].get_text() == "random: random weights"


def test_ablation_survives_its_file() -> None:
    assert from_plain(Ablation, to_plain(ABLATION)) == ABLATION
