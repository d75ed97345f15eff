"""What `--help` and `--help-all` say of the commands that take a config: their options, recipes and fields."""

import ast
import inspect
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from functools import cache
from itertools import pairwise
from typing import Any, get_type_hints

import tyro

from pipeline import recipes
from pipeline.cli.arguments import named_recipe, parse
from pipeline.cli.commands.table import COMMANDS, CONFIGURED, options
from pipeline.config.annotations import dataclass_in
from pipeline.config.overrides import Scalar, flat
from pipeline.config.schema import PipelineConfig

ASKED = ("--help", "-h", "--help-all")
PEOPLE_SET = {
    "the run": ("workdir", "storage", "seed", "until"),
    "corpus": ("corpus.source", "corpus.paths", "corpus.language", "corpus.heldout_fraction"),
    "tokens": ("tokens.block_length", "tokens.packing", "tokens.mask_unit"),
    "teacher": ("teacher.model", "teacher.adapt_steps"),
    "distil, the student": ("distil.layers", "distil.student", "distil.steps", "distil.epochs"),
    "distil, the loss": (
        "distil.temperature",
        "distil.alpha_ce",
        "distil.alpha_mlm",
        "distil.alpha_cos",
        "distil.mask_rate",
    ),
    "distil, the training": (
        "distil.learning_rate",
        "distil.global_batch",
        "distil.micro_batch",
        "distil.dropout",
        "distil.workers",
        "distil.gpu",
        "distil.precision",
    ),
    "tune, for `distil tune`": ("tune.trials", "tune.temperature", "tune.spend", "tune.confirm_seeds"),
    "evaluate, publish": ("evaluate.blocks", "evaluate.tasks", "evaluate.baselines", "publish.name", "publish.gate"),
    "tracking, in MLflow": ("tracking.uri", "tracking.experiment"),
}
"""By stage; `--help-all` shows the rest too."""
_NAME, _INDENT = 28, 2


def is_asked(words: Sequence[str]) -> bool:
    """Whether these words ask for help on a command that takes a config."""
    return words[0] in CONFIGURED and bool(set(ASKED) & set(words))


def show(words: Sequence[str]) -> None:
    """Print the help that is asked for; raises `InputError` for a recipe that is none."""
    command, recipe, everything = words[0], _recipe_in(words), "--help-all" in words
    if everything:
        _show_all(command, recipe or "demo")
        return
    if recipe is None:
        try:
            parse([command, "--help"])
        except SystemExit:  # having printed the options
            print(_recipes())
    config = named_recipe(recipe or "demo")
    print(f"\nfields that people set, with what they are in {config.name}:")
    print("\n".join(_fields(config)))
    rest = len(flat(config)) - sum(map(len, PEOPLE_SET.values()))
    print(f"\n`distil {command} {config.name} --help-all` shows {rest} more.", end="")
    print(f" `distil {command} --help` shows options and recipes." if recipe else "")


def _recipe_in(words: Sequence[str]) -> str | None:
    """The word that is neither an option nor the value of one."""
    takes_value = options(COMMANDS[words[0]])
    queue = list(words[1:])
    while queue:
        word = queue.pop(0)
        if not word.startswith("-"):
            return word
        if takes_value.get(word.removeprefix("--")) and queue:
            queue.pop(0)
    return None


def _show_all(command: str, recipe: str) -> None:
    """Every field with its default in this recipe and what it is for."""
    kind = tyro.conf.FlagConversionOff[tyro.conf.AvoidSubcommands[PipelineConfig]]
    about = f"Every field of the config. `distil {command} --help` shows the options of the command itself."
    tyro.cli(kind, default=named_recipe(recipe), prog=f"distil {command} {recipe}", args=["--help"], description=about)


def _recipes() -> str:
    """Each with the sentence of its docstring."""
    lines = [_entry(name, inspect.getdoc(recipes.function(name)) or "") for name in recipes.NAMES]
    return "\n".join(["recipes:", *lines])


def _fields(config: PipelineConfig) -> Iterator[str]:
    values = flat(config)
    for title, names in PEOPLE_SET.items():
        yield f"\n  {title}"
        for name in names:
            yield _entry(f"--{name.replace('_', '-')}", f"{_said_of(name)} ({_shown(values[name])})".strip())


def _entry(name: str, text: str) -> str:
    """A name and, in a column beside it, what it is."""
    width = min(shutil.get_terminal_size().columns, 120)
    column = " " * (2 * _INDENT + _NAME)
    lines = textwrap.wrap(text, max(width - len(column), 30))
    first = f"{' ' * 2 * _INDENT}{name:<{_NAME}}"
    if len(name) >= _NAME:
        return "\n".join([first, *(column + line for line in lines)])
    return "\n".join([(first + (lines[0] if lines else "")).rstrip(), *(column + line for line in lines[1:])])


def _shown(value: Scalar) -> str:
    if value is None or value == "":
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _said_of(name: str) -> str:
    """The first sentence about a field, from below it in its dataclass."""
    kind: Any = PipelineConfig
    *groups, last = name.split(".")
    for group in groups:
        kind = dataclass_in(get_type_hints(kind)[group])
    text = next((said[last] for said in map(_docstrings, inspect.getmro(kind)) if last in said), "")
    return text.partition(". ")[0].partition("; ")[0].rstrip(".")


@cache
def _docstrings(kind: type) -> dict[str, str]:
    """What stands below the fields of a dataclass, each in one line; Python itself does not keep it."""
    if not is_dataclass(kind):
        return {}
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(found, ast.ClassDef), "the source of a class"
    said: dict[str, str] = {}
    for node, below in pairwise(found.body):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            said[node.target.id] = " ".join(str(below.value.value).split())
    return said
