"""Commands that take a config: a recipe or a file, and fields that change it."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from pipeline.cli.commands.options import A_RUN, ConfigFile, Flag, Json, Recipe, Refresh, Search, Verbose

_Text = Annotated[str | None, tyro.conf.arg(metavar="VALUE")]
_A_CLASSIFIER = "A folder, or a name on the hub, of a model that was fine-tuned for classes or a number."
_A_TASK = "A standard task such as sst2, or a file such as mine.csv:text=question,label=intent."
_TAUGHT = (
    "The student is fine-tuned once more, on what the fine-tuned teacher says beside the labels; weights and "
    "temperature are `evaluate.second_step`."
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Run the pipeline; what is recorded already is reused. `--help-all` shows every field.

    Fields are set by `--field.name value`, as in `distil run demo --distil.steps 100`; a list is one word with commas,
    several words, or JSON in quotes.
    """

    recipe: Recipe = None
    config: ConfigFile = None
    from_search: Search = None
    refresh: Refresh = False
    verbose: Verbose = False


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Search for the temperature and the loss weights. `--help-all` shows every field.

    Fields are set as for `distil run`; those of the search itself are `--tune.name value`.
    """

    recipe: Recipe = None
    config: ConfigFile = None
    trials: Annotated[str | None, tyro.conf.arg(metavar="N")] = None
    """How many settings are tried; short for `--tune.trials N`."""
    search: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD=RANGE")]] = ()
    """Search a further field of distil, as in `learning_rate=5e-4..4e-3:log`, `dropout=0..0.3` or, in quotes,
    'ce_positions=all|masked'. May be given more than once."""
    refresh: Refresh = False
    verbose: Verbose = False


@dataclass(frozen=True, kw_only=True)
class Ablate:
    """Say what each part of a recipe is worth: train it again without one thing at a time, on the same seeds and as
    many tokens (docs/ablation.md).

    The paper's (table 4): no-ce, no-cos, no-mlm, random. Ours: unfolded, random-head, layers-alternate, layers-first,
    layers-spread, ce-positions, packing, temperature-1, temperature-4. Fields are set as for `distil run`.
    """

    recipe: Recipe = None
    config: ConfigFile = None
    from_search: Search = None
    seeds: Annotated[str | None, tyro.conf.arg(metavar="N")] = None
    """How often each is trained, on as many seeds; 3, the first of them the recipe's own."""
    only: Annotated[str | None, tyro.conf.arg(metavar="NAME,NAME")] = None
    """These variants alone; otherwise all that apply to the teacher."""
    tokens: Annotated[str | None, tyro.conf.arg(metavar="N")] = None
    """That every student learns from, in whole steps; otherwise as many as the recipe's does."""
    refresh: Refresh = False
    verbose: Verbose = False


@dataclass(frozen=True, kw_only=True)
class Describe:
    """Say which stages would be reused, which would run, why, and what it would cost. Runs nothing. Takes what `distil
    run` takes."""

    recipe: Recipe = None
    config: ConfigFile = None
    from_search: Search = None
    refresh: Refresh = False
    json: Json = False
    verbose: Verbose = False


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Fine-tune a run's teacher and student on labelled tasks, and say what was kept; publishes and judges again.

    `distil evaluate RUN --tasks sst2 mine.csv:text=question,label=intent` (docs/tasks.md). What else the run made is
    reused. The fields of `evaluate` and of `evaluate.fine_tuning` may be given by their last names: --seeds 5,
    --train-examples 8000, --learning-rates 5e-5,1e-4, --baselines start; all others as for `distil run`.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help=A_RUN)] = "latest"
    second_step: Annotated[Flag, tyro.conf.arg(help=_TAUGHT)] = False
    refresh: Refresh = False
    verbose: Verbose = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """Make a model that was fine-tuned for a task smaller, with the task's labels at hand; publishes and registers it.

    `distil task MODEL sst2`, `distil task ./mine mine.csv:text=question,label=intent` (docs/tasks.md). The student has
    some of the model's blocks and its head, and learns from the labels and from what the model says. Several learning
    rates, epochs or seeds are tried, and the best on a part of train is kept. Further fields are given by their names,
    such as --fine-tuning.batch 16, --tracking.uri or --publish.license.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL", help=_A_CLASSIFIER)]
    task: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK", help=_A_TASK)]
    layers: _Text = None
    """The model's blocks that the student keeps: alternate (the default), released, how many, or which: 0,2,5."""
    name: _Text = None
    """What it is registered as; the model's name and the task's by default."""
    workdir: _Text = None
    """For the report, the models and the records; runs/NAME by default."""
    epochs: _Text = None
    """Passes over train; several with commas are tried (3)."""
    learning_rate: _Text = None
    """Its peak; several with commas are tried (2e-5,5e-5,1e-4)."""
    seeds: _Text = None
    """Students that are fine-tuned in the best setting (3)."""
    alpha: _Text = None
    """Weight of what the model says, the labels having the rest (0.5)."""
    temperature: _Text = None
    """Of the softened cross-entropy between the two (2)."""
    train_examples: _Text = None
    """At most, drawn by the seed; all by default."""
    refresh: Refresh = False
    verbose: Verbose = False


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Say what would go wrong in a run on a cluster, or on this machine, before one is started.

    Asks every machine for versions, GPUs, memory, clock, and how fast it gets at the storage and at the next machine;
    and MLflow whether it answers. `--storage`, `--tracking.uri` and other fields are given as for `distil run`. With a
    recipe or a file also what that very run would be refused for. Status 2 where a run would fail.
    """

    recipe: Recipe = None
    config: ConfigFile = None
    address: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    """The cluster's head; RAY_ADDRESS where none is given, as in a job, and without either this machine alone."""
    json: Json = False
    verbose: Verbose = False
