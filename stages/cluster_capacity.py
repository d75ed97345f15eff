"""What a cluster has, or may have: an autoscaler adds machines only once something asks for them."""

import os

import ray

GPUS_VARIABLE = "DISTILRAY_MAX_GPUS"
"""How many GPUs the cluster may grow to. Ray's autoscaler tells nobody, so the file that starts the cluster does."""


def may_grow() -> bool:
    """Whether machines may join that are not there yet."""
    return bool(os.environ.get(GPUS_VARIABLE))


def most_gpus() -> int:
    """GPUs that the cluster has or may grow to."""
    return max(int(ray.cluster_resources().get("GPU", 0)), int(os.environ.get(GPUS_VARIABLE) or 0))
