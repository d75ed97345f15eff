"""What the machines' facts mean: software, GPUs, shared memory, open files, clocks and the network between them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from pipeline.doctor.check import Check, alike, in_short, megabytes, several
from pipeline.doctor.machines import Link, Machine, Offer
from pipeline.doctor.probe import Software

SUBMIT = "submit it as a job with `--working-dir .`, or bring the same checkout to every machine"
SAME = "give every machine the versions of constraints.txt (deploy/Dockerfile has them)"
DOCKER_SHM = 64 * 2**20
"""Of a container that was given none."""
FEW_FILES, FEW_FILES_IN_A_CLUSTER = 1024, 4096
"""Ray has a socket for each process that it talks to, on every machine."""
NOTICEABLE, REFUSED = 1.0, 900.0
"""Seconds that a clock may be off: until times of one run do not fit together; until S3 refuses a signed request."""
GRADIENTS = 268e6
"""Bytes that the paper's student sends in a step (docs/cluster.md)."""
SLOW_NETWORK = 100e6
"""Bytes per second; a network of 1 Gbit/s has some 117 million."""


def of_all(
    machines: Sequence[Machine], offers: Mapping[str, Offer], silent: Mapping[str, str], most_gpus: int
) -> Check:
    """Who answered, and what Ray may give to do. `most_gpus`: what the cluster has or may grow to."""
    names = several([machine.address for machine in machines])
    cpus, gpus = sum(one.cpus for one in offers.values()), sum(one.gpus for one in offers.values())
    faults = []
    for why, who in alike(silent).items():
        lacks_code = "No module named" in why
        remedy = SUBMIT if lacks_code else "see `ray status` and Ray's logs there, or take it out of the cluster"
        faults.append(f"{several(who)} cannot be asked ({why}): {remedy}.")
    grows = f"the cluster may grow to {most_gpus} GPUs: machines that are not there yet were not asked."
    return Check(
        check="machines",
        found=f"{len(machines)} of {len(offers)} answer: {names}; {cpus:g} CPUs, {gpus:g} GPUs",
        faults=tuple(faults),
        warnings=(grows,) if most_gpus > gpus else (),
    )


def of_software(machines: Sequence[Machine], driver: Software) -> Iterator[Check]:
    """Each library's versions, and our own code, beside the driver's."""
    for name, read, serious in _LIBRARIES:
        found = {machine.address: read(machine.facts.software) or "not installed" for machine in machines}
        ours = read(driver) or "not installed"
        faults, warnings = list[str](), list[str]()
        for version, who in alike(found).items():
            if version == "not installed":
                faults.append(f"{several(who)} {_do(who, 'has', 'have')} no {name}: {SAME}.")
            elif _public(version) != _public(ours):
                differs = f"{several(who)} {_do(who, 'has', 'have')} {name} {version} and the driver {ours}: {SAME}."
                (faults if serious(version) != serious(ours) else warnings).append(differs)
        yield Check(check=name, found=in_short(found), faults=tuple(faults), warnings=tuple(warnings))
    codes = {machine.address: machine.facts.software.code for machine in machines}
    other = [name for name, code in codes.items() if code != driver.code]
    fault = f"{several(other)} {_do(other, 'has', 'have')} other code than the driver: {SUBMIT}."
    yield Check(
        check="distilray's code",
        found="the driver's" if not other else in_short(codes),
        faults=(fault,) if other else (),
    )


def of_gpus(machines: Sequence[Machine]) -> Check:
    """Whether the GPUs that Ray offers are ones that torch can use."""
    found, faults, warnings = {}, [], []
    for machine in machines:
        gpus, offered, name = machine.facts.gpus, machine.offer.gpus, machine.address
        told = ", ".join(f"{count} × {kind}" for kind, count in Counter(gpus.names).items())
        found[name] = f"{told} (driver {gpus.driver})" if told else "none"
        driver = f" ({gpus.driver})" if gpus.driver else ""
        if offered > (gpus.seen_by_torch or 0) and gpus.problem:
            faults.append(f"the GPUs of {name} cannot be used ({gpus.problem}): mend the driver{driver} there.")
        elif offered > (gpus.seen_by_torch or 0) and gpus.built_for is None:
            faults.append(f"Ray offers {offered:g} GPUs on {name}, whose torch is built without CUDA: {SAME}.")
        elif offered > (gpus.seen_by_torch or 0):
            faults.append(
                f"Ray offers {offered:g} GPUs on {name} and torch, built for CUDA {gpus.built_for}, sees "
                f"{gpus.seen_by_torch}: bring the driver{driver} up to date, or give the container its GPUs."
            )
        elif gpus.problem:
            warnings.append(f"the GPUs of {name} answer badly ({gpus.problem}): look at the driver{driver} there.")
        elif gpus.names and not offered:
            warnings.append(f"{name} has GPUs and Ray offers none of them: start Ray there without `--num-gpus 0`.")
    if len({kind for machine in machines for kind in machine.facts.gpus.names}) > 1:
        warnings.append("GPUs differ: in a training all wait for the slowest in each step.")
    return Check(check="GPUs", found=in_short(found), faults=tuple(faults), warnings=tuple(warnings))


def of_shared_memory(machines: Sequence[Machine]) -> Check:
    """Whether Ray's object store, and NCCL between the GPUs of a machine, have room in /dev/shm."""
    found, faults, warnings = {}, [], []
    for machine in machines:
        size, store, name = machine.facts.shm_bytes or 0, machine.offer.object_store_bytes, machine.address
        found[name] = _mib(size) if size else "none"
        mend = "start the container with --shm-size=4g, or mount an emptyDir with `medium: Memory` there"
        if machine.offer.gpus >= 2 and size <= DOCKER_SHM:
            faults.append(f"/dev/shm of {name} has {_mib(size)}, where NCCL has no room between GPUs: {mend}.")
        elif size < store:
            warnings.append(
                f"/dev/shm of {name} has {_mib(size)} and Ray's object store {_mib(store)}, which is on a disk then, "
                f"and slow: {mend}."
            )
    return Check(check="/dev/shm", found=in_short(found), faults=tuple(faults), warnings=tuple(warnings))


def of_open_files(machines: Sequence[Machine]) -> Check:
    """Whether processes may have enough files and sockets open."""
    least = FEW_FILES_IN_A_CLUSTER if len(machines) > 1 else FEW_FILES
    limits = {machine.address: machine.facts.open_files for machine in machines}
    few = [name for name, limit in limits.items() if limit < least]
    warning = f"{several(few)} may open fewer than {least:,} files a process: `ulimit -n 65536` before Ray is started."
    return Check(
        check="open files",
        found=in_short({name: f"{limit:,}" for name, limit in limits.items()}),
        warnings=(warning,) if few else (),
    )


def of_clocks(machines: Sequence[Machine], *, in_store: bool) -> Check:
    """Whether clocks agree with the driver's. `in_store`: whether requests to the storage are signed with the time."""
    faults, warnings = [], []
    for machine in machines:
        ahead = abs(machine.clock.ahead) - machine.clock.uncertain
        way = "ahead of" if machine.clock.ahead > 0 else "behind"
        off = f"the clock of {machine.address} is {abs(machine.clock.ahead):,.0f} s {way} the driver's"
        if ahead > REFUSED and in_store:
            faults.append(f"{off}, and a store refuses what is signed at such a time: run chrony on both.")
        elif ahead > NOTICEABLE:
            warnings.append(f"{off}, so that times in logs do not fit together: run chrony on both.")
    furthest = max((abs(machine.clock.ahead) + machine.clock.uncertain for machine in machines), default=0.0)
    found = f"within {furthest:.3f} s of the driver's" if furthest < 1 else f"up to {furthest:,.0f} s off the driver's"
    return Check(check="clocks", found=found, faults=tuple(faults), warnings=tuple(warnings))


def of_network(links: Sequence[Link]) -> Check:
    """How fast machines send to one another."""
    if not links:
        return Check(check="network", found="one machine")
    slowest = min(links, key=lambda link: link.speed)
    warning = (
        f"{slowest.source} sends to {slowest.target} at {megabytes(slowest.speed)}, at which the gradients of the "
        f"paper's student ({GRADIENTS / 1e6:.0f} MB a step) take {GRADIENTS / slowest.speed:,.0f} s: put the machines "
        "closer together, or give a larger --distil.global-batch."
    )
    return Check(
        check="network",
        found=f"{megabytes(slowest.speed)} or more from one machine to the next",
        warnings=(warning,) if slowest.speed < SLOW_NETWORK else (),
    )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _public(version: str) -> str:
    """Without what it was built for: a head without GPUs has another torch than its workers, of the same version."""
    return version.partition("+")[0]


def _nothing(_: str) -> str:
    return ""


_LIBRARIES: tuple[tuple[str, Callable[[Software], str | None], Callable[[str], str]], ...] = (
    ("Python", lambda software: software.python, _minor),
    ("Ray", lambda software: software.ray, _public),
    ("torch", lambda software: software.torch, _nothing),
    ("transformers", lambda software: software.transformers, _nothing),
)
"""What each is called, where it is, and the part of its version that must be the driver's for anything to run."""


def _do(who: Sequence[str], one: str, many: str) -> str:
    return one if len(who) == 1 else many


def _mib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"
