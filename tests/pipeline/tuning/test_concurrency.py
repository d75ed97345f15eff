"""How many trials a cluster has room for: never so many that their workers leave no CPU to read with."""

from dataclasses import replace

import pytest

from pipeline.tuning.concurrency import DRIVER_CPUS, concurrency
from pipeline.tuning.config import TuneConfig
from stages.distil.config import DistilConfig
from stages.errors import InputError


@pytest.mark.parametrize(
    ("cpus", "gpus", "workers", "gpu_share", "trials", "concurrent"),
    [
        (2, 0, 1, 1.0, 16, 2),  # a laptop
        (1, 0, 1, 1.0, 16, 1),
        (64, 0, 1, 1.0, 16, 4),  # a quarter of the trials
        (64, 0, 1, 1.0, 3, 1),
        (64, 0, 1, 1.0, 400, 64),
        (64, 0, 8, 1.0, 400, 8),
        (64, 8, 1, 1.0, 400, 8),
        (64, 8, 4, 1.0, 400, 2),
        (64, 8, 1, 0.25, 400, 32),
        (4, 8, 1, 0.25, 400, 4),  # more places on the GPUs than CPUs to feed them
    ],
)
def test_room_is_what_fits_and_the_workers_hold_half_of_the_cpus_at_most(
    cpus: int, gpus: int, workers: int, gpu_share: float, trials: int, concurrent: int
) -> None:
    distil = DistilConfig(workers=workers, gpu_share=gpu_share)
    tune = TuneConfig(trials=trials, spend=1000)
    found = concurrency(tune, distil, {"CPU": cpus, "GPU": gpus}, gpu=gpus > 0)
    assert found.trials == concurrent
    booked = found.trials * workers * found.cpus_per_worker
    assert 0 < booked <= max(cpus / 2, 0.01)
    assert booked + found.trials * DRIVER_CPUS + 0.25 <= cpus  # a reading task always finds a place
    assert found.trials * workers * found.threads <= max(cpus, found.trials * workers)
    if gpus:
        assert found.trials * workers * gpu_share <= gpus


def test_room_the_user_asks_for_less_or_for_too_much() -> None:
    assert concurrency(TuneConfig(max_concurrent=1), DistilConfig(), {"CPU": 8.0}, gpu=False).trials == 1
    assert concurrency(TuneConfig(max_concurrent=99), DistilConfig(), {"CPU": 8.0}, gpu=False).trials == 8


def test_room_for_not_even_one_trial_is_refused_with_what_is_missing() -> None:
    with pytest.raises(InputError, match=r"needs 4 CPU\(s\) and 4 GPU\(s\) and this cluster has 64 CPU\(s\) and 2 GPU"):
        concurrency(TuneConfig(), DistilConfig(workers=4), {"CPU": 64.0, "GPU": 2.0}, gpu=True)
    with pytest.raises(InputError, match=r"needs 4 CPU\(s\) and this cluster has 2"):
        concurrency(TuneConfig(), DistilConfig(workers=4), {"CPU": 2.0}, gpu=False)


def test_room_of_a_config_keeps_what_the_user_set() -> None:
    found = concurrency(TuneConfig(), DistilConfig(), {"CPU": 8.0}, gpu=False)
    assert (found.of(DistilConfig()).threads, found.of(DistilConfig()).cpus_per_worker) == (2, 1.0)
    mine = replace(DistilConfig(), threads=3, cpus_per_worker=0.7)
    assert found.of(mine) == mine
