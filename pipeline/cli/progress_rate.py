"""How fast something goes and when it will be done, from nothing but (time, done) pairs."""

from collections import deque

_WINDOW_SECONDS = 30.0
"""Old enough to be smooth, young enough to follow a machine that others share."""


class ProgressRate:
    """Keeps the last half minute. What was done before the first call (a run that continues) counts for no speed."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def update(self, now: float, done: float) -> None:
        """`done` units at `now` seconds; less than before starts anew, as a new count does."""
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """Units a second; None until there are two calls to tell it from."""
        if len(self._seen) < 2:
            return None
        (start, before), (now, done) = self._seen[0], self._seen[-1]
        return (done - before) / (now - start) if now > start else None

    def seconds_left(self, total: float) -> float | None:
        """Until `total`; None while the rate is unknown or zero."""
        rate = self.per_second
        return max(0.0, total - self._seen[-1][1]) / rate if rate else None


def duration(seconds: float) -> str:
    """`3.2 s`, `2 min 05 s`, `3 h 20 min`: two figures that matter."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest:02d} min"


def amount(number: float) -> str:
    """`512`, `12,345`, `6.8 M`, `3.1 G`; small ones with two figures."""
    for size, letter in ((1e9, " G"), (1e6, " M")):
        if abs(number) >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:,.0f}" if abs(number) >= 10 or number == int(number) else f"{number:.1f}"
