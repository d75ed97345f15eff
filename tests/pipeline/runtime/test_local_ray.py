"""A Ray of this machine, started where much is strange: a home that cannot be written, a long TMPDIR, a folder with
modules that are called as ours are; and who may talk to it."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import ray
from two_nodes import BIN, end_all, environment_of, start_node

from pipeline.cli.quiet_libraries import SETTINGS
from pipeline.runtime import local_ray
from pipeline.runtime.cluster import carried, free_port
from pipeline.runtime.local_ray import temporary_folder
from stages.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
STRANGE = """
import json, os, sys
sys.path.remove("")  # as in a program: the driver's own modules are ours
import ray
from pipeline.runtime.cluster import cluster

def seen():
    import pipeline.runtime, stages.errors, yaml
    return [pipeline.__file__, stages.__file__, yaml.__file__, os.getcwd(), os.environ["RAY_AUTH_TOKEN"]]

tokens = []
for _ in range(2):
    with cluster(state=True):
        *files, token = ray.get(ray.remote(seen).remote())
        tokens.append(token)
        address = ray.get_runtime_context().gcs_address
print(json.dumps({"files": files, "tokens": tokens, "left": os.environ.get("RAY_AUTH_TOKEN")}))
"""
EXISTING = """
import os, ray
from pipeline.cli.quiet_libraries import quiet_libraries
from pipeline.runtime.cluster import cluster
quiet_libraries(False)
address = os.environ.pop("RAY_ADDRESS")
def seen():
    return os.environ.get("TOKENIZERS_PARALLELISM"), os.environ.get("HF_HUB_VERBOSITY")
for there in (None, address):
    if there:
        os.environ |= {"RAY_ADDRESS": there, "RAY_JOB_CONFIG_JSON_ENV_VAR": os.environ.pop("JOB")}
    with cluster():
        joined = ray.get_runtime_context().gcs_address.endswith(address[address.index(":"):])
        print(joined, *ray.get(ray.remote(seen).remote()))
"""
CLIENT = """
import sys
from ray._raylet import GcsClient
print(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=20))
"""


def program(text: str, *words: str, home: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", text, *words],
        env=plain | {"PYTHONPATH": str(ROOT)} | environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=170,
    )


def test_local_ray_needed_a_home_and_a_short_tmpdir_and_took_the_user_s_modules_for_ours(tmp_path: Path) -> None:
    for name in ("stages", "pipeline", "yaml"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('this is the user’s')")
    tmpdir = tmp_path / ("long" * 20)
    tmpdir.mkdir()
    done = program(STRANGE, home=tmp_path, HOME="/proc/nowhere", TMPDIR=str(tmpdir))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ours, stages, yaml, working = found["files"]
    assert (ours, stages) == (str(ROOT / "pipeline/__init__.py"), str(ROOT / "stages/__init__.py"))
    assert "site-packages" in yaml
    assert working == str(tmp_path), "what a task reads by a relative name is read where the command was given"
    assert len({*found["tokens"]}) == 2, "a token for each"
    assert found["left"] is None


def test_local_ray_was_open_to_whoever_has_the_home_s_token_and_asks_for_its_own(
    ray_session: None, tmp_path: Path
) -> None:
    address = ray.get_runtime_context().gcs_address
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 64)  # without any, Ray's client would not even ask
    for mode in ("disabled", "token"):
        done = program(CLIENT, address, home=tmp_path, HOME=str(tmp_path), RAY_AUTH_MODE=mode)
        assert done.returncode != 0, done.stdout
        assert "AuthenticationError" in done.stderr


def test_processes_of_a_local_ray_are_in_no_group_that_the_driver_s_terminal_tells(ray_session: None) -> None:
    ours = [one for one in psutil.Process().children(recursive=True) if "ray" in " ".join(one.cmdline())]
    assert {"raylet", "gcs_server"} <= {one.name() for one in ours}
    assert os.getpgid(0) not in {os.getpgid(one.pid) for one in ours}
    worker = ray.get(ray.remote(lambda: os.getpid()).remote())
    assert os.getsid(worker) != os.getsid(0)


def test_settings_of_the_libraries_are_carried_to_a_cluster_but_for_those_that_the_job_has_told() -> None:
    here = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_VERBOSITY": "error", "HOME": "/home/me", "HF_TOKEN": "secret"}
    both = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_VERBOSITY": "error"}
    assert carried(here) == both
    job = {"runtime_env": {"working_dir": "gcs://x", "env_vars": {"HF_HUB_VERBOSITY": "info"}}}
    assert carried(here | {"RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(job)}) == {"TOKENIZERS_PARALLELISM": "false"}
    for empty in ("", "{}", '{"runtime_env": null}', '{"runtime_env": {}}'):
        assert carried(here | {"RAY_JOB_CONFIG_JSON_ENV_VAR": empty}) == both


@pytest.mark.slow
def test_a_cluster_that_is_there_is_joined_with_the_user_s_token_after_a_local_ray_too(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(32))
    ours = {name: value for name, value in environment_of(token).items() if name not in SETTINGS}
    environment = ours | {"RAY_raylet_start_wait_time_s": "120"}  # on a busy machine
    started, port = [], free_port()
    home = Path(temporary_folder()) / secrets.token_hex(4)
    home.mkdir()
    try:
        head = ["--head", "--port", str(port), "--include-dashboard=false"]
        start_node(home, "a", "127.0.0.1", 1, head, environment, started)
        log = home / "a.log"
        while "Ray runtime started" not in log.read_text():
            assert started[0].poll() is None, log.read_text()
            time.sleep(0.2)
        theirs = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_ADDRESS": f"127.0.0.1:{port}"}
        theirs["JOB"] = json.dumps({"runtime_env": {"env_vars": {"HF_HUB_VERBOSITY": "info"}}, "metadata": {}})
        done = program(EXISTING, home=tmp_path, PATH=f"{BIN}:{os.environ['PATH']}", **theirs)
        assert (done.returncode, done.stdout) == (0, "False false error\nTrue false info\n"), done.stderr
    finally:
        end_all(started)
        shutil.rmtree(home)


def test_ray_with_no_place_for_its_sockets_says_so_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("long" * 20)))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    assert temporary_folder() == "/tmp/ray"
    monkeypatch.setattr(local_ray, "MOST_BYTES", 3)
    with pytest.raises(InputError, match=r"too long or cannot be written.*set RAY_TMPDIR"):
        temporary_folder()
