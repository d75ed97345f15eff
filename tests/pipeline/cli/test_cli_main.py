"""argv in; exit status and sentences out."""

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from ray.exceptions import RayTaskError
from ray.train import TrainingFailedError

from pipeline.cli.arguments import config_of, parse, split
from pipeline.cli.main import main, status_of
from pipeline.config.schema import PipelineConfig, flat, to_yaml
from pipeline.config.serialisation import to_plain
from pipeline.recipes import NAMES, recipe
from pipeline.records.record import Record, identify, write_record
from pipeline.runtime.environment import environment
from pipeline.runtime.signals import Terminated
from pipeline.tuning.config import PAPER, TuneConfig, dimension
from pipeline.tuning.verdict import Confirmed, Search
from stages.errors import ConfigError, InputError, Preempted
from stages.storage import Folder

ROOT = Path(__file__).resolve().parents[3]
SEARCH = "5ea4c4" + "0" * 26


def test_help_answers_at_once_and_imports_nothing_heavy() -> None:
    program = (
        "import sys; from pipeline.cli.main import main; main(['--help']); "
        "print([name for name in ('torch', 'ray', 'mlflow', 'transformers') if name in sys.modules])"
    )
    started = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert time.monotonic() - started < 3  # 0.2 s on a quiet machine
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(command in done.stdout for command in ("run", "tune", "describe", "fill", "ui"))


@pytest.mark.parametrize("command", ["run", "tune"])
def test_help_of_a_recipe_shows_every_field_with_default_and_docstring(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "demo", "--help-all"]) == 0
    shown = capsys.readouterr().out
    assert "--distil.temperature FLOAT" in shown
    assert "T of the softened" in shown or "(default: 2.0)" in shown
    assert "--tokens.block-length INT" in shown
    assert "--tune.trials INT" in shown
    assert f"distil {command} --help" in shown


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_recipe_shows_the_fields_that_people_set_by_stage(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", name, "--help"]) == 0
    shown = capsys.readouterr().out
    config = recipe(name)
    assert f"Peak of the schedule ({config.distil.learning_rate})" in shown
    assert "--distil.row-log" not in shown
    assert shown.index("\n  corpus\n") < shown.index("--corpus.paths") < shown.index("\n  tokens\n")
    more = int(re.search(r"--help-all` shows (\d+) more", shown)[1])  # type: ignore[index]
    fields = {line.split()[0] for line in shown.splitlines() if line.startswith("    --")}
    assert len(fields) + more == len(flat(config))
    assert main(["run", "--help", name]) == 0
    assert capsys.readouterr().out == shown


def test_help_of_a_command_names_the_recipes_and_knows_a_wrong_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^    {name}\b", shown, re.MULTILINE) for name in NAMES)
    assert main(["run", "--help", "demmo"]) == 2
    assert "did you mean demo?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("run", ["--config FILE", "--from-search RUN"]),
        ("tune", ["--config FILE", "--trials N", "--search FIELD=RANGE"]),
        ("ablate", ["--config FILE", "--seeds N", "--only NAME,NAME", "--tokens N"]),
        ("describe", ["--config FILE", "--from-search RUN"]),
    ],
)
def test_help_of_a_command_shows_its_own_options(
    command: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in options)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("rnu demo", "there is no command rnu; did you mean run?"),
        ("run demoo", "there is no recipe demoo; did you mean demo?"),
        ("describe zzz", f"there is no recipe zzz; there are {', '.join(NAMES)}."),
        ("run demo --distil.temprature 3", "there is no field distil.temprature; did you mean distil.temperature?"),
        ("describe demo --distil.temperature 0", "distil.temperature is 0.0 but must be"),
        ("run demo --distil.temperature=warm", "distil.temperature is 'warm' but must be a number."),
        ("run demo --distil.global-batch 1.5", "distil.global_batch is '1.5' but must be a whole number."),
        ("run demo --distil.temperature", "--distil.temperature has no value"),
        ("run", "give a recipe"),
        ("run demo --config x.yaml", "give a recipe"),
        ("run --config x.yaml", "--config x.yaml cannot be read (No such file or directory)"),
        ("run demo --trials 3", "there is no field trials; did you mean tune.trials?"),
        ("run demo --from-search", "--from-search has no value"),
        ("run demo --from-search latest", "there is no search below"),
        ("describe demo --from-search nowhere", "there is no search nowhere; give its MLflow run id"),
        ("tune", "give a recipe"),
        ("tune demoo", "there is no recipe demoo; did you mean demo?"),
        ("tune demo --trials", "--trials has no value: write --trials VALUE."),
        ("tune demo --trials x", "tune.trials is 'x' but must be a whole number."),
        ("tune demo --trials 0", "tune.trials is 0 but must be above 0."),
        ("tune demo --trials 100", "tune.spend is 5.0 but 100 trials need 10.90 at least"),
        ("tune demo --search", "--search has no value: write --search VALUE."),
        ("tune demo --search dropout", "--search dropout is no range: write FIELD=LOW..HIGH"),
        ("tune demo --search droput=0..0.3", "there is no field of distil droput; did you mean dropout?"),
        ("tune demo --search dropout=0..2", "distil.dropout is 2.0 but must be at least 0 and below 1."),
        ("tune demo --search dropout=0|0.1 --search dropout=0..0.3", "tune.also is 'dropout' but is there twice"),
        ("tune demo --search dropout=0|0.1 --tune.also []", "--search and --tune.also are both given"),
        ("tune demo --tune.weights fixed --tune.temperature none", "the search has nothing to search"),
        ("tune demo --tune.grac 1", "there is no field tune.grac; did you mean tune.grace?"),
        ("tune demo --from-search latest", "--from-search is for `distil run`"),
        ("tune demo --workdir s3://bucket/run", "workdir is s3://bucket/run but must be on this machine"),
        ("ablate", "give a recipe"),
        ("ablate demo --seeds 1", "--seeds is 1 but must be at least 2: one seed shows no spread."),
        ("ablate demo --only no-cee", "there is no variant no-cee; did you mean no-ce?"),
        ("ablate demo-teacher", "demo-teacher makes its teacher itself"),
        ("fill text", "there is no run below"),
        ("fill text --run nowhere", "there is no run nowhere"),
        ("ui --run nowhere", "there is no run nowhere"),
    ],
)
def test_bad_input_is_status_2_and_one_sentence(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(sentence)
    assert shown.err.count("\n") == 1


def test_config_file_that_is_wrong_is_status_2_and_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(to_yaml(recipe("demo")).replace("seed:", "sead:"), encoding="utf-8")
    assert main(["describe", "--config", "mine.yaml"]) == 2
    assert capsys.readouterr().err == "mine.yaml: there is no field sead; did you mean seed?\n"


def test_config_file_with_a_field_fewer_is_taken_and_says_what_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    lines = to_yaml(recipe("demo")).splitlines(keepends=True)
    Path("mine.yaml").write_text("".join(line for line in lines if "row_log:" not in line), encoding="utf-8")
    assert config_from("describe --config mine.yaml") == recipe("demo")
    shown = capsys.readouterr().out
    assert shown.startswith("mine.yaml does not give ")
    assert "distil.row_log" in shown
    assert shown.count("\n") == 1


def test_input_error_from_a_ray_task_is_its_own_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        cause = ConfigError("distil.steps", 0, "must be above 0")
        raise RayTaskError("train", "a long traceback", cause).as_instanceof_cause()

    assert status_of(fail, verbose=False) == 2
    assert capsys.readouterr().err == "distil.steps is 0 but must be above 0.\n"


def test_ctrl_c_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    assert status_of(stop, verbose=False) == 130
    assert "continues" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (Terminated(), "stopped by SIGTERM; the same command continues\n"),
        (Preempted(1250), "stopped by SIGTERM; the same command continues from the checkpoint of step 1250\n"),
    ],
)
def test_sigterm_is_status_75(error: BaseException, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    def stop() -> None:
        raise error

    assert status_of(stop, verbose=False) == 75
    assert capsys.readouterr().err == sentence


def test_fault_is_status_1_with_one_line_and_the_traceback_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ZeroDivisionError("first line\nsecond line")

    assert status_of(fail, verbose=False) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("ZeroDivisionError: first line (the whole traceback is in ")
    assert shown.count("\n") == 1
    file = Path(shown.rsplit(" ", 1)[1].strip().rstrip(")"))
    assert 'raise ZeroDivisionError("first line' in file.read_text(encoding="utf-8")
    file.unlink()


@pytest.mark.parametrize("verbose", [True, False])
def test_fault_in_a_ray_task_was_shown_in_colours_and_by_the_wrapper_s_name_and_is_by_its_cause(
    verbose: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        trace = "\x1b[36mray::loop()\x1b[39m (pid=7)\nZeroDivisionError: first line"
        try:
            raise RayTaskError("loop", trace, ZeroDivisionError("first line")).as_instanceof_cause()
        except RayTaskError as error:
            raise TrainingFailedError("Training failed due to worker errors:\n" + trace) from error

    assert status_of(fail, verbose=verbose) == 1
    shown = capsys.readouterr().err
    if not verbose:
        assert shown.startswith("ZeroDivisionError: first line (the whole traceback is in ")
        file = Path(shown.rsplit(" ", 1)[1].strip().rstrip(")"))
        shown = file.read_text(encoding="utf-8")
        file.unlink()
    assert "ray::loop() (pid=7)" in shown
    assert "\x1b" not in shown


def test_fault_with_verbose_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ZeroDivisionError("oh")

    assert status_of(fail, verbose=True) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "own", "fields"),
    [
        ("run demo --a.b 1", "run demo", [("a.b", "1")]),
        ("run demo --a.b=1 --verbose", "run demo --verbose", [("a.b", "1")]),
        ("run --a.b 1 demo", "run demo", [("a.b", "1")]),
        ("run --verbose --a -1 demo --c=", "run --verbose demo", [("a", "-1"), ("c", "")]),
        ("run demo --a x.txt y.txt --b 2", "run demo", [("a", "x.txt,y.txt"), ("b", "2")]),
        ("describe --config c.yaml --a 1", "describe --config c.yaml", [("a", "1")]),
        ("describe --config=c.yaml --a 1", "describe --config=c.yaml", [("a", "1")]),
        ("run demo --a x=y", "run demo", [("a", "x=y")]),
        ("run demo --a x,y", "run demo", [("a", "x,y")]),
        ("run demo --a x,1.txt y.txt", "run demo", [("a", r"x\,1.txt,y.txt")]),
        ("run demo --from-search latest --a 1", "run demo --from-search latest", [("a", "1")]),
        ("run --from_search=r demo --a x y", "run --from_search=r demo", [("a", "x,y")]),
        ("tune demo --search a=1|2 --b 1 --search c=0..1", "tune demo --search a=1|2 --search c=0..1", [("b", "1")]),
        ("tune --trials 3 --b 1 demo", "tune --trials 3 demo", [("b", "1")]),
        ("run demo --trials 3", "run demo", [("trials", "3")]),
        ("fill --run r --x", "fill --run r --x", []),
    ],
)
def test_split_tells_fields_from_the_command_s_own_words(words: str, own: str, fields: list[tuple[str, str]]) -> None:
    assert split(words.split()) == (own.split(), tuple(fields))


def test_split_of_a_field_without_a_value_is_bad_input() -> None:
    with pytest.raises(InputError, match="--a has no value"):
        split(["run", "demo", "--a", "--b", "1"])


def config_from(words: str) -> PipelineConfig:
    """The config that a command line means."""
    own, fields = split(words.split())
    return config_of(parse(own), fields)


@pytest.fixture
def better(tmp_path: Path) -> Search:
    """A finished search in runs/demo; its trial 7 is better than the paper's setting."""
    folder = Folder(str(tmp_path / "runs" / "demo" / "search" / "aa00"))
    setting = {"temperature": 3.25, "alpha_ce": 4.0, "alpha_mlm": 3.5, "alpha_cos": 0.5, "ce_positions": "all"}
    paper = Confirmed(trial=0, setting={**PAPER, "ce_positions": "masked"}, values=(2.0, 2.0, 2.0))
    best = Confirmed(trial=7, setting=setting, values=(1.5, 1.4, 1.45))
    search = Search(
        folder=folder,
        mlflow_run_id=SEARCH,
        objective="heldout_kl",
        trials=16,
        completed=3,
        failed=0,
        tokens_spent=400_000,
        full_budget_tokens=100_000,
        confirm_tokens=600_000,
        seeds=(11, 12, 13),
        confirmed=(paper, best),
    )
    record = Record(
        fingerprint="aa00",
        identity=identify("search", 1, TuneConfig(), seed=1),
        artifact=to_plain(search, base=folder),
        seconds=900.0,
        finished="2026-01-01T00:00:00+00:00",
        environment=environment(),
    )
    write_record(folder, record)
    return search


@pytest.mark.parametrize("command", ["run", "describe"])
def test_from_search_sets_what_the_search_confirmed_and_nothing_else(
    command: str, better: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = flat(recipe("demo")), flat(config_from(f"{command} demo --from-search latest"))
    assert {name: value for name, value in after.items() if before[name] != value} == {
        "distil.temperature": 3.25,
        "distil.alpha_ce": 4.0,
        "distil.alpha_mlm": 3.5,
        "distil.alpha_cos": 0.5,
        "distil.ce_positions": "all",
        "from_search": SEARCH,
    }
    shown = capsys.readouterr().out
    assert shown.startswith(f"search {SEARCH}: trial 7, better than the paper's setting")
    assert shown.count("\n") == 1


def test_from_search_beside_explicit_fields_lets_these_win(better: Search) -> None:
    words = f"run demo --distil.temperature 5 --from-search {SEARCH} --distil.alpha-cos=0 --seed 9"
    expected = flat(config_from("run demo --from-search demo")) | {
        "distil.temperature": 5.0,
        "distil.alpha_cos": 0.0,
        "seed": 9,
    }
    assert flat(config_from(words)) == expected


def test_from_search_on_top_of_a_config_file_is_the_same_as_on_its_recipe(better: Search) -> None:
    Path("mine.yaml").write_text(to_yaml(recipe("demo")), encoding="utf-8")
    assert config_from("run --config mine.yaml --from-search latest") == config_from("run demo --from-search latest")


def test_from_search_whose_field_is_wrong_says_only_that(better: Search, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("run demo --from-search latest --distil.temprature 3".split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("there is no field distil.temprature")


def test_tune_trials_is_short_for_its_field() -> None:
    assert config_from("tune demo --trials 8") == config_from("tune demo --tune.trials 8")
    config = config_from("tune demo --trials 100 --tune.spend 11")  # neither would be allowed without the other
    assert (config.tune.trials, config.tune.spend) == (100, 11.0)


def test_tune_search_adds_dimensions_and_changes_nothing_else() -> None:
    config = config_from("tune demo --search learning_rate=5e-4..4e-3:log --search=ce_positions=all|masked --seed 3")
    also = (dimension("learning_rate=5e-4..4e-3:log"), dimension("ce_positions=all|masked"))
    base = recipe("demo")
    assert config == replace(base, seed=3, tune=replace(base.tune, also=(*base.tune.also, *also)))


def test_tune_search_of_a_field_that_is_searched_already_takes_its_place() -> None:
    first = config_from("tune demo --search dropout=0..0.3 --search warmup=0..0.2")
    Path("mine.yaml").write_text(to_yaml(first), encoding="utf-8")
    also = config_from("tune --config mine.yaml --search dropout=0|0.1 --search mask_rate=0.1..0.4").tune.also
    expected = ("warmup=0..0.2", "dropout=0|0.1", "mask_rate=0.1..0.4")
    assert set(also) == {dimension(text) for text in expected}
    assert len(also) == len(expected)


def test_tune_search_is_enough_where_nothing_else_is_searched() -> None:
    config = config_from("tune demo --tune.weights fixed --tune.temperature none --search dropout=0..0.3")
    assert config.tune.also[-1] == dimension("dropout=0..0.3")
