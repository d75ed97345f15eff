"""From one GPU to many, on paper: how long a step takes, by arithmetic whose every assumption is a field. No torch."""

from dataclasses import dataclass

FORMULA = """\
step(W)     = compute + exposed + checkpoint + fixed
compute     = B·L / (W·g)                    B blocks of L tokens, W GPUs of g tokens/s each
all-reduce  = 2·(W−1)/W · bytes / bandwidth  a ring: every GPU sends and receives this much
exposed     = max(0, all-reduce − backward)  DDP sends while the last micro-batch's backward pass still computes
backward    = compute / ceil(B / (W·m)) · b  m blocks a micro-batch; b: the student's backward pass's share of a step
checkpoint  = bytes of one / storage / every rank 0 writes, the others wait for it
tokens/s(W) = B·L / step(W)
restart     = (checkpoint + teacher) / storage + both / bandwidth   rank 0 reads, the others are sent it, whatever W"""


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What the projection takes for granted. Nothing here was measured on a cluster."""

    global_batch: int = 4096
    """B, blocks; the paper's."""
    block_length: int = 512
    """L, tokens; the paper's."""
    micro_batch: int = 16
    """m, blocks."""
    flops_per_token: float
    """Of a step's matrix products: teacher forward, student forward and backward, both heads."""
    gpu_flops: float = 70e12
    """Dense bf16 that the vendor states for one GPU: an A10G, as in cluster.yaml."""
    utilisation: float = 0.35
    """Share of it that a step reaches."""
    backward_share: float = 0.4
    """b: 2 of the student's 3 parts, where teacher's and student's forward passes are the rest."""
    gradient_bytes: float
    """Of all the student's gradients, in fp32."""
    bandwidth: float = 1.25e9
    """Bytes/s between two machines with one GPU each: 10 Gbit/s, as AWS states for a g5.xlarge at its best."""
    checkpoint_bytes: float
    """Weights and two moments, in fp32."""
    teacher_bytes: float
    """The teacher's weights, in fp32."""
    checkpoint_every: int = 500
    """Steps."""
    storage_bandwidth: float = 200e6
    """Bytes/s of one writer to an object store."""
    fixed_seconds: float = 0.02
    """A step's own, whatever its size: launching kernels, clipping, AdamW."""
    data_bytes_per_token: float
    """Read from storage."""
    masked_tokens_per_core: float
    """Tokens/s that one CPU core reads and masks."""
    most_workers: int = 64
    """Canonical streams of a plan: more workers than these are refused."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One number of GPUs."""

    gpus: int
    tokens_per_second: float
    efficiency: float
    """Of W times one GPU's tokens/s."""
    step_seconds: float
    allreduce_seconds: float
    exposed_seconds: float
    data_bytes_per_second: float
    data_cores: float
    """CPU cores that reading and masking keep busy, over the whole cluster."""
    allowed: bool
    """Whether the plan has a stream for every worker."""


def project(given: Assumptions, gpus: int) -> Point:
    """The formula above for `gpus` GPUs."""
    step, allreduce, exposed = step_seconds(given, gpus)
    rate = given.global_batch * given.block_length / step
    alone = given.global_batch * given.block_length / step_seconds(given, 1)[0]
    return Point(
        gpus=gpus,
        tokens_per_second=rate,
        efficiency=rate / (gpus * alone),
        step_seconds=step,
        allreduce_seconds=allreduce,
        exposed_seconds=exposed,
        data_bytes_per_second=rate * given.data_bytes_per_token,
        data_cores=rate / given.masked_tokens_per_core,
        allowed=gpus <= given.most_workers,
    )


def step_seconds(given: Assumptions, gpus: int) -> tuple[float, float, float]:
    """(a step, its all-reduce, the part of the all-reduce that nothing hides)."""
    tokens = given.global_batch * given.block_length
    compute = tokens * given.flops_per_token / (gpus * given.gpu_flops * given.utilisation)
    allreduce = 2 * (gpus - 1) / gpus * given.gradient_bytes / given.bandwidth
    micro_batches = -(-given.global_batch // (gpus * given.micro_batch))
    exposed = max(0.0, allreduce - compute / micro_batches * given.backward_share)
    checkpoint = given.checkpoint_bytes / given.storage_bandwidth / given.checkpoint_every
    return compute + exposed + checkpoint + given.fixed_seconds, allreduce, exposed


@dataclass(frozen=True, kw_only=True)
class Restart:
    """What a start from a checkpoint moves."""

    gpus: int
    store_bytes: float
    """Out of the store: one checkpoint, read and verified by rank 0, and one teacher."""
    checkpoints: float
    """The same in checkpoints."""
    every_rank_bytes: float
    """What it would be if every rank read a checkpoint to verify it and again to load it, and both models."""
    seconds: float
    """Reading, then sending from one machine to the next, all at once."""


def restart(given: Assumptions, gpus: int) -> Restart:
    """The last line of the formula, and what rank 0 spares the others."""
    moved = given.checkpoint_bytes + given.teacher_bytes
    sent = moved if gpus > 1 else 0.0
    return Restart(
        gpus=gpus,
        store_bytes=moved,
        checkpoints=moved / given.checkpoint_bytes,
        every_rank_bytes=gpus * (2 * given.checkpoint_bytes + given.teacher_bytes + given.gradient_bytes),
        seconds=moved / given.storage_bandwidth + sent / given.bandwidth,
    )
