"""Speed and time left."""

import pytest

from pipeline.cli.progress_rate import ProgressRate, amount, duration


def test_pace_of_a_steady_count_gives_rate_and_time_left() -> None:
    progress_rate = ProgressRate()
    for second in range(10):
        progress_rate.update(second, 4.0 * second)
    assert progress_rate.per_second == pytest.approx(4.0)
    assert progress_rate.seconds_left(100) == pytest.approx((100 - 36) / 4)


def test_pace_of_one_call_is_unknown() -> None:
    progress_rate = ProgressRate()
    progress_rate.update(0, 50)
    assert progress_rate.per_second is None
    assert progress_rate.seconds_left(100) is None


def test_pace_of_a_run_that_continues_does_not_count_what_was_done_before() -> None:
    progress_rate = ProgressRate()
    progress_rate.update(100, 5000)
    progress_rate.update(102, 5010)
    assert progress_rate.per_second == pytest.approx(5.0)


def test_pace_follows_the_last_half_minute() -> None:
    progress_rate = ProgressRate()
    for second in range(100):
        progress_rate.update(second, 10 * min(second, 50) + max(0, second - 50))
    assert progress_rate.per_second == pytest.approx(1.0)


def test_pace_of_a_count_that_starts_anew_is_not_negative() -> None:
    progress_rate = ProgressRate()
    for now, done in ((0, 0), (1, 10), (2, 0), (3, 2)):
        progress_rate.update(now, done)
    assert progress_rate.per_second == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (12000, "3 h 20 min"),
    ],
)
def test_duration_is_two_figures(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (3, "3"), (4.27, "4.3"), (12345.6, "12,346"), (6_800_000, "6.8 M"), (3.1e9, "3.1 G")],
)
def test_amount_is_readable(number: float, text: str) -> None:
    assert amount(number) == text
