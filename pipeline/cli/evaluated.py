"""`distil evaluate`: a run that there was, as a config that has it fine-tuned on tasks too."""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

from pipeline.cli.arguments import Assignments
from pipeline.cli.commands.configured import Evaluate
from pipeline.config.schema import PipelineConfig, from_yaml, override
from pipeline.records.which_run import find_workdir
from pipeline.records.workdir import read_run
from stages.errors import InputError
from stages.evaluation.config import EvaluateConfig
from stages.tasks.config import FineTuningConfig

WEIGHT = "0.5"
"""Of what the teacher says, where a second step is asked for and nobody says how much."""


def config_to_evaluate(command: Evaluate, given: Assignments) -> PipelineConfig:
    """The run's own config with the tasks and the fields given; raises `InputError` where there are no tasks, or where
    the workdir does not say how it was made."""
    workdir = find_workdir(command.run)
    config = _config_in(workdir)
    before = config.evaluate.tasks
    named = dict(_by_whole_names(given))
    if command.second_step:
        named = {"evaluate.second_step.alpha": WEIGHT} | named
    config = override(config, tuple(named.items()))
    tasks = tuple(dict.fromkeys((*before, *config.evaluate.tasks)))
    if not tasks:
        raise InputError("there is no task to evaluate on: give some, as in --tasks sst2 mine.csv:label=intent.")
    config = replace(config, evaluate=replace(config.evaluate, tasks=tasks))
    if Path(config.workdir).expanduser().resolve() != workdir:  # it was moved, or is called from another folder
        config = replace(config, workdir=str(workdir))
    return replace(config, until="publish" if config.until == "publish" else "evaluate")


def _config_in(workdir: Path) -> PipelineConfig:
    found = read_run(workdir)
    file = workdir / (found.config if found is not None else "config.yaml")
    try:
        return from_yaml(file.read_text(encoding="utf-8"), str(file), print)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): give the RUN of another workdir.") from error


def _by_whole_names(given: Assignments) -> Iterator[tuple[str, str]]:
    """`seeds` is `evaluate.fine_tuning.seeds`, `tasks` is `evaluate.tasks`; what has a dot is a whole name already."""
    own, rules = ({field.name for field in fields(kind)} for kind in (EvaluateConfig, FineTuningConfig))
    for name, text in given:
        plain = name.replace("-", "_")
        inside = "evaluate." if plain in own else "evaluate.fine_tuning." if plain in rules else ""
        yield inside + plain, text
