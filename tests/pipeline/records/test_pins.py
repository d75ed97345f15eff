"""Names on the hub: asked for once in a workdir, whatever becomes of their branches; against a hub of the tests."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from fake_hub import FakeHub, fake_hub
from tiny import tiny_bert
from tiny_pipeline import tiny_recipe

from pipeline.cli.main import main
from pipeline.config.schema import PipelineConfig, to_yaml
from pipeline.records.pins import NAME, pinned
from pipeline.records.record import Record, fingerprint, identify, write_record
from pipeline.records.reuse import Reuse, Silent
from pipeline.run import prepared
from stages.context import StageContext
from stages.corpus.sources import hub as datasets
from stages.errors import InputError
from stages.teacher import source
from stages.teacher.fitness import preflight as checks
from stages.teacher.stage import fetch

NOBODY = "http://127.0.0.1:9"
MODEL, WORDS = "some/bert", "some/words"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that this process knows as the only one, with an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    with fake_hub() as hub:
        answering(hub.url, monkeypatch)
        yield hub


def answering(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", url)


@pytest.fixture
def config(tmp_path: Path, hub: FakeHub) -> PipelineConfig:
    """Teacher and text by their names on the hub."""
    made = tiny_recipe(tmp_path, tiny_bert())
    (tmp_path / "words").mkdir()
    push_words(hub, tmp_path, (tmp_path / "text.txt").read_text().splitlines())
    hub.push("models", MODEL, tmp_path / "teacher")
    corpus = replace(made.corpus, source="datasets", paths=(WORDS,))
    return replace(made, corpus=corpus, teacher=replace(made.teacher, model=MODEL))


def push_words(hub: FakeHub, home: Path, lines: list[str]) -> str:
    (home / "words" / "a.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return hub.push("datasets", WORDS, home / "words")


def pin(config: PipelineConfig, said: list[str], *, refresh: bool = False) -> PipelineConfig:
    """As a command does that then runs."""
    workdir = Path(config.workdir)
    workdir.mkdir(exist_ok=True)
    found, pins = pinned(config, workdir, said.append, refresh=refresh)
    pins.write(workdir)
    return found


def commits(config: PipelineConfig) -> tuple[str, str]:
    return config.corpus.paths[0].partition("@")[2], config.teacher.revision


def test_a_branch_that_moved_restarted_everything_and_now_a_workdir_keeps_its_commits(
    config: PipelineConfig, hub: FakeHub, tmp_path: Path
) -> None:
    said: list[str] = []
    first = pin(config, said)
    assert commits(first) == (hub.main["datasets", WORDS], hub.main["models", MODEL])
    assert first.corpus.paths == (f"{WORDS}@{hub.main['datasets', WORDS]}",)
    (tmp_path / "words" / "README.md").write_text("edited")
    moved = push_words(hub, tmp_path, ["another text"])
    hub.asked.clear()
    assert pin(config, said) == first
    assert (said, hub.asked) == ([], [])
    assert pin(first, said) == first, "its config.yaml is a config as any other"

    anew = pin(config, said, refresh=True)
    assert commits(anew) == (moved, hub.main["models", MODEL])
    assert said == [f"data set '{WORDS}': main has moved on the hub, from {commits(first)[0][:12]} to {moved[:12]}."]
    assert pin(config, said) == anew


def test_a_data_set_is_known_by_its_name_and_commit_however_the_commit_was_said(
    config: PipelineConfig, hub: FakeHub
) -> None:
    """By the same fingerprint as before there were revisions in `corpus.paths`: what was made of it counts."""
    commit = hub.main["datasets", WORDS]
    found = set()
    for path in (WORDS, f"{WORDS}@main", f"{WORDS}@{commit}"):
        named = replace(config, corpus=replace(config.corpus, paths=(path,)), until="teacher")
        plan = prepared(Reuse(root=config.root, seed=1, watch=Silent(), plan=True), pin(named, []))
        found.add(plan.corpus.fingerprint)
    before = identify("corpus", 2, config.corpus, outside={f"{WORDS}/train": commit})
    assert found == {fingerprint(before)}


def test_the_pinned_text_is_read_after_its_branch_moved(config: PipelineConfig, hub: FakeHub, tmp_path: Path) -> None:
    (path,) = pin(config, []).corpus.paths
    expected = (tmp_path / "text.txt").read_text().splitlines()
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes((tmp_path / "words" / "a.jsonl").read_bytes())
    hub.commits["datasets", path] = {"a.jsonl": kept}
    push_words(hub, tmp_path, ["another text"])
    parts = datasets.parts(datasets.resolve(path, "", "train"), "text")
    assert [text for part in parts for text in datasets.documents(part, "text")] == expected


def test_a_cached_teacher_asked_a_hub_out_of_reach_for_minutes_and_now_nobody(
    config: PipelineConfig, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = pin(config, [])
    fetch(ready.teacher, StageContext(folder=config.root / "teacher/once", seed=0))
    hub.asked.clear()
    checks.check(ready.teacher)
    assert hub.asked == []
    answering(NOBODY, monkeypatch)
    begun = time.monotonic()
    made = fetch(ready.teacher, StageContext(folder=config.root / "teacher/again", seed=0))
    assert time.monotonic() - begun < 5
    assert made.name == MODEL
    for name in ("config.json", "tokenizer_config.json"):
        once, again = ((config.root / "teacher" / each).read_bytes(name) for each in ("once", "again"))
        assert once == again, "nothing of the cache's folder is in it"


def test_a_cached_teacher_whose_commit_nobody_noted_is_the_cache_s(
    config: PipelineConfig, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks.check(config.teacher)  # by its branch, as any program of transformers would
    fetch(config.teacher, StageContext(folder=config.root / "teacher/once", seed=0))
    answering(NOBODY, monkeypatch)
    begun, said = time.monotonic(), []
    found, _ = pinned(config, Path(config.workdir), said.append)
    checks.check(found.teacher)
    assert time.monotonic() - begun < 5
    assert commits(found) == ("", hub.main["models", MODEL]), "and of the text it knows nothing"
    (line,) = said
    assert f"main is taken for {hub.main['models', MODEL][:12]}, as it was last seen" in line


def test_a_teacher_that_is_cached_in_part_is_refused_within_seconds_where_the_hub_is_out_of_reach(
    config: PipelineConfig, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = pin(config, [])
    checks.check(ready.teacher)  # reads all but the weights
    answering(NOBODY, monkeypatch)
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"the hub does not answer for model 'some/bert'.*give a folder"):
        checks.check(ready.teacher)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (f"{WORDS}@v7", "has no branch, tag or commit 'v7'"),
        (f"{WORDS}@main:part", "write owner/name:subset@revision"),
        (f"{WORDS}@", "write owner/name:subset@revision"),
        ("some/thing@main", "neither a folder nor a data set"),
    ],
)
def test_revision_that_is_none_is_refused(config: PipelineConfig, path: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        pin(replace(config, corpus=replace(config.corpus, paths=(path,))), [])


def test_teacher_fetched_by_its_branch_before_there_were_pins_goes_on_to_count(config: PipelineConfig) -> None:
    workdir = Path(config.workdir)
    workdir.mkdir()
    (workdir / "config.yaml").write_text(to_yaml(config))
    known = identify("teacher", 1, config.teacher, outside=source.identity(config.teacher))
    folder = config.root / "teacher" / fingerprint(known)
    made = fetch(config.teacher, StageContext(folder=folder, seed=0))
    write_record(
        folder,
        Record(
            fingerprint=fingerprint(known),
            identity=known,
            artifact={**vars(made), "folder": "."},
            seconds=1,
            finished="2026-01-01T00:00:00+00:00",
        ),
    )
    assert pin(config, []).teacher.revision == "main"
    assert pin(config, [], refresh=True).teacher.revision != "main"


def test_describe_says_the_commit_and_writes_nothing(
    config: PipelineConfig, hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(to_yaml(config))
    words = ["describe", "--config", str(tmp_path / "mine.yaml"), "--until", "teacher"]
    assert main(words) == 0
    assert "A run would not start" not in capsys.readouterr().out
    assert not Path(config.workdir).exists()
    pin(config, [])
    moved = push_words(hub, tmp_path, ["another text"])
    assert main([*words, "--refresh"]) == 0
    assert f"to {moved[:12]}." in " ".join(capsys.readouterr().out.split())
    assert moved not in yaml.safe_load((Path(config.workdir) / NAME).read_text()).values()
