"""How many trials have room at a time, and what each of their workers gets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipeline.tuning.config import TuneConfig
from stages.distil.config import DistilConfig
from stages.errors import InputError

DRIVER_CPUS = 0.01
"""What a trial's own process books: it only waits for its workers. At Ray's default of 1, two CPUs are held by two
trials whose workers then wait for ever."""


@dataclass(frozen=True, kw_only=True)
class Concurrency:
    """Trials at a time, and each worker's CPUs and threads."""

    trials: int
    cpus_per_worker: float
    threads: int

    def of(self, config: DistilConfig) -> DistilConfig:
        """The config of a trial that keeps to its place; what the user set stays."""
        return replace(
            config,
            cpus_per_worker=config.cpus_per_worker or self.cpus_per_worker,
            threads=config.threads or self.threads,
        )


def concurrency(tune: TuneConfig, distil: DistilConfig, resources: Mapping[str, float], *, gpu: bool) -> Concurrency:
    """What a cluster with these `resources` has room for; raises `InputError` where one trial finds none.

    A trial needs a CPU for each worker (half of it for the tasks that read and mask) and, on GPUs, each worker's share
    of one. More than a quarter of the trials at a time would leave TPE nothing to learn from.
    """
    cpus, gpus, workers = resources.get("CPU", 0.0), resources.get("GPU", 0.0), distil.most_workers
    fit = int(cpus // workers)
    if gpu:
        fit = min(fit, int(gpus / distil.gpu_share // workers))
    if not fit:
        needs = f"{workers} CPU(s)" + (f" and {workers * distil.gpu_share:g} GPU(s)" if gpu else "")
        raise InputError(
            f"a trial needs {needs} and this cluster has {cpus:g} CPU(s) and {gpus:g} GPU(s): lower distil.workers."
        )
    trials = min(fit, tune.max_concurrent or max(1, tune.trials // 4))
    share = cpus / 2 / workers / trials
    return Concurrency(
        trials=trials,
        cpus_per_worker=1.0 if share >= 1 else max(0.01, int(share * 100) / 100),
        threads=max(1, int(cpus // (workers * trials))),
    )
