"""A whole run on an object store: text, blocks, checkpoints, records and MLflow's artifacts; no secret in any of it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from object_store import BUCKET, SECRET, ObjectStore, object_store
from tiny import tiny_bert
from tiny_pipeline import tiny_recipe
from two_nodes import end_all, start_mlflow, wait_for

from pipeline.config.schema import PipelineConfig, to_yaml
from pipeline.tracking.config import TrackingConfig
from stages.corpus.config import CorpusConfig

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "an-mlflow-password-that-must-stay-in-the-environment"


@contextmanager
def mlflow_server(home: Path, store: ObjectStore) -> Iterator[str]:
    """A server as the head has one, with its artifacts in the bucket."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        address = start_mlflow(home, os.environ | store.env, started, artifacts=f"{store.address}/artifacts")
        wait_for(f"{address}/health")
        yield address
    finally:
        end_all(started)


def distil(store: ObjectStore, here: Path, *words: str, **env: str) -> str:
    """What the program says, standard error included; it has to succeed."""
    here.mkdir(exist_ok=True)
    env = os.environ | store.env | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "COLUMNS": "120"} | env
    command = [sys.executable, "-m", "pipeline.cli.main", *words]
    done = subprocess.run(command, cwd=here, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def client_of(store: ObjectStore) -> Any:
    return boto3.client(
        "s3", endpoint_url=store.env["AWS_ENDPOINT_URL"], aws_access_key_id="k", aws_secret_access_key="s"
    )


def everything(store: ObjectStore, home: Path) -> dict[str, bytes]:
    """All objects of the bucket and all files below `home`, by name."""
    client = client_of(store)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    names = [item["Key"] for page in pages for item in page.get("Contents", [])]
    objects = {f"s3://{name}": client.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names}
    return objects | {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_run_on_an_object_store_needs_no_disk_afterwards_and_keeps_no_secret(tmp_path: Path) -> None:
    with object_store() as store, mlflow_server(tmp_path, store) as address:
        recipe = tiny_recipe(tmp_path, tiny_bert(scale=0.05))
        upload(store, tmp_path / "text.txt", "texts/text.txt")
        config: PipelineConfig = replace(
            recipe,
            storage=f"{store.address}/runs",
            corpus=CorpusConfig(source="files", paths=(f"{store.address}/texts/*.txt",), heldout_fraction=0.1),
            tracking=TrackingConfig(uri=address, system_metrics=False),
        )
        (tmp_path / "config.yaml").write_text(to_yaml(config))
        head = tmp_path / "head"
        words = ["run", "--config", str(tmp_path / "config.yaml"), "--workdir", str(head / "work")]
        secrets = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        said = distil(store, head, *words, **secrets)
        assert "✓ distil" in said

        kept = everything(store, tmp_path)
        assert any(name.startswith("s3://artifacts/") for name in kept)
        for stage in ("corpus", "teacher", "tokens", "distil", "evaluate", "publish"):
            assert any(name.startswith(f"s3://runs/{stage}/") and name.endswith("/record.json") for name in kept), stage
        assert any("/checkpoints/step-00000020/manifest.json" in name for name in kept)
        assert [name for name, data in kept.items() if SECRET.encode() in data or PASSWORD.encode() in data] == []
        assert SECRET not in said
        assert PASSWORD not in said

        run_id = said.split("run:")[1].split()[0]
        shutil.rmtree(head)
        shutil.rmtree(tmp_path / "teacher")
        (tmp_path / "text.txt").unlink()
        filled = distil(
            store, tmp_path / "laptop", "fill", "w3 [MASK] w5", "--run", run_id, MLFLOW_TRACKING_URI=address
        )
        assert "teacher" in filled
        assert "student" in filled


def upload(store: ObjectStore, file: Path, name: str) -> None:
    client = client_of(store)
    client.upload_file(str(file), BUCKET, name)
