"""What the doctor says of facts: no Ray, no network."""

from dataclasses import replace

import pytest

from pipeline.doctor.check import Check, several
from pipeline.doctor.machines import Clock, Link, Machine, Offer
from pipeline.doctor.of_machines import (
    of_all,
    of_clocks,
    of_gpus,
    of_network,
    of_open_files,
    of_shared_memory,
    of_software,
)
from pipeline.doctor.of_storage import DRIVER, judged
from pipeline.doctor.probe import UNSEEN, Access, Facts, Gpus, Software

HERE = Software(python="3.11.7", ray="2.60.0", torch="2.9.1+cpu", transformers="5.0.0", code="0123456789ab")
FACTS = Facts(software=HERE, gpus=Gpus(), shm_bytes=8 * 2**30, open_files=65536)
OFFER = Offer(cpus=4.0, gpus=0.0, object_store_bytes=2**30)


def machine(address: str, *, gpus: float = 0.0, ahead: float = 0.0, **facts: object) -> Machine:
    return Machine(
        address=address,
        offer=replace(OFFER, gpus=gpus),
        facts=replace(FACTS, **facts),  # type: ignore[arg-type]
        clock=Clock(ahead=ahead, uncertain=0.001),
    )


def with_gpus(gpus: Gpus, offered: float) -> Machine:
    return replace(machine("10.0.0.1", gpus=offered), facts=replace(FACTS, gpus=gpus))


def software(check: str, *found: Software) -> Check:
    checks = of_software([machine(f"10.0.0.{n}", software=one) for n, one in enumerate(found)], HERE)
    return next(one for one in checks if one.check == check)


def test_machines_that_are_alike_have_neither_faults_nor_warnings() -> None:
    both = [machine("10.0.0.1"), machine("10.0.0.2")]
    checks = [*of_software(both, HERE), of_gpus(both), of_shared_memory(both), of_open_files(both)]
    checks += [of_clocks(both, in_store=True), of_all(both, {"10.0.0.1": OFFER, "10.0.0.2": OFFER}, {}, 0)]
    assert [(check.faults, check.warnings) for check in checks] == [((), ())] * len(checks)
    assert checks[0].found == "3.11.7"
    assert checks[-1].found == "2 of 2 answer: 10.0.0.1 and 10.0.0.2; 8 CPUs, 0 GPUs"


@pytest.mark.parametrize(
    ("check", "other", "fails"),
    [
        ("Python", replace(HERE, python="3.12.1"), True),
        ("Python", replace(HERE, python="3.11.9"), False),
        ("Ray", replace(HERE, ray="2.59.0"), True),
        ("torch", replace(HERE, torch=None), True),
        ("torch", replace(HERE, torch="2.8.0+cu128"), False),
        ("transformers", replace(HERE, transformers="5.1.0"), False),
        ("distilray's code", replace(HERE, code="ba9876543210"), True),
    ],
)
def test_another_version_fails_where_nothing_would_run_and_else_warns(check: str, other: Software, fails: bool) -> None:
    said = software(check, HERE, other, other)
    (sentence,) = said.faults if fails else said.warnings
    assert not (said.warnings if fails else said.faults)
    assert sentence.startswith("10.0.0.1 and 10.0.0.2 have ")
    assert sentence.endswith(".")


def test_what_torch_was_built_for_is_no_other_version() -> None:
    said = software("torch", HERE, replace(HERE, torch="2.9.1+cu128"))
    assert not said.faults
    assert not said.warnings
    assert said.found == "2.9.1+cpu on 10.0.0.0; 2.9.1+cu128 on 10.0.0.1"


@pytest.mark.parametrize(
    ("gpus", "offered", "words"),
    [
        (Gpus(names=("H100",) * 2, driver="560.1", built_for="12.8", seen_by_torch=2), 2.0, None),
        (Gpus(names=("H100",), driver="560.1", built_for=None, seen_by_torch=0), 1.0, "built without CUDA"),
        (Gpus(names=("H100",), driver="470.2", built_for="12.8", seen_by_torch=0), 1.0, "driver (470.2) up to date"),
        (Gpus(problem="nvidia-smi says: Driver/library version mismatch", seen_by_torch=0), 1.0, "version mismatch"),
        (Gpus(built_for="12.8", seen_by_torch=0), 1.0, "give the container its GPUs"),
    ],
)
def test_gpus_that_ray_offers_and_torch_cannot_use_are_a_fault(gpus: Gpus, offered: float, words: str | None) -> None:
    said = of_gpus([with_gpus(gpus, offered)])
    assert len(said.faults) == (words is not None)
    assert (words or "") in "".join(said.faults)


def test_gpus_that_ray_does_not_offer_or_that_differ_are_a_warning() -> None:
    idle = with_gpus(Gpus(names=("L4",), driver="560.1", built_for="12.8", seen_by_torch=1), 0.0)
    h100 = Gpus(names=("H100",), driver="560.1", built_for="12.8", seen_by_torch=1)
    busy = replace(with_gpus(h100, 1.0), address="b")
    said = of_gpus([idle, busy])
    assert not said.faults
    assert ["offers none" in said.warnings[0], "slowest" in said.warnings[1]] == [True, True]


def test_a_container_of_dockers_default_shared_memory_fails_with_two_gpus_and_else_is_slow() -> None:
    small = machine("10.0.0.1", shm_bytes=64 * 2**20)
    assert not of_shared_memory([small]).faults
    assert "64 MiB and Ray's object store 1.0 GiB" in of_shared_memory([small]).warnings[0]
    two = machine("10.0.0.1", gpus=2.0, shm_bytes=64 * 2**20)
    assert "NCCL" in of_shared_memory([two]).faults[0]


@pytest.mark.parametrize(
    ("ahead", "in_store", "faults", "warnings"),
    [(0.5, True, 0, 0), (-12.0, True, 0, 1), (1000.0, True, 1, 0), (1000.0, False, 0, 1)],
)
def test_a_clock_fails_where_a_store_would_refuse_its_signature(
    ahead: float, in_store: bool, faults: int, warnings: int
) -> None:
    said = of_clocks([machine("10.0.0.1", ahead=ahead)], in_store=in_store)
    assert (len(said.faults), len(said.warnings)) == (faults, warnings)
    assert all(("behind" if ahead < 0 else "ahead of") in sentence for sentence in (*said.faults, *said.warnings))


def test_few_open_files_warn_on_a_cluster_before_they_do_on_one_machine() -> None:
    one, other = machine("10.0.0.1", open_files=1024), machine("10.0.0.2", open_files=1024)
    assert not of_open_files([one]).warnings
    assert of_open_files([one, other]).warnings


def test_a_slow_network_is_told_by_its_slowest_link() -> None:
    links = [Link(source="a", target="b", speed=1e9), Link(source="b", target="a", speed=2e7)]
    (warning,) = of_network(links).warnings
    assert warning.startswith("b sends to a at 20 MB/s")
    assert "take 13 s" in warning
    assert not of_network(links[:1]).warnings


def test_storage_that_a_machine_does_not_see_or_may_not_write_is_a_fault_with_its_remedy() -> None:
    fast = Access(read=1e9, written=1e9)
    found = {DRIVER: fast, "a": Access(problem=UNSEEN), "b": Access(read=1e9, problem="cannot write there (denied)")}
    said = judged("/shared/runs", found)
    assert said.faults == (
        "/shared/runs: a does not see it: give a folder that all machines see, s3:// or gs://.",
        "/shared/runs: b cannot write there (denied): give the right to it, or the keys.",
    )
    assert judged("/shared/runs", {DRIVER: fast}).faults == ()
    assert "takes 4 min" in judged("s3://b", {DRIVER: fast, "a": Access(read=3e6, written=1e9)}).warnings[0]


def test_a_machine_that_cannot_import_us_is_told_how_the_code_gets_there() -> None:
    said = of_all([], {"a": OFFER}, {"a": "No module named 'pipeline'"}, 0)
    assert "--working-dir" in said.faults[0]
    assert "ray status" in of_all([], {"a": OFFER}, {"a": "no answer within 60 s"}, 0).faults[0]


def test_a_cluster_that_may_grow_says_that_those_to_come_were_not_asked() -> None:
    said = of_all([machine("a")], {"a": OFFER}, {}, 8)
    assert not said.faults
    assert said.warnings[0].startswith("the cluster may grow to 8 GPUs")


def test_many_machines_are_counted() -> None:
    assert several(list("abcdefg")) == "a, b, c and 4 more"
    assert several(list("abcd")) == "a, b, c and d"
