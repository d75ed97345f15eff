"""What each command does. What runs something is imported by the command that runs it: see `main`."""

import sys
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

from pipeline.cli.arguments import Assignments, config_of
from pipeline.cli.commands.configured import Ablate, Describe, Doctor, Evaluate, Run, Task, Tune
from pipeline.cli.commands.results import Compare, Fill, Runs
from pipeline.cli.commands.surroundings import Completion, Sync, Ui
from pipeline.config.redaction import redacted
from pipeline.config.schema import PipelineConfig
from stages.errors import InputError


def act(command: Any, fields: Assignments) -> None:
    """Do what one of `Command` says; `fields` are those of a config, for the commands that take one."""
    match command:
        case Run():
            _run(config_of(command, fields), command)
        case Tune():
            _tune(config_of(command, fields), command)
        case Ablate():
            _ablate(command, fields)
        case Describe():
            _describe(command, fields)
        case Evaluate():
            _evaluate(command, fields)
        case Task():
            _task(command, fields)
        case Doctor():
            _doctor(command, fields)
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


def _run(config: PipelineConfig, command: Run) -> None:
    from pipeline.cli.console import Console
    from pipeline.run import run

    run(config, Console(verbose=command.verbose), refresh=command.refresh)


def _evaluate(command: Evaluate, fields: Assignments) -> None:
    from pipeline.cli.evaluated import config_to_evaluate

    config = config_to_evaluate(command, fields)
    from pipeline.cli.console import Console
    from pipeline.run import run

    run(config, Console(verbose=command.verbose), refresh=command.refresh)


def _task(command: Task, fields: Assignments) -> None:
    from pipeline.classifier.asked import config_of_task

    config = config_of_task(command, fields)
    from pipeline.classifier.run import run
    from pipeline.cli.console import Console

    run(config, Console(verbose=command.verbose), refresh=command.refresh)


def _tune(config: PipelineConfig, command: Tune) -> None:
    from pipeline.cli.console import Console
    from pipeline.tune import tune

    tune(config, Console(verbose=command.verbose), refresh=command.refresh)


def _ablate(command: Ablate, fields: Assignments) -> None:
    from pipeline.ablation.config import asked

    wanted, config = asked(command.seeds, command.only, command.tokens), config_of(command, fields)
    from pipeline.ablate import ablate
    from pipeline.cli.console import Console

    ablate(config, wanted, Console(verbose=command.verbose), refresh=command.refresh)


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


def _doctor(command: Doctor, fields: Assignments) -> None:
    has_recipe = command.recipe is not None or command.config is not None
    asked = command if has_recipe else replace(command, recipe="demo")
    with redirect_stdout(sys.stderr):  # whatever a library has to say
        config = config_of(asked, fields)
        from pipeline.cli.answers.doctor import as_text
        from pipeline.cli.answers.formats import answer, as_json
        from pipeline.doctor.examine import examine

        found = examine(config, command.address, has_recipe=has_recipe, verbose=command.verbose)
    answer(as_json(found) if command.json else as_text(found))
    if found.would_fail:
        raise InputError("a run would fail here, for what is marked ✗; mend that, and ask again.")


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
