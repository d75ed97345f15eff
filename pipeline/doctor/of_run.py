"""Whether MLflow takes a run from here, and what this very run would be refused for, or wait for in vain."""

import ray

from pipeline.config.preflight import check_seen_everywhere
from pipeline.config.redaction import redacted
from pipeline.config.schema import PipelineConfig
from pipeline.doctor.check import Check
from pipeline.records.reuse import Silent
from pipeline.tracking.store import check as check_tracking
from pipeline.tracking.store import store_of
from stages.cluster_capacity import may_grow
from stages.errors import InputError
from stages.training.driver import gpu_wanted, scaling


def of_mlflow(config: PipelineConfig, *, elsewhere: bool) -> Check:
    """Whether runs can be recorded, asked as a run does before it starts."""
    try:
        found = redacted(store_of(config.tracking).uri)
        check_tracking(config.tracking, workers_elsewhere=elsewhere)
    except InputError as error:
        return Check(check="MLflow", found="cannot be used", faults=(str(error),))
    return Check(check="MLflow", found=f"{found} answers")


def of_recipe(config: PipelineConfig, *, elsewhere: bool) -> Check:
    """What a run with this config would be refused for now, and whether its workers have room."""
    from pipeline.run import foresee  # all stages: seconds, which a doctor without a recipe need not wait for

    faults, notices = [], list[str]()
    try:
        found = foresee(config, Silent(), notices.append)
        if found.fault is not None:
            raise found.fault
        if elsewhere and not found.products.corpus.reused:
            check_seen_everywhere(config)
        if config.pretrain is None or config.until != "teacher":
            faults += without_room(config)
    except InputError as error:
        faults.append(str(error))
    return Check(check="recipe", found=config.name, faults=tuple(faults), warnings=tuple(notices))


def without_room(config: PipelineConfig) -> list[str]:
    """A sentence where the fewest workers of a training have no place; Ray would wait for ever without a word."""
    booked = scaling(config.distil, gpu_wanted(config.distil)).resources_per_worker or {}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    places = sum(int(min(node.get(name, 0.0) / amount for name, amount in booked.items())) for node in nodes)
    fewest = config.distil.fewest_workers
    if places >= fewest or may_grow():
        return []
    wanted = " and ".join(f"{amount:g} {name}{'' if amount == 1 else 's'}" for name, amount in booked.items())
    return [
        f"distil.workers asks for {fewest} workers of {wanted} each, and there is room for {places}: give fewer "
        "--distil.workers or --distil.cpus-per-worker, or add machines."
    ]
