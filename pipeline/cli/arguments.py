"""From words to a command and its config: which are fields, and the recipe or file that these change."""

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from pipeline import recipes
from pipeline.cli.commands.configured import Ablate, Describe, Doctor, Run, Tune
from pipeline.cli.commands.table import COMMANDS, FIELDED, Command, options
from pipeline.config.nearest_name import unknown
from pipeline.config.redaction import redacted
from pipeline.config.schema import PipelineConfig, from_yaml, override
from pipeline.tuning.config import dimension
from stages.errors import InputError

Assignments = tuple[tuple[str, str], ...]
"""Fields of a config by their dotted names, with their texts."""


def split(words: Sequence[str]) -> tuple[list[str], Assignments]:
    """(words without the fields of a config, those fields with their texts); raises `InputError`.

    Once the recipe is known a field takes all words up to the next option, so that a shell may expand a glob: then a
    comma is a part of its word.
    """
    if words[0] not in FIELDED:
        return list(words), ()
    of_command = {**options(COMMANDS[words[0]]), "help": False, "help-all": False}
    own, fields, queue, known = [words[0]], [], list(words[1:]), False
    while queue:
        word = queue.pop(0)
        name, given, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or of_command.get(name) is False:
            own.append(word)
            known = known or not word.startswith("-")
            continue
        is_own = name.replace("_", "-") in of_command
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
            many = len(values) > 1
            fields.append((name, ",".join(word.replace(",", r"\,") if many else word for word in values)))
    return own, tuple(fields)


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


def config_of(
    command: Run | Tune | Ablate | Describe | Doctor, fields: Assignments, say: Callable[[str], None] = print
) -> PipelineConfig:
    """The config of the command's recipe or file, with all set that the command line sets; `say` is told what was
    taken that nobody gave."""
    if (command.recipe is None) == (command.config is None):
        raise InputError("give a recipe, such as `distil run demo`, or --config FILE: one of the two.")
    if command.config is None:
        config = named_recipe(command.recipe or "")
    else:
        config = from_yaml(_read(command.config), command.config, say)
    if isinstance(command, Tune):
        return _searching(config, command, fields)
    if isinstance(command, Doctor) or command.from_search is None:
        return override(config, fields)
    from pipeline.tuning.tracking.which_search import adopt, find_search, told

    search = find_search(command.from_search, tracking=override(config, fields).tracking)
    config = override(adopt(config, search), fields)
    say(told(search))
    return config


def named_recipe(name: str) -> PipelineConfig:
    """The recipe called `name`; raises `InputError` where there is none."""
    if name.replace("_", "-") not in recipes.NAMES:
        raise unknown("recipe", name, recipes.NAMES, f"there are {', '.join(recipes.NAMES)}.")
    return recipes.recipe(name.replace("_", "-"))


def _searching(config: PipelineConfig, command: Tune, fields: Assignments) -> PipelineConfig:
    """`config` with the fields, the trials and the further dimensions, each in the place of one of the same field."""
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
