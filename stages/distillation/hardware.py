"""What the hardware does well: which dtype it multiplies fast, which attention, and what becomes of freed memory.

No Ray here, so that benchmarks set a process up exactly as a worker does.
"""

import ctypes
import platform

import torch

from stages.distillation.models.piece_attention import PIECES
from stages.distillation.precision import Precision
from stages.machine import memory, processor

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""glibc's names for what mallopt(3) sets."""
KEPT_BYTES = 32 * 1024**2
"""The largest tensor whose memory `keep_freed_memory` can keep: glibc's own limit."""


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of matrix products: what is asked for, or under "auto" what the hardware multiplies fast."""
    named = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "fp64": torch.float64}
    if precision != "auto":
        return named[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if cpu_multiplies_bf16() else torch.float32


def cpu_multiplies_bf16() -> bool:
    """Whether this CPU has instructions for bf16 products (AVX-512 BF16 or AMX); emulated ones are slower than fp32."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def name_of(device: torch.device) -> str:
    """The card's, or the processor's with its memory: what a micro-batch that was found to fit belongs to."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {memory() / 2**30:.0f} GiB"


def attention_for(device: torch.device) -> str:
    """torch's fused attention on GPUs, by the name under which it knows pieces (`models/piece_attention.py`); plain
    products on CPUs, where the fused one's backward pass in bf16 takes more than three times as long (16 × 8 heads ×
    128 × 32 on one core: 53 ms against 16)."""
    return PIECES if device.type == "cuda" else "eager"


def keep_freed_memory() -> None:
    """Have glibc keep what a step frees for the next one. By default megabytes go back to the kernel and come again,
    zeroed, page by page: 7 to 15 % of a step's time at the demo's size. One arena for all
    threads: Ray Train runs the loop in a thread that is not the process's first, and only the first one's arena grows
    in one piece (the others' are cut into 64 MB). Nothing is done where there is no glibc."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, KEPT_BYTES), (M_TRIM_THRESHOLD, 2**31 - 1)):
            mallopt(option, value)
