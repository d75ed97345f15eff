"""Ray: an existing cluster where there is one to join, else one of our own on this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

OBJECT_STORE_BYTES = 512 * 1024**2
"""Of a local Ray: batches are small, and a laptop has other uses for its memory than Ray's default of 30 %."""


@contextmanager
def cluster(verbose: bool = False) -> Iterator[None]:
    """Ray while the block runs: the cluster of RAY_ADDRESS (set within a Ray job), or a local one that ends with it.

    Ray that is up already, as in a notebook or a test, is used and left as it is.
    """
    if ray.is_initialized():
        yield
        return
    level = "INFO" if verbose else "ERROR"
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=verbose, logging_level=level)
    else:
        ray.init(
            num_cpus=len(os.sched_getaffinity(0)),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=verbose,
            logging_level=level,
        )
    try:
        yield
    finally:
        ray.shutdown()


def has_other_machines() -> bool:
    """Whether tasks may run on a machine other than this one."""
    return len([node for node in ray.nodes() if node["Alive"]]) > 1
