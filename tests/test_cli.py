"""argv in; exit status and sentences out."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.exceptions import RayTaskError

from pipeline.cli import main, split, status_of
from pipeline.config import to_yaml
from pipeline.recipes import NAMES, recipe
from stages.errors import ConfigError, InputError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory; environment and loggers as they were."""
    monkeypatch.chdir(tmp_path)
    environment = dict(os.environ)
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data", "ray.train", "ray.tune", "mlflow", "alembic")]
    loggers += [logging.getLogger(name) for name in ("transformers", "datasets", "torch")]
    levels = [logger.level for logger in loggers]
    yield
    os.environ.clear()
    os.environ.update(environment)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_help_answers_at_once_and_imports_nothing_heavy() -> None:
    program = (
        "import sys; from pipeline.cli import main; main(['--help']); "
        "print([name for name in ('torch', 'ray', 'mlflow', 'transformers') if name in sys.modules])"
    )
    started = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert time.monotonic() - started < 3  # 0.2 s on a quiet machine
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(command in done.stdout for command in ("run", "describe", "fill", "ui"))


def test_help_of_a_recipe_shows_every_field_with_default_and_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "demo", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--distil.temperature FLOAT" in shown
    assert "T of the softened" in shown or "(default: 2.0)" in shown
    assert "--tokens.block-length INT" in shown


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("rnu demo", "there is no command rnu; did you mean run?"),
        ("run demoo", "there is no recipe demoo; did you mean demo?"),
        ("describe zzz", f"there is no recipe zzz; there are {', '.join(NAMES)}."),
        ("run demo --distil.temprature 3", "there is no field distil.temprature; did you mean distil.temperature?"),
        ("describe demo --distil.temperature 0", "distil.temperature is 0.0 but must be"),
        ("run demo --distil.temperature=warm", "distil.temperature is 'warm' but must be a number."),
        ("run demo --distil.global-batch 1.5", "distil.global_batch is '1.5' but must be a whole number."),
        ("run demo --distil.temperature", "--distil.temperature has no value"),
        ("run", "give a recipe"),
        ("run demo --config x.yaml", "give a recipe"),
        ("run --config x.yaml", "--config x.yaml cannot be read (No such file or directory)"),
        ("fill text", "there is no run below"),
        ("fill text --run nowhere", "there is no run nowhere"),
        ("ui --run nowhere", "there is no run nowhere"),
    ],
)
def test_bad_input_is_status_2_and_one_sentence(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(sentence)
    assert shown.err.count("\n") == 1


def test_config_file_that_is_wrong_is_status_2_and_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(to_yaml(recipe("demo")).replace("seed:", "sead:"), encoding="utf-8")
    assert main(["describe", "--config", "mine.yaml"]) == 2
    assert capsys.readouterr().err == "mine.yaml: there is no field sead; did you mean seed?\n"


def test_input_error_from_a_ray_task_is_its_own_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        cause = ConfigError("distil.steps", 0, "must be above 0")
        raise RayTaskError("train", "a long traceback", cause).as_instanceof_cause()

    assert status_of(fail, verbose=False) == 2
    assert capsys.readouterr().err == "distil.steps is 0 but must be above 0.\n"


def test_ctrl_c_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    assert status_of(stop, verbose=False) == 130
    assert "continues" in capsys.readouterr().err


def test_fault_is_status_1_with_one_line_and_the_traceback_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ZeroDivisionError("first line\nsecond line")

    assert status_of(fail, verbose=False) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("ZeroDivisionError: first line (the whole traceback is in ")
    assert shown.count("\n") == 1
    file = Path(shown.rsplit(" ", 1)[1].strip().rstrip(")"))
    assert 'raise ZeroDivisionError("first line' in file.read_text(encoding="utf-8")
    file.unlink()


def test_fault_with_verbose_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ZeroDivisionError("oh")

    assert status_of(fail, verbose=True) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "own", "fields"),
    [
        ("run demo --a.b 1", "run demo", [("a.b", "1")]),
        ("run demo --a.b=1 --verbose", "run demo --verbose", [("a.b", "1")]),
        ("run --a.b 1 demo", "run demo", [("a.b", "1")]),
        ("run --verbose --a -1 demo --c=", "run --verbose demo", [("a", "-1"), ("c", "")]),
        ("run demo --a x.txt y.txt --b 2", "run demo", [("a", "x.txt,y.txt"), ("b", "2")]),
        ("describe --config c.yaml --a 1", "describe --config c.yaml", [("a", "1")]),
        ("describe --config=c.yaml --a 1", "describe --config=c.yaml", [("a", "1")]),
        ("run demo --a x=y", "run demo", [("a", "x=y")]),
    ],
)
def test_split_tells_fields_from_the_command_s_own_words(words: str, own: str, fields: list[tuple[str, str]]) -> None:
    assert split(words.split()) == (own.split(), tuple(fields))


def test_split_of_a_field_without_a_value_is_bad_input() -> None:
    with pytest.raises(InputError, match="--a has no value"):
        split(["run", "demo", "--a", "--b", "1"])
