"""cluster.yaml and deploy/: valid by Ray's own schema and by KubeRay's; and what they say of access and versions."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml
from kuberay import KUBERAY
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parent.parent
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture
def rayjob() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "rayjob.yaml").read_text())


def for_gcp(config: dict[str, Any]) -> dict[str, Any]:
    """The lines that cluster.yaml names after "GCP:" in the place of Amazon's."""
    provider = {"type": "gcp", "region": "us-west1", "availability_zone": "us-west1-b", "project_id": "mine"}
    head, gpu = config["available_node_types"]["head"], config["available_node_types"]["gpu"]
    head |= {"resources": {"CPU": 8}, "node_config": {"machineType": "n2-standard-8"}}
    gpu |= {"resources": {"CPU": 4, "GPU": 1}}
    gpu["node_config"] = {"machineType": "g2-standard-4", "scheduling": [{"preemptible": True}]}
    return config | {"provider": provider}


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_cluster_yaml_is_valid_by_ray_s_schema_and_its_own_checks(cluster: dict[str, Any], cloud: str) -> None:
    config = cluster if cloud == "aws" else for_gcp(cluster)
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["head_node_type"] == "head"
    assert prepared["available_node_types"]["head"]["max_workers"] == 0  # no second head
    assert prepared["head_setup_commands"]
    assert prepared["worker_setup_commands"]


def test_cluster_yaml_field_that_ray_does_not_know_would_be_caught(cluster: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(cluster | {"initial_workers": 2}))


def test_cluster_yaml_images_are_this_project_s_ray_and_python(cluster: dict[str, Any]) -> None:
    image = f"rayproject/ray:{PINS['ray']}-py311"
    assert cluster["docker"]["head_image"] == image
    assert cluster["docker"]["worker_image"] == f"{image}-gpu"


def test_cluster_yaml_gpu_machines_come_and_go_and_the_head_stays(cluster: dict[str, Any]) -> None:
    gpu = cluster["available_node_types"]["gpu"]
    assert (gpu["min_workers"], gpu["max_workers"]) == (0, cluster["max_workers"])
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in cluster["available_node_types"]["head"]["node_config"]
    assert gpu["node_config"]["InstanceType"] == "g5.xlarge"  # which has one GPU
    assert f"-e DISTILRAY_MAX_GPUS={gpu['max_workers']}" in cluster["docker"]["head_run_options"]


def test_cluster_yaml_nobody_comes_in_without_token_or_tunnel(cluster: dict[str, Any]) -> None:
    assert "-e RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]  # of head and workers
    assert cluster["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    start = " ".join(cluster["head_start_ray_commands"])
    assert "0.0.0.0" not in start
    assert "--dashboard-host=127.0.0.1" in start
    assert "mlflow server --host 127.0.0.1" in start
    assert "-e MLFLOW_TRACKING_URI=http://127.0.0.1:5000" in cluster["docker"]["head_run_options"]


def test_cluster_yaml_every_command_is_one_that_bash_can_read(cluster: dict[str, Any]) -> None:
    for group in (name for name in cluster if name.endswith("_commands")):
        for command in cluster[group]:
            said = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
            assert (said.returncode, said.stderr) == (0, ""), command


def test_cluster_yaml_what_is_mounted_is_all_that_an_installation_needs(
    cluster: dict[str, Any], tmp_path: Path
) -> None:
    source = tmp_path / "distilray"
    for place, mine in cluster["file_mounts"].items():
        if not mine.startswith("~"):
            target = source / Path(place).relative_to("/home/ray/distilray")
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / mine).is_dir() else shutil.copy
            copy(ROOT / mine, target)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w"]
    subprocess.run([*command, str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"pipeline/cli/main.py", "stages/training/driver.py", "stages/teacher/demo/model.safetensors"} <= names
    metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
    assert "Provides-Extra: aws" in zipfile.ZipFile(wheel).read(metadata).decode()


def test_cluster_yaml_header_gives_the_four_commands() -> None:
    header = re.match(r"(#.*\n)+", (ROOT / "cluster.yaml").read_text())
    assert header is not None
    for command in ("ray up cluster.yaml", "ray job submit", "-- distil run", "distil ui", "ray down cluster.yaml"):
        assert command in header.group()


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
        assert container["image"].split(":")[1] == image.split(":")[1]
        assert image in base


PATIENCE = {"RAY_JOB_STOP_WAIT_TIME_S": "60"}
"""`ray job stop` kills after three seconds otherwise, in the middle of a checkpoint."""


def runtime_env(checkout: Path) -> dict[str, Any]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["deploy/runtime-env"], cwd=checkout, capture_output=True, text=True, check=True, env=env)
    return json.loads(done.stdout)


def git(checkout: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    return subprocess.run(
        ["git", *identity, *words], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_runtime_env_tells_the_commit_and_whether_a_tracked_file_differs(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "runtime-env", tmp_path / "deploy")
    assert runtime_env(tmp_path)["env_vars"] == PATIENCE  # no repository to ask
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "notes").write_text("not tracked")
    assert runtime_env(tmp_path)["env_vars"] == {**PATIENCE, "DISTILRAY_COMMIT": commit, "DISTILRAY_DIRTY": "false"}
    (tmp_path / "code.py").write_text("2")
    assert runtime_env(tmp_path)["env_vars"] == {**PATIENCE, "DISTILRAY_COMMIT": commit, "DISTILRAY_DIRTY": "true"}


def test_runtime_env_sends_the_code_and_neither_data_nor_runs_nor_what_git_ignores(tmp_path: Path) -> None:
    from ray._private.runtime_env.packaging import create_package  # what `ray job submit` makes of a working directory

    for name in (
        "pipeline/cli/main.py",
        ".venv/bin/python",
        "runs/demo/big.bin",
        "data/corpus.txt",
        ".git/config",
        "stages/a.py",
    ):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_text("x")
    shutil.copy(ROOT / ".gitignore", tmp_path / "src")
    excludes = runtime_env(ROOT)["excludes"]
    create_package(str(tmp_path / "src"), tmp_path / "sent.zip", include_gitignore=True, excludes=excludes)
    sent = {name for name in zipfile.ZipFile(tmp_path / "sent.zip").namelist() if not name.endswith("/")}
    assert {"pipeline/cli/main.py", "stages/a.py"} <= sent
    assert not any(name.startswith((".git/", ".venv", "runs", "data")) for name in sent)
