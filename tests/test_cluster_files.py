"""cluster.yaml, what docs/ have beside it, and deploy/runtime-env: valid by Ray's own schema; access and versions."""

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
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parent.parent
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def for_gcp(config: dict[str, Any]) -> dict[str, Any]:
    """cluster.yaml with the parts that docs/other-clusters.md has for GCP in the place of Amazon's."""
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "other-clusters.md").read_text(), re.DOTALL)
    return config | yaml.safe_load(block)


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
    assert prepared["worker_setup_commands"] == []


def test_cluster_yaml_field_that_ray_does_not_know_would_be_caught(cluster: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(cluster | {"initial_workers": 2}))


def test_cluster_yaml_images_are_this_project_s_ray_and_python(cluster: dict[str, Any]) -> None:
    image = f"rayproject/ray:{PINS['ray']}-py311"
    assert cluster["docker"]["head_image"] == image
    assert cluster["docker"]["worker_image"] == f"YOUR-REGISTRY/distilray:{image.split(':')[1]}-gpu"


def test_cluster_yaml_workers_install_nothing_and_may_pull_their_image(cluster: dict[str, Any]) -> None:
    assert cluster["worker_setup_commands"] == cluster["setup_commands"] == []
    (login,) = cluster["available_node_types"]["gpu"]["initialization_commands"]
    registry = cluster["docker"]["worker_image"].split("/")[0]
    assert login.endswith(f"docker login --username AWS --password-stdin {registry}")
    assert f"--region {cluster['provider']['region']}" in login
    aws = (ROOT / "docs" / "cluster.md").read_text()
    assert "policy/AmazonEC2ContainerRegistryPullOnly" in aws  # the role that the login is made with


def test_cluster_yaml_on_gcp_workers_have_an_account_a_driver_and_an_image(cluster: dict[str, Any]) -> None:
    types = for_gcp(cluster)["available_node_types"]
    head, gpu = types["head"]["node_config"], types["gpu"]["node_config"]
    (account,) = gpu["serviceAccounts"]
    assert account["email"].startswith("distilray-worker@")
    assert account["scopes"] == ["https://www.googleapis.com/auth/cloud-platform"]
    assert "serviceAccounts" not in head  # Ray's own, with the right to start machines
    assert gpu["scheduling"] == [{"preemptible": True}]
    assert head["disks"] == gpu["disks"]
    driver, login = types["gpu"]["initialization_commands"]
    assert "nvidia-smi" in driver
    assert login == "gcloud auth configure-docker us-west1-docker.pkg.dev --quiet"
    assert (types["gpu"]["min_workers"], types["gpu"]["max_workers"]) == (0, cluster["max_workers"])


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
    places = [cluster, *cluster["available_node_types"].values(), *for_gcp(cluster)["available_node_types"].values()]
    commands = [command for place in places for name in place if name.endswith("_commands") for command in place[name]]
    assert len(commands) >= 10
    for command in commands:
        said = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
        assert (said.returncode, said.stderr) == (0, ""), command


@pytest.mark.parametrize("name", ["cluster", "other-clusters"])
def test_documents_shell_blocks_are_what_bash_can_read(name: str) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / f"{name}.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        said = subprocess.run(["bash", "-n", "-c", block], capture_output=True, text=True)
        assert (said.returncode, said.stderr) == (0, ""), block


def test_cluster_yaml_hub_token_is_mounted_where_the_environment_says(cluster: dict[str, Any]) -> None:
    place = "/home/ray/.secrets/hf_token"
    assert f"-e HF_TOKEN_PATH={place}" in cluster["docker"]["run_options"]  # of head and workers
    text = (ROOT / "cluster.yaml").read_text()
    with_token = yaml.safe_load(text.replace(f"  # {place}:", f"  {place}:"))
    assert set(with_token["file_mounts"]) - set(cluster["file_mounts"]) == {place}


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
