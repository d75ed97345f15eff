"""What `distil task` asks for, as a config."""

import re
from dataclasses import fields, replace
from pathlib import Path

from pipeline.classifier.config import TaskConfig
from pipeline.cli.arguments import Assignments
from pipeline.cli.commands.configured import Task
from pipeline.config.overrides import override
from pipeline.records.which_run import RUNS
from stages.classifier.config import ShrinkConfig, SourceConfig
from stages.errors import ConfigError
from stages.publish.config import PublishConfig
from stages.tasks.config import FineTuningConfig

_OWN = {
    "layers": "shrink.layers",
    "alpha": "shrink.alpha",
    "temperature": "shrink.temperature",
    "epochs": "shrink.fine_tuning.epochs",
    "seeds": "shrink.fine_tuning.seeds",
    "learning_rate": "shrink.fine_tuning.learning_rates",
    "train_examples": "shrink.fine_tuning.train_examples",
    "name": "publish.name",
    "workdir": "workdir",
}
"""The command's options, and the fields that they are."""


def config_of_task(command: Task, given: Assignments) -> TaskConfig:
    """The config that the command asks for; raises `InputError` for a field that does not exist or takes no such
    value."""
    told = tuple((field, text) for option, field in _OWN.items() if (text := getattr(command, option)) is not None)
    base = TaskConfig(
        name="task",
        workdir=str(RUNS / "task"),
        teacher=SourceConfig(model=command.model),
        shrink=ShrinkConfig(task=command.task),
        publish=PublishConfig(name=_named(command), license="other", language=()),
    )
    try:
        config = override(base, (*told, *((_whole(name), text) for name, text in given)))
    except ConfigError as error:  # a fine-tuning's rules name themselves as they are called in a run
        raise ConfigError(error.field.replace("evaluate.", "shrink."), error.value, error.rule) from error
    if command.workdir is None:
        config = replace(config, workdir=str(RUNS / config.publish.name))
    return replace(config, name=f"task {config.publish.name}")


def _named(command: Task) -> str:
    """The model's name and the task's, as a registered model may be called."""
    what = re.split(r":(?=[a-z_]+=)", command.task)[0]
    model = Path(command.model.rstrip("/")).name
    return re.sub(r"[^\w.-]+", "-", f"{model}-{Path(what).name.split('.')[0]}-small").strip("-")


def _whole(name: str) -> str:
    """`batch` and `fine_tuning.batch` are `shrink.fine_tuning.batch`."""
    plain = name.replace("-", "_")
    first, _, rest = plain.partition(".")
    if first == "fine_tuning":
        return f"shrink.{plain}"
    if not rest and plain in {field.name for field in fields(FineTuningConfig)}:
        return f"shrink.fine_tuning.{plain}"
    return f"shrink.{plain}" if not rest and plain in {field.name for field in fields(ShrinkConfig)} else plain
