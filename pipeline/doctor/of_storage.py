"""Whether driver and machines get at the storage, and how fast: a file of some megabytes, written, read and removed."""

import hashlib
import os
import time
from collections.abc import Mapping
from uuid import uuid4

from pipeline.config.preflight import check_storage
from pipeline.config.schema import PipelineConfig
from pipeline.doctor.check import Check, alike, megabytes, several
from pipeline.doctor.machines import Machines
from pipeline.doctor.probe import PAYLOAD, UNSEEN, Access, in_a_line
from stages.errors import InputError
from stages.storage import Folder

CHECKPOINT = 0.8e9
"""Bytes of the paper's student with its optimiser's state."""
SLOW = 10e6
"""Bytes per second, at which such a checkpoint takes more than a minute."""
DRIVER = "the driver"


def try_storage(
    config: PipelineConfig, machines: Machines, *, elsewhere: bool, given: bool
) -> tuple[Check, dict[str, Access]]:
    """What was found, and how the driver and each machine get at it. `elsewhere`: whether there are other machines than
    this one; `given`: whether a run was named, and so its storage."""
    where = config.root.uri
    if elsewhere and config.storage is None:
        missing = (
            f"workers run on other machines, which do not see {where}: give --storage, a shared folder, s3:// or gs://"
        )
        if given:
            return Check(check="storage", found="none", faults=(f"{missing}.",)), {}
        return Check(check="storage", found="none", warnings=(f"no storage was tried; {missing}, as to a run.",)), {}
    try:
        if config.storage is not None and not config.root.is_local:
            check_storage(config)
        found = _tried(nearest(config.root), machines)
    except InputError as error:
        return Check(check="storage", found=f"{where} cannot be written", faults=(str(error),)), {}
    except OSError as error:
        fault = f"{where} cannot be written from the driver ({in_a_line(error)}): give another, or the right to it."
        return Check(check="storage", found=f"{where} cannot be written", faults=(fault,)), {}
    return judged(where, found), found


def nearest(folder: Folder) -> Folder:
    """Where a trial leaves nothing behind: a local folder that is not there yet would be made in this one."""
    if not folder.is_local:
        return folder
    return Folder(str(next(there for there in (folder.path, *folder.path.parents) if there.exists())))


def _tried(folder: Folder, machines: Machines) -> dict[str, Access]:
    """Raises OSError where the driver cannot write or read."""
    place, data = folder / f".doctor-{uuid4().hex[:8]}", os.urandom(PAYLOAD)
    try:
        place.exists()  # which also loads what reads there, and opens the connection
        started = time.perf_counter()
        place.write_bytes("payload", data)
        written = time.perf_counter()
        place.read_bytes("payload")
        read = time.perf_counter()
        here = Access(written=PAYLOAD / (written - started), read=PAYLOAD / (read - written))
        return {DRIVER: here, **machines.reach(place, "payload", hashlib.sha256(data).hexdigest())}
    finally:
        place.remove()


def judged(where: str, found: Mapping[str, Access]) -> Check:
    """What it means how the driver and the machines get at `where`."""
    problems = {name: access.problem for name, access in found.items() if access.problem}
    faults = []
    for problem, who in alike(problems).items():
        shared, keys = "give a folder that all machines see, s3:// or gs://", "give the right to it, or the keys"
        faults.append(f"{where}: {several(who)} {problem}: {shared if problem == UNSEEN else keys}.")
    reads = {name: access.read for name, access in found.items() if access.read is not None}
    writes = {name: access.written for name, access in found.items() if access.written is not None}
    warnings = []
    for what, speeds in (("reads", reads), ("writes", writes)):
        slowest = min(speeds, key=lambda name: speeds[name])
        if speeds[slowest] < SLOW:
            seconds = CHECKPOINT / speeds[slowest]
            warnings.append(
                f"{slowest} {what} {where} at {megabytes(speeds[slowest])}, at which a checkpoint of the paper's "
                f"student ({CHECKPOINT / 1e9:.1f} GB) takes {seconds / 60:,.0f} min: take a storage that is nearer."
            )
    told = f"{where}: read at {megabytes(min(reads.values()))}, written at {megabytes(min(writes.values()))}"
    return Check(check="storage", found=told, faults=tuple(faults), warnings=tuple(warnings))
