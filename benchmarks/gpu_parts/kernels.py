"""Where a micro-batch's time goes: the kernels that take most, gaps between them, and what the host does meanwhile."""

import time
from collections import defaultdict
from statistics import median

import torch
from shapes import ours
from torch.autograd import DeviceType

from gpu_parts.sizes import Figures, Note, Sizes, synchronize

MOST, STEPS = 30, 3


def host_seconds(step: object, rows: int, device: torch.device) -> tuple[float, float]:
    """(seconds until a step's last kernel is launched, seconds until it is done), medians of five."""
    launched, done = [], []
    for _ in range(6):
        synchronize(device)
        started = time.perf_counter()
        step(rows)  # type: ignore[operator]
        launched.append(time.perf_counter() - started)
        synchronize(device)
        done.append(time.perf_counter() - started)
    return median(launched[1:]), median(done[1:])


def by_name(events: list[tuple[str, float, float]]) -> list[Figures]:
    """The events (name, start, end in µs) that take most, added up by name, per step."""
    spent: dict[str, list[float]] = defaultdict(list)
    for name, start, end in events:
        spent[name].append(end - start)
    total = sum(map(sum, spent.values()))
    ranked = sorted(spent.items(), key=lambda pair: -sum(pair[1]))[:MOST]
    return [
        {
            "kernel": name[:110],
            "calls": len(times) / STEPS,
            "ms": sum(times) / STEPS / 1e3,
            "share": sum(times) / total,
        }
        for name, times in ranked
    ]


def gaps(events: list[tuple[str, float, float]]) -> float:
    """Share of the time from the first kernel's start to the last one's end in which none runs."""
    ordered = sorted(events, key=lambda event: event[1])
    idle, end = 0.0, ordered[0][2]
    for _, start, stop in ordered[1:]:
        idle += max(0.0, start - end)
        end = max(end, stop)
    return idle / (end - ordered[0][1])


def run(sizes: Sizes, device: torch.device, note: Note) -> None:
    """Host and device time by micro-batch; a profile at one of them. On a CPU its operations instead of kernels."""
    step = ours(sizes.base, device)
    table = []
    for rows in sizes.micro_batches:
        host, whole = host_seconds(step, rows, device)
        table.append({"micro_batch": rows, "host_ms": host * 1e3, "whole_ms": whole * 1e3})
        note({"host": table})
    rows = sizes.one_size
    with torch.profiler.profile() as found:
        for _ in range(STEPS):
            step(rows)
        synchronize(device)
    kind = DeviceType.CUDA if device.type == "cuda" else DeviceType.CPU
    events = [
        (event.name, event.time_range.start, event.time_range.end)
        for event in found.events()
        if event.device_type == kind and not event.name.startswith("ProfilerStep")
    ]
    note(
        {
            "micro_batch": rows,
            "kernels_per_step": len(events) / STEPS,
            "idle_between_kernels": gaps(events),
            "kernel_ms_per_step": sum(end - start for _, start, end in events) / STEPS / 1e3,
            "kernels": by_name(events),
        }
    )
