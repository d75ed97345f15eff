"""The gate's tasks: on which of them a student is worse than the champion."""

from pipeline.config.schema import PipelineConfig
from pipeline.records.products import Products
from pipeline.tracking.registry import LowerOn
from stages.context import StageContext
from stages.tasks.incumbent import lower_on


def gate_of(config: PipelineConfig, products: Products) -> LowerOn | None:
    """What asks on which of `publish.gate` the student is worse than the champion; None where that names no task."""
    if products.tasks is None or not config.publish.gate:
        return None
    context = StageContext(folder=products.tasks.folder, seed=config.seed)
    asked = (config.evaluate.on_tasks(), products.tasks.artifact, config.publish.gate)
    return lambda folder, mark: lower_on(*asked, folder, mark, context)
