"""Ray: an existing cluster where there is one to join, else one of our own on this machine."""

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import ray
from ray._private.ray_constants import PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.cli.quiet_libraries import SETTINGS
from pipeline.runtime.local_ray import environ, job_config, own_session, short_tmpdir, temporary_folder, token
from pipeline.runtime.proxy import bypass_loopback
from stages.cluster_capacity import may_grow

OBJECT_STORE_BYTES = 512 * 1024**2
"""Of a local Ray: batches are small, and a laptop has other uses for its memory than Ray's default of 30 %."""
LOOPBACK = "127.0.0.1"
"""By which the processes of a local Ray find one another. They listen on every interface all the same: see `token`."""

ANSWER_SECONDS = 60
"""How long the machines of a cluster are waited for where they are asked something small."""


@contextmanager
def cluster(verbose: bool = False, *, state: bool = False) -> Iterator[None]:
    """Ray while the block runs: the cluster of RAY_ADDRESS (set within a Ray job), or a local one that ends with it.

    Ray that is up already, as in a notebook or a test, is used and left as it is. `state`: whether a local one can be
    asked for its actors' state (see `start_local`).
    """
    if ray.is_initialized():
        yield
        return
    if os.environ.get("RAY_ADDRESS"):
        with environ({}):  # the token of that cluster, whatever this process knew before
            ray.init(
                log_to_driver=verbose,
                logging_level="INFO" if verbose else "ERROR",
                job_config=job_config(),
                runtime_env={"env_vars": carried(os.environ)},
            )
    else:
        start_local(len(os.sched_getaffinity(0)), verbose=verbose, state=state)
    try:
        yield
    finally:
        ray.shutdown()


def carried(environment: Mapping[str, str]) -> dict[str, str]:
    """Settings of the libraries that every machine of a cluster is told, as nobody there inherits them from here.

    What the job's own runtime environment says is told already, and Ray takes no variable twice.
    """
    job = json.loads(environment.get(RAY_JOB_CONFIG_JSON_ENV_VAR) or "{}")
    told = (job.get("runtime_env") or {}).get("env_vars") or {}
    return {name: environment[name] for name in SETTINGS if name in environment and name not in told}


def start_local(cpus: int, *, verbose: bool = False, state: bool = False) -> None:
    """A Ray on this machine alone.

    With `state` it has a dashboard, which answers for the state of actors: when Ray Tune stops a trial, Ray Train asks
    there whether the trial still lives, and only then gives its CPUs back. It asks the one Ray that it finds on the
    machine, and none where there are two: so the processes of this one are told its address.
    """
    bypass_loopback(os.environ)  # all of Ray's processes inherit it
    # A machine of one's own gives no notice of being taken away: a process less for every training.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    # Several trainings at a time have more processes than Ray expects of two CPUs, and it warns of each further one.
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", str(4 * cpus))
    folder = temporary_folder()
    # The last of these: nobody's script in the working directory is taken for one of Ray's modules.
    told = {**token(), **short_tmpdir(folder), "PYTHONSAFEPATH": "1"}
    if state:
        port = free_port()
        told |= {"RAY_GCS_SERVER_PORT": str(port), "RAY_ADDRESS": f"{LOOPBACK}:{port}"}
    with environ(told), own_session():
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=state,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=verbose,
            logging_level="INFO" if verbose else "ERROR",
            job_config=job_config(),
            _temp_dir=folder,
            _node_ip_address=LOOPBACK,
        )


def machines_without(paths: Sequence[str]) -> dict[str, str]:
    """Machines of the cluster, by address, on which one of these `paths` is not there, and the first such path.

    One that is lost or does not answer within `ANSWER_SECONDS` is left out: no task will be given to it.
    """

    def first_missing(paths: Sequence[str]) -> str | None:
        return next((path for path in paths if not os.path.exists(path)), None)

    task = ray.remote(num_cpus=0)(first_missing)
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            list(paths)
        ): node["NodeManagerAddress"]
        for node in ray.nodes()
        if node["Alive"]
    }
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS)
    found: dict[str, str] = {}
    for one in answered:
        with suppress(ray.exceptions.RayError):  # a machine that was lost meanwhile
            if (missing := ray.get(one)) is not None:
                found[asked[one]] = missing
    return found


def is_gone() -> bool:
    """Whether a server of the local Ray has ended though nobody here has ended it; never of a cluster's."""
    node = ray._private.worker._global_node
    ended = () if node is None else node.dead_processes()
    return any(kind in (PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET) for kind, _ in ended)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def has_other_machines() -> bool:
    """Whether tasks may run on a machine other than this one, now or once the cluster has grown."""
    return may_grow() or len([node for node in ray.nodes() if node["Alive"]]) > 1
