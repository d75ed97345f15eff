"""`distil --version`."""

import platform
import re
from importlib.metadata import version

import pytest

from pipeline.cli.main import main


def test_version_names_ours_python_and_the_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"distil {version('distilray')}(, commit [0-9a-f]{{12}}( and changed files)?)?", first)
    libraries = [f"{name} {version(name)}" for name in ("torch", "transformers", "ray", "mlflow")]
    assert second == ", ".join([f"Python {platform.python_version()}", *libraries])


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("--verison", "there is no option --verison; did you mean --version?"),
        ("-x", "there is no option -x; write a command first: run, tune,"),
        ("tnue", "there is no command tnue; did you mean tune?"),
        ("descrbe", "there is no command descrbe; did you mean describe?"),
    ],
)
def test_word_that_is_no_command_is_told_the_nearest(
    word: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 2
    assert capsys.readouterr().err.startswith(sentence)
