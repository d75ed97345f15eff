"""Finding a run, and a workdir that can be written."""

from pathlib import Path

import pytest
from workdirs import aged

from pipeline.records.which_run import find_workdir, tracking_of
from pipeline.records.workdir import begin_run, check_writable, end_run, read_run
from stages.errors import InputError

FIRST, SECOND = "a" * 32, "b" * 32


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """./runs with the workdirs demo (older) and mine (newer)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    for age, name, run_id in ((20, "demo", FIRST), (10, "mine", SECOND)):
        workdir = tmp_path / "runs" / name
        begin_run(workdir, config="config.yaml", mlflow_run_id=run_id)
        aged(workdir, age)
    return tmp_path / "runs"


def test_find_workdir_of_latest_is_the_newest(runs: Path) -> None:
    assert find_workdir("latest") == runs / "mine"
    end_run(runs / "demo")
    assert find_workdir("latest") == runs / "demo"


@pytest.mark.parametrize("run", ["runs/demo", "demo", FIRST])
def test_find_workdir_of_every_kind_of_run_is_the_workdir(runs: Path, run: str) -> None:
    assert find_workdir(run) == runs / "demo"
    assert find_workdir(str(runs / "demo")) == runs / "demo"


def test_find_workdir_of_an_earlier_mlflow_run_in_the_same_workdir_is_found(runs: Path) -> None:
    begin_run(runs / "demo", config="config.yaml", mlflow_run_id="c" * 32)
    assert find_workdir(FIRST) == find_workdir("c" * 32) == runs / "demo"


@pytest.mark.parametrize(
    ("run", "sentence"),
    [("demmo", "did you mean runs/demo"), ("d" * 32, "no run d"), (".", "is no workdir of a run"), ("zzz", "`latest`")],
)
def test_find_workdir_of_nothing_says_what_to_give(runs: Path, run: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        find_workdir(run)


def test_find_workdir_of_latest_before_any_run_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="distil run demo"):
        find_workdir("latest", tmp_path)


def test_run_file_keeps_when_it_ended(runs: Path) -> None:
    before = read_run(runs / "demo")
    end_run(runs / "demo")
    after = read_run(runs / "demo")
    assert before is not None
    assert after is not None
    assert before.finished is None
    assert after.finished is not None
    assert after.finished >= after.started


def test_tracking_of_a_run_is_what_its_config_says(runs: Path) -> None:
    (runs / "demo" / "config.yaml").write_text(
        "tracking: {uri: 'http://mlflow:5000', experiment: mine, system_metrics: true}"
    )
    assert tracking_of("demo").uri == "http://mlflow:5000"
    with pytest.raises(InputError, match="does not say where"):
        tracking_of(None)


def test_tracking_of_no_run_at_all_is_the_default(tmp_path: Path) -> None:
    assert tracking_of(None, tmp_path).uri is None


def test_check_writable_makes_the_workdir_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    path = check_writable(str(tmp_path / "a" / "b"))
    assert list(path.iterdir()) == []


def test_check_writable_below_a_file_names_the_workdir(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/run cannot be written .* --workdir"):
        check_writable(str(tmp_path / "file" / "run"))


def test_check_writable_of_an_object_store_points_at_storage() -> None:
    with pytest.raises(InputError, match="as storage"):
        check_writable("s3://bucket/run")
