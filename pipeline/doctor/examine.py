"""The examination from end to end: join the cluster, ask, and say what the answers mean."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pipeline.config.schema import PipelineConfig
from pipeline.config.secrets import check_secrets
from pipeline.doctor import of_machines
from pipeline.doctor.check import Check
from pipeline.doctor.machines import Link, Machine, Machines
from pipeline.doctor.of_run import of_mlflow, of_recipe
from pipeline.doctor.of_storage import try_storage
from pipeline.doctor.probe import Access, in_a_line, software
from pipeline.runtime.cluster import cluster, has_other_machines
from pipeline.runtime.local_ray import environ
from stages.cluster_capacity import most_gpus
from stages.errors import InputError, innermost

ADDRESS = "RAY_ADDRESS"
_AS_A_JOB = "ray job submit --working-dir . -- distil doctor"
_UNKNOWN = "what the recipe would be refused for is asked once its storage can be used."
NOT_ASKED = Check(check="recipe", found="not asked", warnings=(_UNKNOWN,))
_SECONDS = 5.0
"""How long a head may take to take a connection."""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """The answer. Field names are a contract with whoever reads the JSON: docs/cli.md."""

    address: str | None
    """Of the cluster; None for a Ray on this machine, started for the purpose."""
    would_fail: bool
    checks: tuple[Check, ...]
    machines: tuple[Machine, ...]
    links: tuple[Link, ...]
    storage: dict[str, Access]

    @property
    def faults(self) -> list[str]:
        """All of them, each once: two checks may meet the same."""
        return list(dict.fromkeys(fault for check in self.checks for fault in check.faults))


def examine(config: PipelineConfig, address: str | None, *, has_recipe: bool, verbose: bool) -> Examination:
    """Ask the cluster at `address`, that of RAY_ADDRESS, or this machine. `has_recipe`: whether `config` is a run's, or
    no more than where it would be kept. Raises `InputError` where there is no cluster to ask."""
    check_secrets(config, os.environ)
    address = address or os.environ.get(ADDRESS) or None
    with joined(address, verbose):
        machines, elsewhere = Machines(), has_other_machines()
        answered = machines.ask()
        storage, accesses = try_storage(config, machines, elsewhere=elsewhere, given=has_recipe)
        links = machines.links()
        in_store = config.storage is not None and not config.root.is_local
        checks = [
            of_machines.of_all(answered, machines.offers, machines.silent, most_gpus()),
            *of_machines.of_software(answered, software()),
            of_machines.of_gpus(answered),
            of_machines.of_shared_memory(answered),
            of_machines.of_open_files(answered),
            of_machines.of_clocks(answered, in_store=in_store),
            of_machines.of_network(links),
            storage,
            of_mlflow(config, elsewhere=elsewhere),
        ]
        if has_recipe:
            checks.append(NOT_ASKED if storage.faults else of_recipe(config, elsewhere=elsewhere))
    return Examination(
        address=address,
        would_fail=any(check.faults for check in checks),
        checks=tuple(checks),
        machines=tuple(answered),
        links=tuple(links),
        storage=accesses,
    )


@contextmanager
def joined(address: str | None, verbose: bool) -> Iterator[None]:
    """In the cluster at `address`, or in a Ray of our own; raises `InputError` where nobody answers there."""
    with ExitStack() as stack:
        if address is not None:
            _check_answers(address)
            stack.enter_context(environ({ADDRESS: address}))
        try:
            stack.enter_context(cluster(verbose))
        except (ConnectionError, RuntimeError, ValueError) as error:
            if address is None or isinstance(error, InputError):
                raise
            raise InputError(
                f"the cluster at {address} cannot be joined from this machine ({in_a_line(innermost(error))}): ask on "
                f"its head, or in a job: {_AS_A_JOB}."
            ) from error
        yield


def _check_answers(address: str) -> None:
    """Raise `InputError` for an address that is none of Ray's, or where nothing listens: Ray itself would wait long."""
    if address.startswith(("http://", "https://")):
        raise InputError(f"--address {address} is where jobs are submitted: ask in one, {_AS_A_JOB}.")
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:  # auto, local: Ray looks for itself
        return
    if not port.isdecimal():
        raise InputError(f"--address {address} has no port: give the head's, such as 10.0.0.1:6379.")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS):
            return
    except OSError as error:
        raise InputError(
            f"nothing answers at {address} ({error.strerror or error}): give what `ray start --head` printed."
        ) from error
