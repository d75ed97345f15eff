"""argv and nothing else: which command, which config, and the exit status.

0 done; 1 a fault of ours; 2 bad input, in one sentence; 75 stopped by SIGTERM or SIGHUP, or done but for what waits for
MLflow (EX_TEMPFAIL of sysexits.h: try again); 130 stopped with Ctrl-C. What runs something is imported by the command
that runs it, and a config needs none of the heavy libraries: so `--help` and a misspelt field are answered at once.
"""

import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence

from pipeline.cli.acts import act
from pipeline.cli.answers.versions import versions
from pipeline.cli.arguments import parse, split
from pipeline.cli.commands.table import COMMANDS
from pipeline.cli.help import is_asked, show
from pipeline.cli.quiet_libraries import quiet_libraries
from pipeline.config.nearest_name import unknown
from pipeline.config.redaction import redacted
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
    if is_asked(words):
        show(words)
        return
    act(parse(words), fields)


def _check_known(first: str) -> None:
    """Raise `InputError` where argv begins with neither a command nor what may stand in the place of one."""
    if first not in COMMANDS and not first.startswith("-"):
        raise unknown("command", first, tuple(COMMANDS), f"there are {', '.join(COMMANDS)}.")
    if first.startswith("-") and not first.startswith("--tyro-") and first not in (*INSTEAD, "-h", "--verbose"):
        raise unknown("option", first, INSTEAD, f"write a command first: {', '.join(COMMANDS)}.")


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
