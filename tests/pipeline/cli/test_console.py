"""What is printed, on a terminal and in a log file."""

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console as Terminal

import pipeline.cli.console
from pipeline.cli.console import Console, score_table


def a_console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    shown = io.StringIO()
    return Console(Terminal(file=shown, force_terminal=terminal, width=120, highlight=False)), shown


def plain(shown: io.StringIO) -> str:
    """Without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.getvalue())


@pytest.mark.parametrize("terminal", [True, False])
def test_console_running_ends_in_one_line_with_seconds_and_reason(terminal: bool) -> None:
    console, shown = a_console(terminal=terminal)
    with console.running("distil", ("distil.layers '[a]' → 'b'",)) as on_progress:
        on_progress(1, 10, "steps")
    last = plain(shown).strip().splitlines()[-1]
    assert re.search(r"✓ distil +0\.\d s  \(distil\.layers '\[a\]' → 'b'\)$", last)


@pytest.mark.parametrize("terminal", [True, False])
def test_console_running_that_fails_says_so_and_lets_the_error_through(terminal: bool) -> None:
    console, shown = a_console(terminal=terminal)
    with pytest.raises(KeyError), console.running("tokens", ()):
        raise KeyError("x")
    assert "✗ tokens" in plain(shown)
    assert "✓" not in plain(shown)


def test_console_in_a_log_file_is_not_flooded() -> None:
    console, shown = a_console(terminal=False)
    with console.running("distil", ()) as on_progress:
        for done in range(1000):
            on_progress(done, 1000, "steps")
    assert len(shown.getvalue().splitlines()) == 2
    assert "\x1b" not in shown.getvalue()


def test_console_in_a_log_file_says_rate_and_time_left_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(pipeline.cli.console.time, "monotonic", lambda: now[0])
    console, shown = a_console(terminal=False)
    with console.running("distil", ()) as on_progress:
        for done in range(26):
            now[0] = float(done)
            on_progress(done, 100, "steps")
    lines = shown.getvalue().splitlines()
    assert len(lines) == 4  # running, at 10 s, at 20 s, done
    assert lines[1].split(maxsplit=2)[2] == "10%  10 of 100 steps  1 steps/s  1 min 30 s left"
    assert "20%" in lines[2]
    assert "1 min 20 s left" in lines[2]


def test_console_on_a_terminal_shows_a_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(pipeline.cli.console.time, "monotonic", lambda: now[0])
    console, shown = a_console(terminal=True)
    with console.running("distil", ()) as on_progress:
        on_progress(0, 100, "steps")
        now[0] = 3.0
        on_progress(30, 100, "steps")
    assert "30%" in plain(shown)
    assert "10 steps/s" in plain(shown)
    assert "7.0 s left" in plain(shown)


def test_console_with_an_unknown_total_shows_the_count() -> None:
    console, shown = a_console(terminal=True)
    with console.running("corpus", ()) as on_progress:
        on_progress(12345, 0, "documents")
    assert "12,345 documents" in plain(shown)


def test_console_planned_says_reuse_or_the_reasons() -> None:
    console, shown = a_console(terminal=False)
    console.planned(SimpleNamespace(stage="corpus", fingerprint="ab12", reused=True, why=(), made_with=""))  # type: ignore[arg-type]
    console.planned(SimpleNamespace(stage="distil", fingerprint="cd34", reused=False, why=("a [b]", "c")))  # type: ignore[arg-type]
    first, second = shown.getvalue().splitlines()
    assert first.split() == ["=", "corpus", "ab12", "would", "be", "reused"]
    assert second.endswith("cd34  would run: a [b]; c")


def test_score_table_has_the_three_models_and_what_was_kept() -> None:
    def score(top1: float, loss: float, parameters: int, latency: float) -> SimpleNamespace:
        return SimpleNamespace(
            top1=top1, mlm_loss=loss, perplexity=10.0, parameters=parameters, bytes=4 * parameters, latency_ms=latency
        )

    report = SimpleNamespace(
        objective="masked",
        teacher=score(0.45, 3.1, 5_400_000, 8.0),
        student_at_init=score(0.28, 4.4, 3_800_000, 4.0),
        student=score(0.41, 3.4, 3_800_000, 4.0),
        kept_top1=0.911,
        size_ratio=0.704,
        speedup=2.0,
        agreement=0.7,
        kl=0.5,
        cosine=0.93,
    )
    console, shown = a_console(terminal=False)
    console.terminal.print(score_table(report))  # type: ignore[arg-type]
    lines = [line.split("│")[1:6] for line in shown.getvalue().splitlines() if line.startswith("│")]
    rows = {name.strip(): [cell.strip() for cell in cells] for name, *cells in lines}
    assert rows["top-1 accuracy"] == ["0.450", "0.280", "0.410", "91.1%"]
    assert rows["parameters"] == ["5.4 M", "3.8 M", "3.8 M", "70.4%"]
    assert rows["encoder, one block"] == ["8.0 ms", "4.0 ms", "4.0 ms", "2.00 × faster"]
