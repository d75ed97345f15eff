"""deploy/rayjob.yaml: valid by KubeRay's reference, in step with cluster.yaml, and such that its pods find a node."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kuberay import KUBERAY

ROOT = Path(__file__).resolve().parent.parent
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture
def rayjob() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "rayjob.yaml").read_text())


def test_rayjob_has_all_that_kuberay_requires_and_nothing_that_it_would_drop(rayjob: dict[str, Any]) -> None:
    found = jsonschema.Draft202012Validator(KUBERAY).iter_errors(rayjob)
    assert [f"{error.json_path}: {error.message}" for error in found] == []


def test_rayjob_token_versions_and_gpus_are_those_of_cluster_yaml(
    rayjob: dict[str, Any], cluster: dict[str, Any]
) -> None:
    spec = rayjob["spec"]["rayClusterSpec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["rayVersion"] == PINS["ray"]
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    (group,) = spec["workerGroupSpecs"]
    gpu = cluster["available_node_types"]["gpu"]
    assert (group["minReplicas"], group["maxReplicas"]) == (gpu["min_workers"], gpu["max_workers"])
    (head,) = spec["headGroupSpec"]["template"]["spec"]["containers"]
    (worker,) = group["template"]["spec"]["containers"]
    assert "nvidia.com/gpu" not in head["resources"]["limits"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "DISTILRAY_MAX_GPUS", "value": str(group["maxReplicas"])} in head["env"]
    base = (ROOT / "deploy" / "Dockerfile").read_text()
    for container, image in ((head, cluster["docker"]["head_image"]), (worker, cluster["docker"]["worker_image"])):
        tag = image.split(":")[1]
        assert container["image"] == f"YOUR-REGISTRY/distilray:{tag}"
        assert f"rayproject/ray:{tag}" in base
        assert f"/distilray:{tag}" in base


GKE_LEAVES = {4: (3.92, 13498416 / 1024**2), 8: (7.91, 27.7)}
"""Cores and GiB that pods get of a machine of so many cores with 4 GB each: Google's example, and its formula."""


def test_rayjob_pods_fit_on_machines_beside_what_kubernetes_and_its_daemons_take(rayjob: dict[str, Any]) -> None:
    spec = rayjob["spec"]["rayClusterSpec"]
    (group,) = spec["workerGroupSpecs"]
    autoscaler = 0.5  # cores and GiB, of KubeRay's container in the head's pod
    for template, cores, beside in ((spec["headGroupSpec"], 8, autoscaler), (group, 4, 0.0)):
        (container,) = template["template"]["spec"]["containers"]
        asked = container["resources"]["requests"]
        assert container["resources"]["limits"] == asked
        left_cores, left_memory = GKE_LEAVES[cores]
        assert float(asked["cpu"]) + beside <= left_cores - 0.5  # what daemons ask for
        assert float(asked["memory"].removesuffix("Gi")) + beside <= left_memory - 1


def test_rayjob_runs_on_any_cloud_s_gpu_nodes_and_has_its_secrets_in_every_pod(rayjob: dict[str, Any]) -> None:
    spec = rayjob["spec"]["rayClusterSpec"]
    (group,) = spec["workerGroupSpecs"]
    assert group["template"]["spec"]["nodeSelector"] == {}
    tolerated = {toleration["key"] for toleration in group["template"]["spec"]["tolerations"]}
    assert tolerated == {"nvidia.com/gpu", "cloud.google.com/gke-spot"}
    for template in (spec["headGroupSpec"], group):
        assert template["template"]["spec"]["serviceAccountName"] == "distilray"
        (container,) = template["template"]["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "distilray", "optional": True}}]
