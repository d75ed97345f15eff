"""Finding a finished search, and taking its setting over."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.overrides import Scalar
from pipeline.config.schema import flat, to_yaml
from pipeline.config.serialisation import to_plain
from pipeline.recipes import recipe
from pipeline.records.record import Record, identify, write_record
from pipeline.runtime.environment import environment
from pipeline.tuning.config import PAPER, TuneConfig
from pipeline.tuning.tracking.which_search import STARTED, adopt, find_search, told
from pipeline.tuning.verdict import Confirmed, Search
from stages.errors import InputError
from stages.storage import Folder

FIRST, SECOND, THIRD = "a" * 32, "b" * 32, "c" * 32
FOUND: dict[str, Scalar] = {"temperature": 3.25, "alpha_ce": 4.0, "alpha_mlm": 3.5, "alpha_cos": 0.5, "layers": "0,3"}


def a_search(folder: Folder, run_id: str, best: tuple[float, ...] | None = (1.5, 1.4, 1.45)) -> Search:
    """One whose paper's setting came to 2.0 on all seeds and whose trial 7 to `best`; none: it was not confirmed."""
    paper = Confirmed(trial=0, setting={**PAPER, "layers": "alternate"}, values=(2.0, 2.0, 2.0))
    others = [Confirmed(trial=7, setting=FOUND, values=best)] if best else []
    return Search(
        folder=folder,
        mlflow_run_id=run_id,
        objective="heldout_mlm_loss",
        trials=16,
        completed=3,
        failed=1,
        tokens_spent=400_000,
        full_budget_tokens=100_000,
        confirm_tokens=600_000,
        seeds=(11, 12, 13),
        confirmed=(paper, *others),
    )


def finish(root: Path, name: str, run_id: str, day: int) -> Search:
    """Leave a finished search in `<root>/search/<name>`."""
    folder = Folder(str(root / "search" / name))
    search = a_search(folder, run_id)
    record = Record(
        fingerprint=name,
        identity=identify("search", 1, TuneConfig(), seed=1),
        artifact=to_plain(search, base=folder),
        seconds=900.0,
        finished=f"2026-01-{day:02d}T00:00:00+00:00",
        environment=environment(),
    )
    write_record(folder, record)
    return search


def begin(root: Path, name: str, run_id: str) -> None:
    """Leave a search there that has not finished."""
    Folder(str(root / "search" / name)).write_bytes(STARTED, f'{{"mlflow_run_id": "{run_id}"}}'.encode())


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """./runs, empty."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def test_find_search_of_latest_is_the_one_that_finished_last(runs: Path) -> None:
    finish(runs / "demo", "aa01", FIRST, day=3)
    second = finish(runs / "demo", "aa00", SECOND, day=9)
    finish(runs / "mine", "bb00", THIRD, day=5)
    begin(runs / "mine", "ff00", "d" * 32)
    assert find_search("latest") == second


@pytest.mark.parametrize("run", ["runs/demo", "demo", FIRST])
def test_find_search_of_every_kind_of_run_is_the_search(runs: Path, run: str) -> None:
    first = finish(runs / "demo", "aa00", FIRST, day=3)
    finish(runs / "mine", "bb00", SECOND, day=9)
    assert find_search(run) == find_search(str(runs / "demo")) == first


def test_find_search_of_an_earlier_run_id_in_a_workdir_is_that_one(runs: Path) -> None:
    first = finish(runs / "demo", "aa00", FIRST, day=3)
    second = finish(runs / "demo", "aa01", SECOND, day=4)
    assert (find_search(FIRST), find_search("demo")) == (first, second)


def test_find_search_of_a_workdir_elsewhere_is_found_by_its_path(runs: Path, tmp_path: Path) -> None:
    search = finish(tmp_path / "other", "aa00", FIRST, day=3)
    assert find_search("other") == find_search(str(tmp_path / "other")) == search


def test_find_search_in_the_storage_that_the_workdir_s_config_names(runs: Path, tmp_path: Path) -> None:
    (runs / "demo").mkdir()
    config = replace(recipe("demo"), storage=str(tmp_path / "shared"))
    (runs / "demo" / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    search = finish(tmp_path / "shared", "aa00", FIRST, day=3)
    assert find_search("demo") == find_search(FIRST) == find_search("latest") == search


@pytest.mark.parametrize("run", ["latest", "demo", "runs/demo", FIRST])
def test_find_search_of_one_that_has_not_finished_says_what_continues_it(runs: Path, run: str) -> None:
    begin(runs / "demo", "aa00", FIRST)
    with pytest.raises(InputError) as caught:
        find_search(run)
    assert str(caught.value) == f"the search in {runs / 'demo'} has not finished: `distil tune demo` continues it."


def test_find_search_of_an_unfinished_one_beside_a_finished_one(runs: Path) -> None:
    search = finish(runs / "demo", "aa00", FIRST, day=3)
    begin(runs / "demo", "aa01", SECOND)
    assert find_search("demo") == search
    with pytest.raises(InputError, match="has not finished"):
        find_search(SECOND)


def test_find_search_of_an_unfinished_one_in_a_workdir_of_another_name_names_it_too(runs: Path) -> None:
    begin(runs / "mine", "aa00", FIRST)
    (runs / "mine" / "config.yaml").write_text(to_yaml(recipe("demo")), encoding="utf-8")
    with pytest.raises(InputError, match=f"`distil tune demo --workdir {runs / 'mine'}` continues it"):
        find_search("mine")


@pytest.mark.parametrize("damage", [b"{", b"{}"])
def test_find_search_of_a_record_that_cannot_be_read_says_what_makes_it_again(runs: Path, damage: bytes) -> None:
    begin(runs / "demo", "aa00", FIRST)
    Folder(str(runs / "demo" / "search" / "aa00")).write_bytes("record.json", damage)
    with pytest.raises(InputError, match=r"cannot be used, as its record .* `distil tune demo` makes it again"):
        find_search(FIRST)
    search = finish(runs / "demo", "aa01", SECOND, day=3)
    assert find_search("latest") == search


def test_find_search_with_other_files_beside_it_is_not_disturbed(runs: Path) -> None:
    search = finish(runs / "demo", "aa00", FIRST, day=3)
    (runs / "notes.txt").touch()
    (runs / "demo" / "search" / ".DS_Store").touch()
    (runs / "demo" / "config.yaml").write_text("[", encoding="utf-8")
    assert find_search("latest") == search


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ("demmo", "there is no search demmo; did you mean runs/demo?"),
        ("d" * 32, "no search d{32} here, nor in MLflow at .* give the --tracking.uri that has it"),
        (".", ". is no workdir of a search"),
        ("mine", "there is no search in .*mine yet: make one with `distil tune demo`"),
    ],
)
def test_find_search_of_nothing_says_what_to_give(runs: Path, run: str, sentence: str) -> None:
    finish(runs / "demo", "aa00", FIRST, day=3)
    (runs / "mine").mkdir()
    with pytest.raises(InputError, match=sentence):
        find_search(run)


def test_find_search_of_latest_before_any_search_says_how_to_make_one(runs: Path) -> None:
    with pytest.raises(InputError, match=f"no search below {runs} yet: make one with `distil tune demo`"):
        find_search("latest")
    with pytest.raises(InputError, match="distil tune demo"):
        find_search("latest", runs / "nowhere")


def test_adopt_sets_the_fields_of_the_winner_and_no_other() -> None:
    config = recipe("demo")
    before, after = flat(config), flat(adopt(config, a_search(Folder("x"), FIRST)))
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    setting = {f"distil.{name}": value for name, value in FOUND.items()}
    assert changed == {**setting, "from_search": FIRST}
    assert adopt(config, a_search(Folder("x"), FIRST)).distil.layers == (0, 3)


@pytest.mark.parametrize("best", [None, (1.0, 2.1, 1.8), (1.5, 1.4)])
def test_adopt_of_a_search_without_a_better_setting_sets_the_paper_s(best: tuple[float, ...] | None) -> None:
    distil = adopt(recipe("demo"), a_search(Folder("x"), FIRST, best)).distil
    assert (distil.temperature, distil.alpha_ce, distil.alpha_mlm, distil.alpha_cos) == (2.0, 5.0, 2.0, 1.0)


@pytest.mark.parametrize(
    ("best", "line"),
    [
        (
            (1.5, 1.4, 1.45),
            "trial 7, better than the paper's setting (heldout_mlm_loss is lower by 0.5500 ± 0.0500)",
        ),
        ((1.0, 2.1, 1.8), "trial 0, the paper's setting (trial 7 is no better)"),
        (None, "trial 0, the paper's setting (no other was confirmed)"),
    ],
)
def test_told_says_which_search_which_trial_and_whether_it_is_better(best: tuple[float, ...] | None, line: str) -> None:
    assert told(a_search(Folder("x"), FIRST, best)) == f"search {FIRST}: {line}"


def test_find_search_recorded_by_the_rule_before_is_judged_by_today_s(runs: Path) -> None:
    """Two seeds, and "better" by what is said in 29 % of searches in which nothing is."""
    search = finish(runs / "demo", "aa00", FIRST, day=3)
    file = search.folder.path / "record.json"
    record = json.loads(file.read_text())
    del record["artifact"]["candidates"]
    record["artifact"]["seeds"] = [11, 12]
    paper, best = record["artifact"]["confirmed"]
    for one, values in ((paper, [3.4486, 3.4576]), (best, [3.4334, 3.4286])):
        one["values"] = values
        del one["why"]
    verdict = {"paper": paper, "best": best, "gain": 0.0221, "spread": 0.0098, "is_better": True}
    file.write_text(json.dumps(record | {"artifact": record["artifact"] | {"verdict": verdict}}))
    found = find_search("demo")
    assert (found.verdict.gain, found.verdict.spread) == (pytest.approx(0.0221), pytest.approx(0.0098, abs=1e-4))
    assert not found.verdict.is_better
    assert adopt(recipe("demo"), found).distil.temperature == 2.0
