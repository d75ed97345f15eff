"""`distil completion`, as bash reads it."""

import re
import subprocess

import pytest

from pipeline.cli.answers.completion import script
from pipeline.cli.commands.table import COMMANDS, CONFIGURED
from pipeline.cli.main import main
from pipeline.recipes import NAMES

ASK = """
set -u
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _distil
printf '%s\\n' "${COMPREPLY[@]:-}"
"""


def completed(*words: str) -> list[str]:
    """What Tab offers at the end of these words."""
    command = ["bash", "-c", script() + ASK, "bash", "distil", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_completion_of_nothing_is_every_command() -> None:
    assert completed("") == [*COMMANDS, "--help", "--version"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("des", ["describe"]),
        ("run dem", ["demo", "demo-teacher"]),
        ("run demo --distil.temp", ["--distil.temperature"]),
        ("tune demo --tune.tr", ["--tune.trials"]),
        ("run demo-teacher --pretrain.vocabulary.s", ["--pretrain.vocabulary.size"]),
        ("run --from-search l", ["latest"]),
        ("tune demo --from", []),
        ("describe --js", ["--json"]),
        ("run demo --js", []),
        ("compare l", ["latest"]),
        ("fill --run l", ["latest"]),
        ("run --config m", []),  # a file: the shell's own
        ("zzz --", ["--help"]),
    ],
)
def test_completion_offers_what_begins_so_where_it_may_stand(words: str, offered: list[str]) -> None:
    assert completed(*words.split()) == offered


@pytest.mark.parametrize("command", ["run", "tune", "describe"])
def test_completion_behind_a_command_that_takes_a_recipe_is_all_of_them(command: str) -> None:
    assert completed(command, "") == list(NAMES)


@pytest.mark.parametrize("command", COMMANDS)
def test_completion_knows_the_options_of_the_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = re.findall(
        r"^\W+(?:-h, )?(--[a-z][a-z-]+)", capsys.readouterr().out.partition("\nrecipes:")[0], re.MULTILINE
    )
    offered = completed(command, "--")
    assert {"--help", "--verbose"} <= set(shown) <= set(offered)
    fields = [option for option in offered if option not in (*shown, "--help-all")]
    assert bool(fields) == (command in CONFIGURED)


def test_completion_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == 0
    assert capsys.readouterr().out == script() + "\n"
