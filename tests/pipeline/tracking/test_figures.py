"""Figures are drawn for what there is; curves stay small however long the run."""

import io
import math

import numpy as np
import pytest

from pipeline.tracking.figures import History, figures, smoothed


def test_figures_losses_and_learning_rate_become_two_pictures() -> None:
    curve = [(step, 5.0 / (step + 1)) for step in range(120)]
    history = {"loss": curve, "loss_ce": curve, "distil/heldout_mlm_loss": curve[::10], "distil/learning_rate": curve}
    pictures = dict(figures(history))
    assert list(pictures) == ["loss.png", "progress.png"]
    assert [axes.get_title() for axes in pictures["loss.png"].axes] == ["training", "held-out"]
    image = io.BytesIO()
    pictures["loss.png"].savefig(image, format="png")
    assert image.getvalue().startswith(b"\x89PNG")


def test_figures_no_metrics_draw_nothing() -> None:
    assert list(figures({})) == []
    assert list(figures({"loss": []})) == []


def test_smoothed_agrees_with_the_mean_of_each_window() -> None:
    values = list(np.random.default_rng(0).normal(size=50))
    expected = [np.mean(values[max(0, end - 8) : end]) for end in range(1, 51)]
    assert smoothed(values, 8) == pytest.approx(expected)


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_smoothed_value_that_is_no_number_spoils_no_other_mean(odd: float) -> None:
    assert smoothed([1.0, 2.0, odd, 4.0, 5.0], 3) == pytest.approx([1.0, 1.5, 1.5, 3.0, 4.5])


def test_history_long_run_is_thinned_evenly_to_its_limit() -> None:
    history = History(limit=100)
    for step in range(10_000):
        history.add(step, {"loss": float(step)})
    steps = [step for step, _ in history.curves["loss"]]
    assert 50 <= len(steps) <= 100
    assert len(set(np.diff(steps))) == 1
    assert steps[-1] > 9_700
