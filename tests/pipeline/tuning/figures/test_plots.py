"""A search is drawn for what varies in it, and a parameter's importance does not depend on where trials stopped."""

import io
import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import optuna
import pytest
from matplotlib.colors import to_rgba

from pipeline.config.overrides import Scalar
from pipeline.tuning.config import PAPER
from pipeline.tuning.figures.importance import comparable, importances
from pipeline.tuning.figures.plots import figures, temperature_figure
from pipeline.tuning.figures.ternary import weight_shares, weights_figure
from pipeline.tuning.ledger import Report, State, Trial

OBJECTIVE = "heldout_mlm_loss"
FULL = 1_000_000
RUNGS = (FULL // 10, FULL * 4 // 10, FULL)
ALL = ["temperature.png", "weights.png", "curves.png", "importance.png"]


def trial(
    number: int, values: Sequence[float], state: State = "completed", *, temperature: float = 2.0, ce_share: float = 0.6
) -> Trial:
    """A trial with an objective of `values` at the first rungs."""
    rest = 8 * (1 - ce_share) / 2
    setting = {"temperature": temperature, "alpha_ce": 8 * ce_share, "alpha_mlm": rest, "alpha_cos": rest}
    reports = (Report(step=r, tokens=r, metrics={OBJECTIVE: v}) for r, v in zip(RUNGS, values, strict=False))
    point: dict[str, Scalar] = {"temperature": temperature, "ce_share": ce_share}
    return Trial(number=number, setting=dict(setting), point=point, seed=1, state=state, reports=tuple(reports))


def search(count: int = 16, *, longest: int = 3) -> list[Trial]:
    """Trials whose objective is a valley in log T, with a slight slope in ce_share; every third goes on to the end."""
    draw = np.random.default_rng(5)
    trials = []
    for number in range(count):
        temperature, ce_share = float(np.exp(draw.uniform(0, math.log(8)))), float(draw.uniform())
        loss = 0.4 * math.log(temperature / 3) ** 2 + 0.02 * ce_share
        values = [start + loss for start in (5.0, 4.0, 3.5)][: longest if number % 3 == 0 else 1]
        state: State = "completed" if len(values) == 3 else "stopped early"
        trials.append(trial(number, values, state, temperature=temperature, ce_share=ce_share))
    return trials


def names(trials: Sequence[Trial]) -> list[str]:
    return [name for name, _ in figures(trials, OBJECTIVE, FULL)]


def drawn_at(setting: Sequence[float]) -> tuple[float, float]:
    """Where a trial with these weights is in the picture, whose triangle stands on (0, 0) and (1, 0)."""
    weights = dict(zip(("alpha_ce", "alpha_mlm", "alpha_cos"), setting, strict=True))
    one = trial(0, [5.0, 4.0, 3.0])
    drawn = weights_figure([replace(one, setting=one.setting | weights), trial(1, [5.0])], OBJECTIVE, FULL)
    axes, place = drawn.axes[0], drawn.axes[0].collections[0].get_offsets()[0]  # the longest training is drawn first
    drawn.draw_without_rendering()
    left, right = (axes.transProjection.transform(corner) for corner in ((0, 1, 0), (0, 0, 1)))
    at, start, end = (axes.transData.transform(point) for point in (place, left, right))
    return tuple((at - start) / (end - start)[0])


def test_weights_figure_one_weight_alone_is_a_corner() -> None:
    height = math.sin(math.radians(60))
    assert drawn_at((8, 0, 0)) == pytest.approx((0.5, height))
    assert drawn_at((0, 8, 0)) == pytest.approx((0, 0), abs=1e-9)
    assert drawn_at((0, 0, 8)) == pytest.approx((1, 0), abs=1e-9)


def test_weights_figure_paper_is_where_its_shares_put_it() -> None:
    ce, mlm, cos = 5 / 8, 2 / 8, 1 / 8
    x, y = drawn_at((5, 2, 1))
    height = math.sqrt(3) / 2
    assert y / height == pytest.approx(ce)  # the distance from a side is the share of the corner across from it
    assert (height * x - y / 2) == pytest.approx(height * cos)
    assert (height * (1 - x) - y / 2) == pytest.approx(height * mlm)


def test_weights_figure_sides_name_the_shares_and_corners_the_weights() -> None:
    """As a person reads it: the nearer to a corner, the more of the weight whose name and colour it has."""
    drawn = weights_figure(search(), OBJECTIVE, FULL)
    axes = drawn.axes[0]
    drawn.draw_without_rendering()
    for axis, name in zip((axes.taxis, axes.laxis, axes.raxis), ("alpha_ce", "alpha_mlm", "alpha_cos"), strict=True):
        labels = [label for label in axis.get_ticklabels() if label.get_visible()]
        assert [label.get_text() for label in labels] == ["25%", "50%", "75%"]
        assert axis.label.get_text() == name
        assert {to_rgba(label.get_color()) for label in labels} == {to_rgba(axis.label.get_color())}
        corner = axis.label.get_window_extent().get_points().mean(axis=0)
        places = [label.get_window_extent().get_points().mean(axis=0) for label in labels]
        ways = [float(np.hypot(*(place - corner))) for place in places]
        assert ways == sorted(ways, reverse=True), f"the nearer to the corner of {name}, the more of it"


def test_weight_shares_common_scale_makes_no_difference() -> None:
    one = trial(0, [4.0])
    thrice = {name: 3 * value for name, value in one.setting.items() if isinstance(value, float)}
    assert weight_shares(replace(one, setting=thrice)) == pytest.approx(weight_shares(one))
    assert weight_shares(one) == pytest.approx((0.6, 0.2, 0.2))


def test_figures_whole_search_are_four_pictures() -> None:
    failed = trial(16, [], "failed", temperature=7.0)
    pictures = dict(figures([*search(), failed], OBJECTIVE, FULL))
    assert list(pictures) == ALL
    for figure in pictures.values():
        image = io.BytesIO()
        figure.savefig(image, format="png")
        assert image.getvalue().startswith(b"\x89PNG")
    assert "1 failed" in pictures["temperature.png"].axes[0].get_title()


def test_figures_what_does_not_vary_is_not_drawn() -> None:
    trials = search()
    same_t = [replace(one, setting=one.setting | {"temperature": 2.0}) for one in trials]
    assert names(same_t) == [name for name in ALL if name != "temperature.png"]
    weights = {"alpha_ce": 5.0, "alpha_mlm": 2.0, "alpha_cos": 1.0}
    scaled = {name: 2 * value for name, value in weights.items()}
    same = [replace(one, setting=one.setting | (scaled if one.number % 2 else weights)) for one in trials]
    assert names(same) == [name for name in ALL if name != "weights.png"]
    assert names([trial(number, [5.0, 4.0, 3.0 + number]) for number in range(6)]) == ["curves.png"]


def test_figures_fields_that_only_trial_0_names_do_not_vary() -> None:
    others = [replace(one, setting={"learning_rate": 1e-3 * (1 + one.number)}) for one in search()[1:]]
    paper = replace(search()[0], setting=dict(PAPER))
    assert names([paper, *others]) == ["curves.png", "importance.png"]


def test_figures_fewer_than_two_to_draw_are_none() -> None:
    assert names([]) == []
    assert names(search(1)) == []
    assert names([replace(one, state="failed") for one in search()]) == []
    assert names([trial(0, [5.0]), trial(1, [], "running", temperature=3.0)]) == []
    assert names([trial(0, [5.0]), trial(1, [math.nan], temperature=3.0)]) == []


def test_temperature_figure_whole_trials_are_filled_and_stopped_ones_hollow() -> None:
    trials = [trial(0, [5, 4, 3.5]), trial(1, [5, 4, 3.4], temperature=3.0), trial(2, [5.5], "stopped early")]
    stopped, whole = temperature_figure(trials, OBJECTIVE).axes
    (hollow,) = stopped.collections
    assert len(hollow.get_facecolors()) == 0
    assert [tuple(mark.get_offsets()[0]) for mark in whole.collections] == [(2.0, 3.5), (3.0, 3.4)]
    assert all(len(mark.get_facecolors()) == 1 for mark in whole.collections)
    assert [text.get_text() for text in whole.texts] == ["1"]
    star, other = whole.collections
    assert to_rgba(star.get_facecolors()[0]) != to_rgba(other.get_facecolors()[0])


def test_temperature_figure_bad_trial_does_not_squash_the_others() -> None:
    trials = [trial(number, [5, 4, 3.5 + 0.01 * number], temperature=1.5 + number) for number in range(6)]
    trials.append(trial(6, [90, 80, 70], temperature=8.0))
    (axes,) = temperature_figure(trials, OBJECTIVE).axes
    assert axes.get_ylim()[1] < 3.6
    assert "1 above" in axes.get_title()


def test_importances_find_the_parameter_that_matters() -> None:
    found = importances(search(), OBJECTIVE)
    assert list(found) == ["temperature", "ce_share"]
    assert found["temperature"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    swapped = [
        replace(one, point={"ce_share": one.point["temperature"], "temperature": one.point["ce_share"]})
        for one in search()
    ]
    assert importances(swapped, OBJECTIVE)["ce_share"] > 0.8


def test_importances_category_that_decides_outweighs_the_number() -> None:
    trials = search()
    for index, one in enumerate(trials):
        layers = ("first", "last")[index % 2]
        point = one.point | {"layers": layers, "temperature": int(index // 2)}
        trials[index] = replace(trial(index, [5.0 + index % 2 + 0.001 * index]), point=point)
    found = importances(trials, OBJECTIVE)
    assert next(iter(found)) == "layers"


def test_importances_where_trials_stopped_later_makes_no_difference() -> None:
    short, long = search(longest=2), search(longest=3)
    assert short != long
    assert importances(short, OBJECTIVE) == importances(long, OBJECTIVE)
    assert importances(search(longest=1), OBJECTIVE) == importances(long, OBJECTIVE)


def test_importances_that_cannot_be_told_are_empty() -> None:
    assert importances([], OBJECTIVE) == {}
    assert importances(search(3), OBJECTIVE) == {}
    level = [trial(number, [5.0], temperature=1.0 + number) for number in range(8)]
    assert importances(level, OBJECTIVE) == {}
    assert importances([trial(number, [5.0 + number]) for number in range(8)], OBJECTIVE) == {}
    assert importances([replace(one, point={}) for one in search()], OBJECTIVE) == {}


def test_importances_say_nothing_and_leave_optuna_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    try:
        optuna.logging.set_verbosity(logging.DEBUG)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert importances(search(), OBJECTIVE)
        assert capfd.readouterr() == ("", "")
        assert optuna.logging.get_verbosity() == logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)


def test_comparable_takes_the_most_trials_and_of_those_the_longest_training() -> None:
    trials = [trial(0, [5.0, 4.0, 3.0]), trial(1, [5.1, 4.1], "stopped early"), trial(2, [5.2, 4.2], "failed")]
    assert comparable(trials, OBJECTIVE) == (RUNGS[1], {0: 4.0, 1: 4.1, 2: 4.2})
    trials.append(trial(3, [5.3], "stopped early"))
    assert comparable(trials, OBJECTIVE) == (RUNGS[0], {0: 5.0, 1: 5.1, 2: 5.2, 3: 5.3})
