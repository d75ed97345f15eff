"""What a machine of a cluster is asked, by an actor of its own; nothing heavy is imported until it is needed.

Whatever goes wrong there comes back as a sentence: the doctor has no other use for an exception than to tell of it.
"""

import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import ray

from pipeline.runtime.environment import installed
from stages.storage import Folder

PAYLOAD = 8 * 2**20
"""Bytes that are sent once in each direction: enough for a figure, too few to wait for."""
UNSEEN = "does not see it"
_SMI_SECONDS, _TORCH_SECONDS = 30, 120
_ASK_SMI = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
_ASK_TORCH = """
import json, torch
seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
for index in range(seen):
    torch.ones(8, device=index).sum().item()
print(json.dumps({"built_for": torch.version.cuda, "seen": seen}))
"""


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """The GPUs of a machine, by NVIDIA's tool and by torch."""

    names: tuple[str, ...] = ()
    driver: str | None = None
    problem: str | None = None
    """Why the tool, or torch on one of them, fails."""
    built_for: str | None = None
    """The CUDA that torch was built for; None for a build without, and where torch was not asked."""
    seen_by_torch: int | None = None
    """None where torch was not asked, since there is no GPU."""


@dataclass(frozen=True, kw_only=True)
class Software:
    """What a machine would run with. Versions are None where a package is not installed."""

    python: str
    ray: str | None
    torch: str | None
    transformers: str | None
    code: str
    """A digest of the source files of ours."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a machine says of itself."""

    software: Software
    gpus: Gpus
    shm_bytes: int | None
    """Size of /dev/shm; None where there is none."""
    open_files: int
    """The limit for a process that Ray starts."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """How a machine gets at the storage: bytes per second, or what is wrong."""

    read: float | None = None
    written: float | None = None
    problem: str | None = None


class Probe:
    """The actor: one a machine."""

    def facts(self, gpus: float) -> Facts:
        """Everything that a machine knows by itself; `gpus` is what Ray offers of it."""
        return Facts(
            software=software(), gpus=find_gpus(gpus), shm_bytes=size_of("/dev/shm"), open_files=most_open_files()
        )

    def now(self) -> float:
        """This machine's clock, seconds since 1970."""
        return time.time()

    def access(self, folder: Folder, name: str, digest: str) -> Access:
        """Read the driver's file from `folder`, then write one beside it and remove it again."""
        return access(folder, name, digest)

    def make(self, size: int) -> bytes:
        """So many bytes, in the object store of this machine."""
        return os.urandom(size)

    def fetch(self, refs: "Sequence[ray.ObjectRef[bytes]]") -> float:
        """Bytes per second at which the last of some objects comes from another machine; the others are the way."""
        speed = 0.0
        for ref in refs:
            started = time.perf_counter()
            size = len(ray.get(ref))
            speed = size / (time.perf_counter() - started)
        return speed


def software() -> Software:
    """That of this process."""
    return Software(
        python=platform.python_version(),
        ray=installed("ray"),
        torch=installed("torch"),
        transformers=installed("transformers"),
        code=code_digest(Path(__file__).resolve().parents[2]),
    )


def code_digest(root: Path) -> str:
    """Of the source files of both packages in `root`, by their names."""
    found = hashlib.sha256()
    for file in sorted(file for package in ("pipeline", "stages") for file in (root / package).rglob("*.py")):
        found.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
    return found.hexdigest()[:12]


def find_gpus(offered: float) -> Gpus:
    """The machine's GPUs; torch is asked where there are some, in a process that sees all of them."""
    try:
        done = subprocess.run(_ASK_SMI, capture_output=True, text=True, timeout=_SMI_SECONDS)
    except FileNotFoundError:  # no driver of NVIDIA's
        found = Gpus()
    except subprocess.TimeoutExpired:
        found = Gpus(problem=f"nvidia-smi gives no answer within {_SMI_SECONDS} s")
    else:
        lines = [line.split(", ") for line in done.stdout.splitlines() if line.count(", ") == 1]
        said = done.stderr.strip() or done.stdout.strip() or "no GPU"
        found = (
            Gpus(names=tuple(name for name, _ in lines), driver=lines[0][1])
            if done.returncode == 0 and lines
            else Gpus(problem=f"nvidia-smi says: {said.splitlines()[0].rstrip('.')}")
        )
    return asked_torch(found) if found.names or offered else found


def asked_torch(gpus: Gpus) -> Gpus:
    """With what torch makes of them: whether a tensor can be put on each."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    command = [sys.executable, "-c", _ASK_TORCH]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TORCH_SECONDS, env=environment)
    except subprocess.TimeoutExpired:
        return replace(gpus, seen_by_torch=0, problem=f"torch gives no answer within {_TORCH_SECONDS} s")
    if done.returncode:
        last = (done.stderr.strip() or "no word").splitlines()[-1].rstrip(".")
        return replace(gpus, seen_by_torch=0, problem=gpus.problem or f"torch says: {last}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return replace(gpus, built_for=answer["built_for"], seen_by_torch=answer["seen"])


def access(folder: Folder, name: str, digest: str) -> Access:
    """How this process gets at `folder`, in which the file `name` has that SHA-256."""
    try:
        if not folder.exists(name):  # which also loads what reads there, and opens the connection
            return Access(problem=UNSEEN)
        started = time.perf_counter()
        data = folder.read_bytes(name)
        read = len(data) / (time.perf_counter() - started)
    except Exception as error:  # every kind of store raises its own
        return Access(problem=f"cannot read there ({in_a_line(error)})")
    if hashlib.sha256(data).hexdigest() != digest:
        return Access(problem="reads other bytes than were written")
    try:
        return Access(read=read, written=write_and_remove(folder, data))
    except Exception as error:
        return Access(read=read, problem=f"cannot write there ({in_a_line(error)})")


def write_and_remove(folder: Folder, data: bytes) -> float:
    """Bytes per second; raises what the store raises."""
    place = folder / f"write-{uuid4().hex[:8]}"
    started = time.perf_counter()
    place.write_bytes("payload", data)
    seconds = time.perf_counter() - started
    place.remove()
    return len(data) / seconds


def size_of(path: str) -> int | None:
    """Bytes of the file system at `path`; None where there is none."""
    try:
        found = os.statvfs(path)
    except FileNotFoundError:
        return None
    return found.f_frsize * found.f_blocks


def most_open_files() -> int:
    """How many files a process like this one may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else sys.maxsize


def in_a_line(error: BaseException) -> str:
    """What an error says, in one line and without its full stop."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
