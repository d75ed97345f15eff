"""The part of the graph that is about labelled tasks."""

from dataclasses import replace

from pipeline.config.schema import PipelineConfig
from pipeline.records.products import Products
from pipeline.records.reuse import Reuse
from stages.distil.as_long import distil_as_long
from stages.distil.stage import distil
from stages.tasks.checks import identity
from stages.tasks.stage import compare_on_tasks


def on_tasks(step: Reuse, config: PipelineConfig, made: Products) -> Products:
    """Teacher and student on labelled tasks, beside what else is asked for: that learns without a teacher first."""
    asked, untaught, as_long = config.evaluate.baselines, None, None
    if set(asked) & {"untaught", "untaught_same_time"}:
        alone = config.distil.without_teacher()
        untaught = step(distil, alone, made.teacher, made.blocks, name="distil-untaught")
        if "untaught_same_time" in asked:
            as_long = step(distil_as_long, alone, made.teacher, made.blocks, made.student, untaught)
    table = step(
        compare_on_tasks,
        config.evaluate.on_tasks(),
        made.teacher,
        made.student,
        untaught,
        as_long,
        outside=identity(config.evaluate.tasks, config.publish.gate),
    )
    return replace(made, untaught=untaught, as_long=as_long, tasks=table)
