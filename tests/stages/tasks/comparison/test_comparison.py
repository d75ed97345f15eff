"""Which fine-tunings there are, under which key each is kept, and the intervals of what they come to."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from stages.storage import Folder
from stages.tasks.comparison.fits import Candidate, Fit, capped, finals, grid, inner_rows, key_of, settings_of
from stages.tasks.comparison.intervals import interval_of, kept_of, resampled
from stages.tasks.config import FineTuningConfig, SecondStepConfig
from stages.tasks.data.specs import task_of
from stages.tasks.examples import Labelled, Texts

RULES = FineTuningConfig(learning_rates=(1e-4, 2e-4), epochs=(2, 3), seeds=3)
MODEL = Candidate(name="student", folder=Folder("/models/a"), mark="distil/f1/student")


def texts(labels: np.ndarray) -> Texts:
    return Texts(tuple(f"text {number}" for number in range(len(labels))), None, labels)


def test_grid_tries_every_setting_on_a_part_of_train_and_nothing_where_there_is_one_alone() -> None:
    tried = grid("mine", MODEL, RULES)
    assert {(fit.setting.learning_rate, fit.setting.epochs) for fit in tried} == {
        (1e-4, 2), (1e-4, 3), (2e-4, 2), (2e-4, 3),
    }  # fmt: skip
    assert all(fit.inner for fit in tried)
    assert grid("mine", MODEL, replace(RULES, learning_rates=(1e-4,), epochs=(3,))) == []
    last = list(finals("mine", MODEL, settings_of(RULES)[2], RULES))
    assert [(fit.seed, fit.inner, fit.setting) for fit in last] == [(n, False, settings_of(RULES)[2]) for n in range(3)]


def test_inner_rows_are_the_same_for_all_models_and_in_one_part_alone() -> None:
    learn, asked = inner_rows(1000, RULES)
    again, _ = inner_rows(1000, RULES)
    assert np.array_equal(learn, again)
    assert (len(learn), len(asked)) == (900, 100)
    assert sorted([*learn, *asked]) == list(range(1000))
    assert len(inner_rows(100_000, RULES)[1]) == 2000


def test_key_is_another_for_all_that_bears_on_an_outcome() -> None:
    fit = Fit(task="mine", candidate=MODEL, setting=settings_of(RULES)[0], seed=0)
    teacher = replace(fit, candidate=replace(MODEL, name="teacher", mark="teacher/f0"))
    second = SecondStepConfig(alpha=0.5)
    others = [
        (replace(fit, seed=1), {}, RULES),
        (replace(fit, task="other"), {}, RULES),
        (replace(fit, setting=settings_of(RULES)[1]), {}, RULES),
        (replace(fit, inner=True), {}, RULES),
        (replace(fit, candidate=replace(MODEL, mark="distil/f2/student")), {}, RULES),
        (replace(fit, taught_by=teacher, second_step=second), {}, RULES),
        (replace(fit, taught_by=teacher, second_step=replace(second, temperature=3.0)), {}, RULES),
        (fit, {"mine.csv": "another size"}, RULES),
        (fit, {}, replace(RULES, dropout=0.2)),
        (fit, {}, replace(RULES, max_tokens=64)),
    ]
    keys = [key_of(one, data, rules) for one, data, rules in [(fit, {}, RULES), *others]]
    assert len(set(keys)) == len(keys)
    # A model's place on a disk, what else is tried, and how many at once: none of them does.
    moved = replace(fit, candidate=replace(MODEL, folder=Folder("/elsewhere/a")), keeps=True)
    assert key_of(moved, {}, replace(RULES, learning_rates=(1e-4,), seeds=5, cpus=2)) == keys[0]


def test_capped_draws_as_many_as_asked_in_their_own_order() -> None:
    labelled = Labelled(
        task=task_of("sst2"),
        classes=("0", "1"),
        train=texts(np.arange(100) % 2),
        dev=texts(np.arange(40) % 2),
        notes=(),
    )
    found = capped(labelled, replace(RULES, train_examples=30), 7)
    assert isinstance(found.train, Texts)
    numbers = [int(text.split()[1]) for text in found.train.first]
    assert (len(numbers), numbers) == (30, sorted(set(numbers)))
    assert found.train.labels.tolist() == [number % 2 for number in numbers]
    assert len(found.dev) == 40


def test_interval_of_a_difference_is_the_one_that_theory_gives_where_seeds_agree() -> None:
    """Two models whose answers differ on 60 and on 30 of 1,000 examples: the difference of two shares has a spread
    that is known (McNemar's)."""
    truth = np.zeros(1000, dtype=np.int64)
    student, teacher = truth.copy(), truth.copy()
    student[:60], teacher[60:90] = 1, 1
    drawn = resampled(
        "accuracy", texts(truth), {"teacher": [teacher] * 3, "student": [student] * 3}, classes=("0", "1"), seed=1
    )
    low, high = interval_of(drawn["student"] - drawn["teacher"])
    apart, spread = -0.03, np.sqrt((0.09 - 0.03**2) / 1000)
    assert low == pytest.approx(apart + norm.ppf(0.025) * spread, abs=0.002)
    assert high == pytest.approx(apart + norm.ppf(0.975) * spread, abs=0.002)


def test_interval_is_wider_where_seeds_differ() -> None:
    rng, truth = np.random.default_rng(0), np.zeros(500, dtype=np.int64)
    steady = [(rng.random(500) < 0.1).astype(np.int64)] * 3
    lucky = [(rng.random(500) < share).astype(np.int64) for share in (0.02, 0.1, 0.3)]
    widths = []
    for answers in (steady, lucky):
        drawn = resampled("accuracy", texts(truth), {"student": answers}, classes=("0", "1"))
        low, high = interval_of(drawn["student"])
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_kept_is_no_number_where_the_teacher_knows_nothing() -> None:
    kept = kept_of(np.array([0.5, 0.2, 0.3]), np.array([0.4, 0.0, -0.1]))
    assert kept[0] == 1.25
    assert np.isnan(kept[1:]).all()
    assert interval_of(kept) == (1.25, 1.25)
    assert interval_of(kept[1:]) == (0.0, 0.0)
