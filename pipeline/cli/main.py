"""argv and nothing else: which command, which config, and the exit status.

0 done; 1 a fault of ours; 2 bad input, in one sentence; 75 stopped by SIGTERM or SIGHUP, or done but for what waits for
MLflow (EX_TEMPFAIL of sysexits.h: try again); 130 stopped with Ctrl-C. What runs something is imported by the command
that runs it, and a config needs none of the heavy libraries: so `--help` and a misspelt field are answered at once.
"""

import io
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from typing import Any

import tyro

from pipeline.cli.answers.versions import versions
from pipeline.cli.arguments import OWN, Assignments, config_of, named_recipe, split
from pipeline.cli.commands import COMMANDS, Command, Compare, Completion, Describe, Fill, Run, Runs, Sync, Tune, Ui
from pipeline.cli.quiet_libraries import quiet_libraries
from pipeline.config.nearest_name import unknown
from pipeline.config.redaction import redacted
from pipeline.config.schema import PipelineConfig
from pipeline.runtime.proxy import bypass_loopback
from pipeline.runtime.signals import Terminated
from pipeline.tracking.away.undelivered import MlflowAway
from stages.errors import InputError, Preempted, innermost, unwrap

INSTEAD = ("--help", "--version")
"""What may be given in the place of a command."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def main(argv: Sequence[str] | None = None) -> int:
    """The program `distil`; gives its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    verbose = "--verbose" in words
    quiet_libraries(verbose)
    bypass_loopback(os.environ)
    return status_of(lambda: _act(words or ["--help"]), verbose)


def status_of(action: Callable[[], None], verbose: bool) -> int:
    """Do it, and say on standard error what went wrong; gives the exit status."""
    try:
        action()
    except (Terminated, Preempted) as stop:
        place = f" from the checkpoint of step {stop.step}" if isinstance(stop, Preempted) else ""
        print(f"stopped by {stop.signal}; the same command continues{place}", file=sys.stderr)
        return 75
    except MlflowAway as away:
        _say(str(away))
        return 75
    except KeyboardInterrupt:
        print("stopped; the same command continues from what is done.", file=sys.stderr)
        return 130
    except SystemExit as stop:  # tyro's own: --help, or an argument that it cannot read
        return stop.code if isinstance(stop.code, int) else 0
    except Exception as error:
        return _failed(error, verbose)
    return 0


def _act(words: list[str]) -> None:
    """Do what argv says."""
    if words[0] == "--version":
        print(versions())
        return
    _check_known(words[0])
    words, fields = split(words)
    if words[0] in OWN and {"--help", "-h"} & set(words) and len(words) > 2 and not words[1].startswith("-"):
        _help(words[0], words[1])
        return
    command = parse(words)
    match command:
        case Run():
            _run(config_of(command, fields), command)
        case Tune():
            _tune(config_of(command, fields), command)
        case Describe():
            _describe(command, fields)
        case Runs():
            _runs(command)
        case Compare():
            _compare(command)
        case Fill():
            _fill(command.text, command.run)
        case Sync():
            _sync(command.run)
        case Ui():
            _ui(command.run, command.port)
        case Completion():
            _completion()


def _check_known(first: str) -> None:
    """Raise `InputError` where argv begins with neither a command nor what may stand in the place of one."""
    if first not in COMMANDS and not first.startswith("-"):
        raise unknown("command", first, COMMANDS, f"there are {', '.join(COMMANDS)}.")
    if first.startswith("-") and not first.startswith("--tyro-") and first not in (*INSTEAD, "-h", "--verbose"):
        raise unknown("option", first, INSTEAD, f"write a command first: {', '.join(COMMANDS)}.")


def parse(words: Sequence[str]) -> Any:
    """The command that words without fields mean; one of those in `Command`."""
    about = "A small language model from a big one. `distil --version` says which distil this is, with which libraries."
    read = partial(tyro.cli, Command, prog="distil", description=about)
    try:
        with redirect_stderr(io.StringIO()):
            return read(args=words)
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
    return read(args=[redacted(word) for word in words])  # fails alike, and repeats words in a frame of its own


def _help(command: str, recipe: str) -> None:
    """Every field with its default in this recipe and what it is for."""
    kind = tyro.conf.FlagConversionOff[tyro.conf.AvoidSubcommands[PipelineConfig]]
    about = f"Every field of the config. `distil {command} --help` shows the options of the command itself."
    tyro.cli(kind, default=named_recipe(recipe), prog=f"distil {command} {recipe}", args=["--help"], description=about)


def _run(config: PipelineConfig, command: Run) -> None:
    from pipeline.cli.console import Console
    from pipeline.run import run

    run(config, Console(verbose=command.verbose), refresh=command.refresh)


def _tune(config: PipelineConfig, command: Tune) -> None:
    from pipeline.cli.console import Console
    from pipeline.tune import tune

    tune(config, Console(verbose=command.verbose), refresh=command.refresh)


def _describe(command: Describe, fields: Assignments) -> None:
    if command.json:
        from pipeline.cli.answers.described import described
        from pipeline.cli.answers.formats import answer, as_json

        with redirect_stdout(sys.stderr):  # whatever a library has to say
            found = described(command, fields)
        answer(as_json(found))
        return
    config = config_of(command, fields)
    from pipeline.cli.console import Console
    from pipeline.run import describe

    describe(config, Console(verbose=command.verbose), refresh=command.refresh)


def _runs(command: Runs) -> None:
    from pipeline.cli.answers.formats import answer, as_json
    from pipeline.cli.answers.runs import as_text, runs_in

    found = runs_in(command.folders)
    answer(as_json(found) if command.json else as_text(found, command.folders))


def _compare(command: Compare) -> None:
    from pipeline.cli.answers.compare import as_text, compare
    from pipeline.cli.answers.formats import answer, as_json

    found = compare(command.one, command.other)
    answer(as_json(found) if command.json else as_text(found))


def _fill(text: str, run: str) -> None:
    from pipeline.records.which_run import find_workdir

    workdir = find_workdir(run)  # before the seconds that the next import takes
    from pipeline.cli.fill import fill

    fill(text, workdir)


def _sync(run: str) -> None:
    from pipeline.records.owed import deliver_owed
    from pipeline.records.which_run import find_workdir
    from pipeline.tracking.away.undelivered import kept

    workdir = find_workdir(run)
    if not kept(workdir):
        print(f"nothing of the runs in {workdir} waits for MLflow.")
        return
    deliver_owed(workdir, lambda text: print(redacted(text), flush=True))


def _ui(run: str | None, port: int) -> None:
    from pipeline.records.which_run import tracking_of
    from pipeline.tracking.store import ui

    ui(tracking_of(run), port, lambda text: print(redacted(text), flush=True))


def _completion() -> None:
    from pipeline.cli.answers.completion import script
    from pipeline.cli.answers.formats import answer

    answer(script())


def _failed(error: Exception, verbose: bool) -> int:
    cause = unwrap(error)
    inner = getattr(cause, "cause", None)  # Ray's own class for it is an InputError too, and prints a traceback
    if verbose:
        _say("".join(traceback.format_exception(error)))
    if isinstance(cause, InputError):
        _say(str(inner if isinstance(inner, InputError) else cause))
        return 2
    if not verbose:
        deepest = innermost(error)
        first = next(iter(str(deepest).strip().splitlines()), "(no message)")
        _say(f"{type(deepest).__name__}: {first} (the whole traceback is in {_kept(error)})")
    return 1


def _say(text: str) -> None:
    print(_plain(text), file=sys.stderr)


def _plain(text: str) -> str:
    """Without the colours that Ray writes into its tracebacks; and what a library raises may repeat an address that it
    was given, with all that is in it."""
    return redacted(_COLOUR.sub("", text))


def _kept(error: Exception) -> str:
    """A file with the whole traceback."""
    text = _plain("".join(traceback.format_exception(error)))
    with tempfile.NamedTemporaryFile("w", prefix="distil-", suffix=".log", delete=False, encoding="utf-8") as file:
        file.write(text)
    return file.name


if __name__ == "__main__":
    sys.exit(main())
