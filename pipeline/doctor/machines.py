"""The machines of a cluster, each asked by a `Probe` of its own, all at the same time."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.doctor.probe import PAYLOAD, Access, Facts, Probe, in_a_line
from pipeline.runtime.cluster import ANSWER_SECONDS
from stages.errors import innermost
from stages.storage import Folder

_WARM_UP = 2**20
"""Bytes that are sent first: whoever asks another machine for the first time has to find it."""
_ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What Ray knows of a machine: what it may be given to do."""

    cpus: float
    gpus: float
    object_store_bytes: int


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A machine's clock against the driver's, in seconds."""

    ahead: float
    uncertain: float
    """Half of what asking took."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine that answered."""

    address: str
    offer: Offer
    facts: Facts
    clock: Clock


@dataclass(frozen=True, kw_only=True)
class Link:
    """How fast bytes come from one machine to another, in bytes per second, while all others are busy alike."""

    source: str
    target: str
    speed: float


class Machines:
    """Those of the Ray that this process is connected to."""

    def __init__(self) -> None:
        alive = [node for node in ray.nodes() if node["Alive"]]
        twice = Counter(node["NodeManagerAddress"] for node in alive)
        self.offers: dict[str, Offer] = {}
        self.probes: dict[str, Any] = {}
        self.silent: dict[str, str] = {}
        """Machines that did not answer, and why."""
        for node in sorted(alive, key=lambda node: node["NodeManagerAddress"]):
            address = node["NodeManagerAddress"]
            name = address if twice[address] == 1 else f"{address}:{node['NodeManagerPort']}"
            there = node["Resources"]
            self.offers[name] = Offer(
                cpus=there.get("CPU", 0.0),
                gpus=there.get("GPU", 0.0),
                object_store_bytes=int(there.get("object_store_memory", 0)),
            )
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            self.probes[name] = ray.remote(Probe).options(num_cpus=0, scheduling_strategy=where).remote()

    def ask(self) -> list[Machine]:
        """Those that answer, with all they know of themselves."""
        facts = self._all(lambda name, probe: probe.facts.remote(self.offers[name].gpus))
        found = []
        for name, known in facts.items():
            try:
                clock = self._clock(name)
            except ray.exceptions.RayError as error:
                self.silent[name] = in_a_line(innermost(error))
            else:
                found.append(Machine(address=name, offer=self.offers[name], facts=known, clock=clock))
        return found

    def reach(self, folder: Folder, name: str, digest: str) -> dict[str, Access]:
        """How each gets at `folder`, in which the driver has put the file `name`."""
        return self._all(lambda _, probe: probe.access.remote(folder, name, digest))

    def links(self) -> list[Link]:
        """A ring: each machine fetches from the one before it, all at once, as in an all-reduce. Empty for one."""
        names = list(self._answering())
        if len(names) < 2:
            return []
        before = dict(zip(names, [names[-1], *names[:-1]], strict=True))
        made = {name: [self.probes[name].make.remote(size) for size in (_WARM_UP, PAYLOAD)] for name in names}
        speeds = self._all(lambda name, probe: probe.fetch.remote(made[before[name]]))
        return [Link(source=before[name], target=name, speed=speed) for name, speed in speeds.items()]

    def _answering(self) -> Mapping[str, Any]:
        return {name: probe for name, probe in self.probes.items() if name not in self.silent}

    def _all(self, question: Callable[[str, Any], Any]) -> dict[str, Any]:
        """The answers by machine; one that gives none is `silent` from now on."""
        asked = {name: question(name, probe) for name, probe in self._answering().items()}
        ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=ANSWER_SECONDS) if asked else ([], [])
        answers = {}
        for name, ref in asked.items():
            if ref not in ready:
                self.silent[name] = f"no answer within {ANSWER_SECONDS} s"
                continue
            try:
                answers[name] = ray.get(ref)
            except ray.exceptions.RayError as error:
                self.silent[name] = in_a_line(innermost(error))
        return answers

    def _clock(self, name: str) -> Clock:
        """By the quickest of some answers; the actor is there by now, so that one takes milliseconds."""
        return min((_compared(self.probes[name]) for _ in range(_ROUNDS)), key=lambda clock: clock.uncertain)


def _compared(probe: Any) -> Clock:
    asked = time.time()
    there = ray.get(probe.now.remote(), timeout=ANSWER_SECONDS)
    answered = time.time()
    return Clock(ahead=there - statistics.mean((asked, answered)), uncertain=(answered - asked) / 2)
