"""A cluster that may grow, and workers that may be few or many."""

from dataclasses import replace

import pytest

from pipeline import recipes
from pipeline.config.preflight import preflight_on_cluster
from pipeline.config.schema import from_yaml, override, to_yaml
from pipeline.runtime.cluster import has_other_machines
from pipeline.tracking.config import TrackingConfig
from stages.errors import ConfigError, InputError
from stages.training.config import TrainConfig
from stages.training.driver import gpu_wanted, scaling


def test_gpu_wanted_counts_gpus_that_the_autoscaler_may_add(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = TrainConfig(gpu=True, workers=8)
    with pytest.raises(InputError, match=r"asks for 8 GPU\(s\) and this cluster has 0"):
        gpu_wanted(asked)
    monkeypatch.setenv("DISTILRAY_MAX_GPUS", "8")
    assert gpu_wanted(asked)
    assert gpu_wanted(replace(asked, gpu=None))
    assert not gpu_wanted(replace(asked, gpu=False))
    monkeypatch.setenv("DISTILRAY_MAX_GPUS", "6")
    assert gpu_wanted(replace(asked, workers=(4, 8)))
    with pytest.raises(InputError, match=r"asks for 8 GPU\(s\) and this cluster has 6"):
        gpu_wanted(asked)


def test_has_other_machines_is_true_before_they_have_come(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_other_machines()
    monkeypatch.setenv("DISTILRAY_MAX_GPUS", "8")
    assert has_other_machines()


def test_preflight_on_cluster_sqlite_or_a_local_folder_with_workers_elsewhere_is_refused(
    ray_session: None, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = recipes.demo()
    preflight_on_cluster(config, other_machines=False)
    with pytest.raises(InputError, match=r"tracking\.uri is sqlite:.*workers run on other machines"):
        preflight_on_cluster(config, other_machines=True)
    served = replace(config, tracking=TrackingConfig(uri=server))
    with pytest.raises(ConfigError, match="storage is None but workers run on other machines"):
        preflight_on_cluster(served, other_machines=True)
    preflight_on_cluster(replace(served, storage="s3://bucket/runs"), other_machines=True)


def test_workers_as_a_pair_survive_the_command_line_and_yaml() -> None:
    config = override(recipes.demo(), [("distil.workers", "2,8")])
    assert config.distil.workers == (2, 8)
    assert from_yaml(to_yaml(config), "it").distil == config.distil
    assert override(config, [("distil.workers", "4")]).distil.workers == 4


@pytest.mark.parametrize("workers", [0, (0, 2), (3, 2), (-1, -1)])
def test_workers_none_at_all_or_more_than_the_most_are_refused(workers: int | tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"distil\.workers is .* but must be above 0, or two such numbers"):
        TrainConfig(workers=workers)


def test_scaling_spreads_workers_over_machines_and_books_for_the_most(ray_session: None) -> None:
    fixed = scaling(TrainConfig(workers=4), use_gpu=False)
    elastic = scaling(TrainConfig(workers=(1, 4)), use_gpu=True)
    assert (fixed.num_workers, elastic.num_workers) == (4, (1, 4))
    assert fixed.placement_strategy == elastic.placement_strategy == "SPREAD"
    assert elastic.resources_per_worker == {"CPU": 0.5, "GPU": 1.0}
