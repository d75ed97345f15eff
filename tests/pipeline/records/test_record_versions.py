"""What a change of the code leaves standing: fingerprints, and records that another version wrote."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console as Terminal

from pipeline.cli.console import Console
from pipeline.records.record import (
    SCHEMA,
    Record,
    Stale,
    differences,
    fingerprint,
    identify,
    read_artifact,
    read_record,
)
from pipeline.records.reuse import Reuse
from pipeline.runtime.environment import Environment, environment
from pipeline.tuning.config import TuneConfig
from stages.context import StageContext, not_fingerprinted, since, stage
from stages.corpus.config import CorpusConfig
from stages.distil.config import DistilConfig
from stages.evaluation.config import EvaluateConfig
from stages.publish.config import PublishConfig
from stages.storage import Folder
from stages.teacher.config import TeacherConfig
from stages.teacher.pretrain import PhaseConfig, ReleaseConfig, VocabularyConfig
from stages.tokens.config import TokensConfig
from stages.training.driver import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Inner:
    depth: int = 2
    threads: int = not_fingerprinted(1)


@dataclass(frozen=True, kw_only=True)
class Config:
    temperature: float = 2.0
    layers: tuple[int, ...] = (0, 2)


@dataclass(frozen=True, kw_only=True)
class Later:
    """`Config` as it may be some versions on."""

    temperature: float = 2.0
    layers: tuple[int, ...] = (0, 2)
    smoothing: float = since(0.0)
    packing: str = since("documents", before="stream")
    further: Inner = since(Inner())


BASE = identify("distil", 1, Config(), seed=7)


@pytest.mark.parametrize(
    "config", [Later(packing="stream"), Later(packing="stream", smoothing=0, further=Inner(threads=9))]
)
def test_fingerprint_of_a_later_field_that_means_as_before_is_the_same(config: Later) -> None:
    later = identify("distil", 1, config, seed=7)
    assert fingerprint(later) == fingerprint(BASE)
    assert differences(BASE, later) == ()


@pytest.mark.parametrize(
    ("config", "change"),
    [
        (Later(), "distil.packing (no such field) → 'documents'"),
        (Later(packing="stream", smoothing=0.1), "distil.smoothing (no such field) → 0.1"),
        (Later(packing="stream", further=Inner(depth=3)), "distil.further.depth (no such field) → 3"),
    ],
)
def test_fingerprint_of_a_later_field_that_means_anything_else_differs(config: Later, change: str) -> None:
    later = identify("distil", 1, config, seed=7)
    assert fingerprint(later) != fingerprint(BASE)
    assert differences(BASE, later) == (change,)


def test_differences_do_not_tell_of_a_whole_number_that_is_written_in_another_way() -> None:
    now = replace(BASE, config={"temperature": 2, "layers": [0.0, 3]})
    assert differences(BASE, now) == ("distil.layers '0,2' → '0.0,3'",)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CorpusConfig(source="library-docs"), "1ce049c157ab409c"),
        (TokensConfig(block_length=128, packing="stream"), "9361f5ae2ae120b8"),
        (TeacherConfig(model="demo"), "c967aeb980e09dc7"),
        (DistilConfig(steps=1), "50777126592034cd"),
        (EvaluateConfig(), "2d04d91ad8577bb9"),
        (PublishConfig(name="x"), "4282b0795e731392"),
        (VocabularyConfig(size=8192, positions=128), "1dc1f2886fbac1a1"),
        (PhaseConfig(layers=2, block_length=64, packing="stream", train=TrainConfig(steps=1)), "848b51f70cb0bfef"),
        (ReleaseConfig(), "ed6004fdcf90a7b2"),
        (TuneConfig(), "beec6bb5a74336e8"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_fingerprint_of_a_stage_s_config_is_the_one_that_results_are_recorded_under(
    config: object, expected: str
) -> None:
    """Where this fails, a field has come without `since`, or a default has changed: everybody's results of this stage
    are made again. Where that is meant, write the new fingerprint here."""
    assert fingerprint(identify("s", 1, config)) == expected


@dataclass(frozen=True, kw_only=True)
class Text:
    folder: Folder
    words: int


@stage(name="text", version=1)
def write(config: Config, context: StageContext) -> Text:
    context.folder.write_bytes("text.txt", b"to be or not to be")
    return Text(folder=context.folder, words=6)


@dataclass(frozen=True, kw_only=True)
class LaterText:
    """`Text` as it may be some versions on."""

    folder: Folder
    words: int
    language: str = "en"
    lengths: tuple[int, ...] = field(default=())


@stage(name="text", version=1)
def write_later(config: Config, context: StageContext) -> LaterText:
    return LaterText(folder=context.folder, words=6, lengths=(2, 2))


@dataclass
class Bench:
    """A workdir with one finished stage, whose record other versions may have written."""

    root: Path

    def __post_init__(self) -> None:
        self.shown = io.StringIO()
        self.folder = self.step()(write, Config()).folder

    def step(self, *, plan: bool = False) -> Reuse:
        watch = Console(Terminal(file=self.shown, width=200))
        return Reuse(root=Folder(str(self.root)), seed=7, watch=watch, plan=plan)

    def rewrite(self, change: Callable[[dict[str, Any]], object]) -> None:
        data = json.loads(self.folder.read_bytes("record.json"))
        change(data)
        self.folder.write_bytes("record.json", json.dumps(data).encode())

    def record(self) -> Record:
        found = read_record(self.folder)
        assert found is not None
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_record_says_its_schema_and_one_without_is_of_the_first(bench: Bench) -> None:
    before = bench.record()
    bench.rewrite(lambda data: data.pop("schema"))  # KeyError where it does not say
    assert bench.record() == before
    assert bench.step()(write, Config()).reused


@pytest.mark.parametrize("schema", [SCHEMA + 1, "two", None])
def test_record_of_a_newer_schema_is_stale_and_runs_again(bench: Bench, schema: object) -> None:
    bench.rewrite(lambda data: (data.update(schema=schema), data.pop("identity")))
    again = bench.step()(write, Config())
    assert again.why == (
        f"its record was written by a newer version: its schema is {schema!r}, and {SCHEMA} can be read",
    )
    assert bench.step()(write, Config()).reused


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(tags=["new"]),
        lambda data: data["identity"].update(hardware="cpu"),
        lambda data: data["environment"].update(cuda="13.0"),
        lambda data: data["artifact"].update(digest="ab"),
        lambda data: [data["environment"].pop(name) for name in ("python", "ray", "dirty")],
        lambda data: data.pop("environment"),
        lambda data: data.update(environment={"torch": ["2", "9"], "python": 3}),
        lambda data: data.update(environment="python 4"),
    ],
)
def test_record_with_more_or_less_than_today_s_counts(bench: Bench, change: Callable[[dict[str, Any]], object]) -> None:
    bench.rewrite(change)
    made = bench.step()(write, Config())
    assert (made.reused, made.artifact) == (True, Text(folder=bench.folder, words=6))


@pytest.mark.parametrize("name", ["identity", "artifact", "seconds", "finished"])
def test_record_without_what_it_is_about_is_stale_and_says_what_is_missing(bench: Bench, name: str) -> None:
    bench.rewrite(lambda data: data.pop(name))
    with pytest.raises(Stale, match=f"written by another version: {name} is missing"):
        read_record(bench.folder)


@pytest.mark.parametrize("content", [b"[]", b"3", b"\xff\xfe", b"{"])
def test_record_that_is_no_table_is_stale(bench: Bench, content: bytes) -> None:
    bench.folder.write_bytes("record.json", content)
    with pytest.raises(Stale, match="its record is damaged"):
        read_record(bench.folder)


def test_artifact_whose_class_has_a_further_field_with_a_default_counts_in_both_directions(bench: Bench) -> None:
    made = bench.step()(write_later, Config())
    assert (made.reused, made.artifact) == (True, LaterText(folder=bench.folder, words=6, language="en", lengths=()))
    bench.rewrite(lambda data: data["artifact"].update(lengths=[2, 3]))
    assert read_artifact(LaterText, bench.record(), bench.folder).lengths == (2, 3)
    assert bench.step()(write, Config()).artifact == Text(folder=bench.folder, words=6)


def test_artifact_of_another_class_than_the_stage_declares_is_not_recorded(bench: Bench) -> None:
    @stage(name="odd", version=1)
    def odd(config: Config, context: StageContext) -> Text:
        return LaterText(folder=context.folder, words=1)  # type: ignore[return-value]

    with pytest.raises(ValueError, match="there is no field language"):
        bench.step()(odd, Config())
    assert not bench.step(plan=True)(odd, Config()).reused


def test_record_made_with_other_versions_is_reused_and_both_commands_say_with_which(bench: Bench) -> None:
    bench.rewrite(lambda data: data["environment"].update(torch="1.0.0", commit="0123456789abcdef", dirty=True))
    by = "torch 1.0.0, commit 0123456 and changed files"
    assert bench.step(plan=True)(write, Config()).made_with == by
    assert bench.step()(write, Config()).reused
    *_, planned, reused = bench.shown.getvalue().splitlines()
    assert re.fullmatch(rf"= text +[0-9a-f]{{16}}  would be reused  \(made with {by}\)", planned)
    assert re.fullmatch(rf"= text +reused  \(took .* when it was made with {by}\)", reused)


def test_record_made_with_today_s_versions_says_nothing_of_them(bench: Bench) -> None:
    assert bench.record().environment == environment() != Environment()
    assert bench.step()(write, Config()).made_with == ""
    assert bench.shown.getvalue().splitlines()[-1].endswith("when it was made)")
    bench.rewrite(lambda data: data.pop("environment"))  # nor does one that does not know its own
    assert bench.step()(write, Config()).made_with == ""
