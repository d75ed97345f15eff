"""Hours: operations by the speed that is recorded for the card or the processor, on the workers that are asked for."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pipeline.cli.progress_rate import amount, duration
from pipeline.config.schema import PipelineConfig
from pipeline.cost.measured import Measured, nearest, read
from pipeline.cost.trainings import Training, trainings
from pipeline.records.products import Products
from stages.cluster_capacity import GPUS_VARIABLE
from stages.machine import processor
from stages.training.start.begin import COMPILED_STEPS


@dataclass(frozen=True, kw_only=True)
class Place:
    """How long it would take somewhere. Field names are a contract with whoever reads the JSON: docs/cli.md."""

    device: str
    workers: int
    hours: float | None
    """As if workers never waited for one another, nor for text, evaluations or checkpoints; None: see `why`."""
    hours_per_billion_tokens: float | None
    """The same, for what is known before the text is packed."""
    why: str | None
    """Why there are no hours."""
    measured: str | None
    """What they follow from."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a stage that would run would cost, or a search. Field names are a contract too."""

    what: str
    steps: int | None
    tokens: float | None
    flops: float | None
    at_most: bool
    places: tuple[Place, ...]


def costs(config: PipelineConfig, products: Products, recorded: Sequence[Measured] | None = None) -> tuple[Cost, ...]:
    """Of what would run, and of a search. Raises `InputError` where the teacher cannot be looked at."""
    table = read() if recorded is None else recorded
    return tuple(
        Cost(
            what=one.what,
            steps=one.steps,
            tokens=one.tokens,
            flops=one.flops,
            at_most=one.at_most,
            places=tuple(_place(one, device, on_card, table) for device, on_card in _devices(one, table)),
        )
        for one in trainings(config, products)
    )


def _devices(training: Training, recorded: Sequence[Measured]) -> list[tuple[str, bool]]:
    """(name, whether it is a card) of what the training would compute on: this machine's, or, where cards are asked for
    that are elsewhere, every one that is recorded."""
    here = [torch.cuda.get_device_name(0)] if torch.cuda.is_available() else []
    wants = training.train.gpu
    if wants is None:
        wants = bool(here) or bool(os.environ.get(GPUS_VARIABLE))
    if not wants:
        return [(processor(), False)]
    elsewhere = sorted({one.device for one in recorded if one.threads is None})
    return [(device, True) for device in here or elsewhere or ["a GPU"]]


def _place(training: Training, device: str, on_card: bool, recorded: Sequence[Measured]) -> Place:
    train, steps = training.train, training.steps_each
    workers = train.most_workers
    long = steps is None or steps >= COMPILED_STEPS
    compiled = on_card and (long if train.compile == "auto" else train.compile)
    work = None
    if train.micro_batch != "auto":
        rows = min(train.micro_batch, -(-train.global_batch // workers))
        work = rows * training.block_length * training.flops_per_token
    found = nearest(recorded, device, micro_batch_flops=work, packing=training.packing, compiled=compiled)
    if found is None:
        command = "gpu.py --out DIR --record" if on_card else "step.py --record"
        why = f"no speed is recorded for {device}: python benchmarks/{command} measures it"
        return Place(device=device, workers=workers, hours=None, hours_per_billion_tokens=None, why=why, measured=None)
    speed = found.flops_per_second * (workers if on_card else _times_the_cores(found, workers))
    unknown = "the steps follow from the text, which is not packed yet"
    return Place(
        device=device,
        workers=workers,
        hours=None if training.flops is None else training.flops / speed / 3600,
        hours_per_billion_tokens=1e9 * training.flops_per_token / speed / 3600,
        why=unknown if training.flops is None else None,
        measured=_said(found),
    )


def _times_the_cores(found: Measured, workers: int) -> float:
    """By how much a measurement's threads go into those of this machine, which its workers share; on a cluster each
    worker is taken to have a machine like this one."""
    machines = workers if os.environ.get("RAY_ADDRESS") else 1
    return machines * len(os.sched_getaffinity(0)) / (found.threads or 1)


def _said(found: Measured) -> str:
    how = f"{found.packing}, compiled" if found.compiled else found.packing
    threads = "" if found.threads is None else f", {found.threads} threads"
    return (
        f"{found.tokens_per_second:,.0f} tokens/s of {found.shape}, {found.micro_batch_tokens:,} tokens a micro-batch, "
        f"{how}{threads}; {found.command}"
    )


def lines(found: Sequence[Cost]) -> list[str]:
    """What a person reads: a line for each, and one for each place."""
    shown = []
    for one in found:
        most = "at most " if one.at_most else ""
        parts = [f"{one.steps:,} steps"] if one.steps is not None else []
        if one.tokens is not None and one.flops is not None:
            parts += [f"{most}{amount(one.tokens)} tokens", f"{operations(one.flops)} of matrix products"]
        name = "a search (distil tune)" if one.what == "search" else one.what
        shown.append(f"cost of {name}: {', '.join(parts) or 'not known yet'}")
        for place in one.places:
            on = f"  on {place.device}, {place.workers} worker(s): "
            if place.hours is not None:
                shown.append(f"{on}{most}{duration(3600 * place.hours)}, by {place.measured}")
            elif place.hours_per_billion_tokens is not None:
                each = duration(3600 * place.hours_per_billion_tokens)
                shown.append(f"{on}{each} for a billion tokens, by {place.measured}; {place.why}")
            else:
                shown.append(f"{on}{place.why}")
    return shown


def operations(flops: float) -> str:
    """`3.1 PFLOP`."""
    for size, name in ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP")):
        if flops >= size:
            return f"{flops / size:,.1f} {name}"
    return f"{flops / 1e9:,.1f} GFLOP"
