"""What does the GPU path compute, how fast, and does it survive? One card, a quarter of an hour, one command.

    python benchmarks/gpu.py --out DIR [--only losses,speed] [--cpu] [--record]

Asks one CUDA card, most important question first, and writes after each: DIR/gpu.json (`device`, `torch`, `driver`,
and for each part `ok`, `seconds` and its figures, or `error`) and DIR/gpu.md, the same as tables. Each part runs in a
process of its own within a time limit of its own, so that one that crashes, hangs or poisons the device costs only
itself, and what it had noted by then stays. Needs torch, transformers and this checkout; nothing else of ours: neither
Ray nor MLflow nor Arrow. `--cpu` runs every part small on the CPU, to see that the script itself works; `--record` puts
the speeds where `distil describe` finds them, as `benchmarks/measured.py DIR/gpu.json` does elsewhere.
docs/gpu.md explains the parts.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from gpu_parts import ablation, fp16, kernels, losses, micro_batch, packing, resume, speed, three_steps
from gpu_parts.sizes import CARD, CPU, Figures, Note, Sizes
from gpu_parts.tables import page
from measured import of_gpu, record

Part = Callable[[Sizes, torch.device, Note], None]
PARTS: dict[str, tuple[Part, int]] = {
    "losses": (losses.run, 60),
    "step": (three_steps.run, 30),
    "speed": (speed.run, 50),
    "speed_compiled": (speed.beside_compiled, 240),
    "packing": (packing.run, 60),
    "profile": (kernels.run, 30),
    "micro_batch": (micro_batch.run, 40),
    "resume": (resume.run, 40),
    "fp16": (fp16.run, 30),
    "ablation": (ablation.run, 60),
}
"""Each part, and the seconds after which it is ended on a card: 640 in all. A busy CPU is given ten times as long."""
FORK = multiprocessing.get_context("fork")
"""Children take over what is imported here, which costs seconds; CUDA starts in them, never in this process."""


def child(part: Part, sizes: Sizes, device: torch.device, to: Connection) -> None:
    """One part in its process: figures as they come, and the error that ended it."""
    try:
        part(sizes, device, to.send)
        to.send({"ok": True})
    except BaseException as error:
        traceback.print_exc()
        to.send({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"})


def ask(part: Part, limit: float, sizes: Sizes, device: torch.device, told: Note) -> Figures:
    """A part's figures, whatever becomes of its process; `told` hears of them each time there are more."""
    found: Figures = {"ok": False, "seconds": 0.0}
    here, there = FORK.Pipe(duplex=False)
    process = FORK.Process(target=child, args=(part, sizes, device, there))
    started = time.perf_counter()
    process.start()
    there.close()
    try:
        while here.poll(max(0.0, limit - (time.perf_counter() - started))):
            found |= here.recv()
            found["seconds"] = time.perf_counter() - started
            told(found)
        found["error"] = f"ran past its limit of {limit:.0f} s"
        process.kill()
    except EOFError:
        process.join()
        if not found["ok"] and "error" not in found:
            found["error"] = f"its process ended with exit status {process.exitcode}"
    found["seconds"] = time.perf_counter() - started
    found["ok"] = found["ok"] and not found.get("faults")
    told(found)
    return found


def card(sizes: Sizes, device: torch.device, note: Note) -> None:
    """Which card this is; asked in a process of its own, as the parent must not start CUDA."""
    note({"name": torch.cuda.get_device_name(device) if torch.cuda.is_available() else None})


def driver() -> str | None:
    """The NVIDIA driver's version."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def write(folder: Path, found: Figures) -> None:
    """Both files as things stand; in full beside their places first, so that a cut leaves the ones before."""
    for name, text in (("gpu.json", json.dumps(found, indent=1)), ("gpu.md", page(found))):
        fresh = folder / f".{name}"
        fresh.write_text(text)
        os.replace(fresh, folder / name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--cpu", action="store_true", help="every part small on the CPU")
    parser.add_argument("--record", action="store_true", help="for `distil describe`: into pipeline/cost/measured.json")
    asked = parser.parse_args()
    names = asked.only.split(",")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        parser.error(f"--only has {unknown[0]!r}, which is none of {', '.join(PARTS)}")
    sizes, device = (CPU, torch.device("cpu")) if asked.cpu else (CARD, torch.device("cuda:0"))
    name = "cpu" if asked.cpu else ask(card, 60, sizes, device, lambda found: None).get("name")
    if name is None:
        print(
            "there is no CUDA device here: run this where there is one, or with --cpu to try the script.",
            file=sys.stderr,
        )
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    found: Figures = {"device": name, "torch": torch.__version__, "driver": None if asked.cpu else driver()}
    for title in names:
        part, limit = PARTS[title][0], PARTS[title][1] * (10 if asked.cpu else 1)
        started = time.perf_counter()
        print(f"{title} …", flush=True)

        def told(figures: Figures, title: str = title) -> None:
            found[title] = figures
            write(asked.out, found)

        figures = ask(part, limit, sizes, device, told)
        state = "ok" if figures["ok"] else figures.get("error") or "; ".join(figures["faults"])
        print(f"{title}: {state}, {time.perf_counter() - started:.0f} s", flush=True)
    if asked.record and not asked.cpu:
        record(of_gpu(found))
    print(f"{asked.out / 'gpu.json'} and gpu.md have it all.")
    return 0 if all(found[title]["ok"] for title in names) else 1


if __name__ == "__main__":
    sys.exit(main())
