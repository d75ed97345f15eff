"""argv and nothing else: which command, which config, and the exit status.

0 done; 1 a fault of ours; 2 bad input, in one sentence; 130 stopped with Ctrl-C. The heavy libraries are imported by
the command that needs them, so that `distil --help` answers at once.
"""

import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pipeline.names import unknown
from pipeline.quiet import quiet_libraries
from stages.errors import InputError, unwrap

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig

Assignments = tuple[tuple[str, str], ...]
_Recipe = Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
_File = Annotated[str | None, tyro.conf.arg(metavar="FILE")]
_Search = Annotated[str | None, tyro.conf.arg(metavar="RUN")]
_Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Run the pipeline; what is recorded already is reused. `distil run RECIPE --help` shows every field.

    Fields are set by `--field.name value`, as in `distil run demo --distil.steps 100`.
    """

    recipe: _Recipe = None
    """Such as demo."""
    config: _File = None
    """Instead of a recipe: a resolved config, as every run leaves one in its workdir."""
    from_search: _Search = None
    """Take the setting that a finished `distil tune` confirmed: its MLflow run id, a workdir, or `latest`. Fields that
    are given win."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Search for the temperature and the loss weights. `distil tune RECIPE --help` shows every field.

    Fields are set as for `distil run`; those of the search itself are `--tune.name value`.
    """

    recipe: _Recipe = None
    """Such as demo."""
    config: _File = None
    """Instead of a recipe: a resolved config, as every run leaves one in its workdir."""
    trials: Annotated[str | None, tyro.conf.arg(metavar="N")] = None
    """How many settings are tried; short for `--tune.trials N`."""
    search: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD=RANGE")]] = ()
    """Search a further field of distil, as in `learning_rate=5e-4..4e-3:log`, `dropout=0..0.3` or, in quotes,
    'ce_positions=all|masked'. May be given more than once."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Describe:
    """Say which stages would be reused, which would run, and why. Runs nothing. Takes what `distil run` takes."""

    recipe: _Recipe = None
    """Such as demo."""
    config: _File = None
    """Instead of a recipe: a resolved config, as every run leaves one in its workdir."""
    from_search: _Search = None
    """Take the setting that a finished `distil tune` confirmed: its MLflow run id, a workdir, or `latest`. Fields that
    are given win."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Fill:
    """Fill a mask with teacher and student side by side, the top five of each."""

    text: tyro.conf.Positional[str]
    """Such as "The [MASK] of a tensor."."""
    run: str = "latest"
    """An MLflow run id, a workdir, or `latest`."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Ui:
    """Open MLflow on the store that holds the runs; prints the address."""

    run: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """The run whose store it is: an MLflow run id, a workdir, or `latest`; `latest` where there is one."""
    port: int = 5000
    """Where it listens on this machine."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


Command = (
    Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Tune, tyro.conf.subcommand("tune")]
    | Annotated[Describe, tyro.conf.subcommand("describe")]
    | Annotated[Fill, tyro.conf.subcommand("fill")]
    | Annotated[Ui, tyro.conf.subcommand("ui")]
)
_COMMANDS = ("run", "tune", "describe", "fill", "ui")
_FLAGS = ("verbose", "help")
_OWN = {
    "run": ("config", "from-search"),
    "tune": ("config", "trials", "search"),
    "describe": ("config", "from-search"),
}
"""The commands that take a config, with their own options that have a value. What is neither one of these nor a flag is
a field of the config."""


def main(argv: Sequence[str] | None = None) -> int:
    """The program `distil`; gives its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    verbose = "--verbose" in words
    quiet_libraries(verbose)
    return status_of(lambda: _act(words or ["--help"]), verbose)


def status_of(action: Callable[[], None], verbose: bool) -> int:
    """Do it, and say on standard error what went wrong; gives the exit status."""
    try:
        action()
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
    if words[0] not in _COMMANDS and not words[0].startswith("-"):
        raise unknown("command", words[0], _COMMANDS, f"there are {', '.join(_COMMANDS)}.")
    words, fields = split(words)
    if words[0] in _OWN and {"--help", "-h"} & set(words) and len(words) > 2 and not words[1].startswith("-"):
        _help(words[0], words[1])
        return
    command = parse(words)
    match command:
        case Run():
            _run(config_of(command, fields), command.verbose)
        case Tune():
            _tune(config_of(command, fields), command.verbose)
        case Describe():
            _describe(config_of(command, fields), command.verbose)
        case Fill():
            _fill(command.text, command.run)
        case Ui():
            _ui(command.run, command.port)


def split(words: Sequence[str]) -> tuple[list[str], Assignments]:
    """(words without the fields of a config, those fields with their texts); raises `InputError`.

    Once the recipe is known a field takes all words up to the next option, so that a shell may expand a glob.
    """
    if words[0] not in _OWN:
        return list(words), ()
    own, fields, queue, known = [words[0]], [], list(words[1:]), False
    while queue:
        word = queue.pop(0)
        name, given, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name in _FLAGS:
            own.append(word)
            known = known or not word.startswith("-")
            continue
        is_own = name.replace("_", "-") in _OWN[words[0]]
        takes_many = known and not is_own
        values = [text] if given else []
        while not given and queue and not queue[0].startswith("--") and (takes_many or not values):
            values.append(queue.pop(0))
        if not values:
            raise InputError(f"--{name} has no value: write --{name} VALUE.")
        if is_own:
            own += [word] if given else [word, *values]
            known = known or name == "config"
        else:
            fields.append((name, ",".join(values)))
    return own, tuple(fields)


def parse(words: Sequence[str]) -> Any:
    """The command that words without fields mean; one of those in `Command`."""
    return tyro.cli(Command, prog="distil", args=words, description="A small BERT from a big one.")


def config_of(command: Run | Tune | Describe, fields: Assignments) -> "PipelineConfig":
    """The config of the command's recipe or file, with all set that the command line sets."""
    if (command.recipe is None) == (command.config is None):
        raise InputError("give a recipe, such as `distil run demo`, or --config FILE: one of the two.")
    text = None if command.config is None else _read(command.config)  # before the seconds that the imports take
    from pipeline.config import from_yaml, override

    config = _recipe(command.recipe or "") if text is None else from_yaml(text, command.config or "")
    if isinstance(command, Tune):
        return _searching(config, command, fields)
    if command.from_search is None:
        return override(config, fields)
    from pipeline.tuning.places import adopt, find_search, told

    search = find_search(command.from_search)
    config = override(adopt(config, search), fields)
    print(told(search))
    return config


def _searching(config: "PipelineConfig", command: Tune, fields: Assignments) -> "PipelineConfig":
    """`config` with the fields, the trials and the further dimensions, each in the place of one of the same field."""
    from pipeline.config import override
    from pipeline.tuning.config import dimension

    names = {name.replace("-", "_") for name, _ in fields}
    if "from_search" in names:
        raise InputError("--from-search is for `distil run`: a search starts from the paper's setting.")
    if command.search and any(name.startswith("tune.also") for name in names):
        raise InputError("--search and --tune.also are both given: leave one of them out.")
    further = tuple(dimension(text) for text in command.search)
    kept = tuple(one for one in config.tune.also if one.field not in {other.field for other in further})
    config = replace(config, tune=replace(config.tune, also=(*kept, *further)))
    return override(config, fields if command.trials is None else (*fields, ("tune.trials", command.trials)))


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"--config {file} cannot be read ({reason}): give the config.yaml of a workdir.") from error


def _recipe(name: str) -> "PipelineConfig":
    from pipeline import recipes

    if name.replace("_", "-") not in recipes.NAMES:
        raise unknown("recipe", name, recipes.NAMES, f"there are {', '.join(recipes.NAMES)}.")
    return recipes.recipe(name.replace("_", "-"))


def _help(command: str, recipe: str) -> None:
    """Every field with its default in this recipe and what it is for."""
    from pipeline.config import PipelineConfig

    kind = tyro.conf.FlagConversionOff[tyro.conf.AvoidSubcommands[PipelineConfig]]
    about = f"Every field of the config. `distil {command} --help` shows the options of the command itself."
    tyro.cli(kind, default=_recipe(recipe), prog=f"distil {command} {recipe}", args=["--help"], description=about)


def _run(config: "PipelineConfig", verbose: bool) -> None:
    from pipeline.console import Console
    from pipeline.run import run

    run(config, Console(verbose=verbose))


def _tune(config: "PipelineConfig", verbose: bool) -> None:
    from pipeline.console import Console
    from pipeline.tune import tune

    tune(config, Console(verbose=verbose))


def _describe(config: "PipelineConfig", verbose: bool) -> None:
    from pipeline.console import Console
    from pipeline.run import describe

    describe(config, Console(verbose=verbose))


def _fill(text: str, run: str) -> None:
    from pipeline.workdir import find_workdir

    workdir = find_workdir(run)
    from pipeline.fill import fill

    fill(text, workdir)


def _ui(run: str | None, port: int) -> None:
    from pipeline.tracking import ui
    from pipeline.workdir import tracking_of

    ui(tracking_of(run), port)


def _failed(error: Exception, verbose: bool) -> int:
    cause = unwrap(error)
    inner = getattr(cause, "cause", None)  # Ray's own class for it is an InputError too, and prints a traceback
    if verbose:
        traceback.print_exception(error)
    if isinstance(cause, InputError):
        print(inner if isinstance(inner, InputError) else cause, file=sys.stderr)
        return 2
    if not verbose:
        first = next(iter(str(error).strip().splitlines()), "(no message)")
        print(f"{type(error).__name__}: {first} (the whole traceback is in {_kept(error)})", file=sys.stderr)
    return 1


def _kept(error: Exception) -> str:
    """A file with the whole traceback."""
    text = "".join(traceback.format_exception(error))
    with tempfile.NamedTemporaryFile("w", prefix="distil-", suffix=".log", delete=False, encoding="utf-8") as file:
        file.write(text)
    return file.name


if __name__ == "__main__":
    sys.exit(main())
