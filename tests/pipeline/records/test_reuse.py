"""Running, reusing and planning the same graph of three small stages."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console as Terminal
from words import Counting, File, Words, count, gather

from pipeline.cli.console import Console
from pipeline.records.reuse import Reuse, StageResult
from stages.context import StageContext, stage
from stages.storage import Folder


@dataclass
class Bench:
    """One workdir, and the graph over it."""

    root: Path
    seed: int = 7

    def __post_init__(self) -> None:
        self.seen: list[tuple[str, int, Mapping[str, float]]] = []
        self.shown = io.StringIO()

    def go(
        self, words: Words, counting: Counting, *, plan: bool = False
    ) -> tuple[StageResult[File], StageResult[File]]:
        step = Reuse(
            root=Folder(str(self.root)),
            seed=self.seed,
            watch=Console(Terminal(file=self.shown, width=200)),
            plan=plan,
            on_metrics=lambda stage, at, metrics: self.seen.append((stage, at, metrics)),
        )
        gathered = step(gather, words, seeded=False)
        return gathered, step(count, counting, gathered, None)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "one")


def test_step_second_time_reuses_everything(bench: Bench) -> None:
    first = bench.go(Words(), Counting(least=2))
    second = bench.go(Words(), Counting(least=2))
    assert [made.reused for made in first] == [False, False]
    assert [made.reused for made in second] == [True, True]
    assert second[1].artifact == first[1].artifact
    assert second[1].artifact.words == 4


def test_step_with_fields_that_run_elsewhere_changed_reuses(bench: Bench) -> None:
    bench.go(Words(), Counting())
    assert all(made.reused for made in bench.go(Words(workers=16), Counting()))


def test_step_in_a_moved_workdir_reuses_and_finds_its_folders(bench: Bench, tmp_path: Path) -> None:
    bench.go(Words(), Counting())
    bench.root = bench.root.rename(tmp_path / "two")
    made = bench.go(Words(), Counting())
    assert all(one.reused for one in made)
    assert made[0].artifact.folder.read_bytes("words.txt") == b"to be or not to be"
    assert made[1].artifact.folder.path.is_relative_to(tmp_path / "two")


def test_step_with_a_changed_config_runs_only_what_is_downstream(bench: Bench) -> None:
    bench.go(Words(), Counting())
    gathered, counted = bench.go(Words(), Counting(least=2))
    assert gathered.reused
    assert counted.why == ("count.least 1 → 2",)
    gathered, counted = bench.go(Words(text="to be"), Counting(least=2))
    assert gathered.why == ("gather.text 'to be or not to be' → 'to be'",)
    assert counted.why == ("input gather changed",)


def test_step_with_another_seed_runs_only_what_is_random(bench: Bench) -> None:
    bench.go(Words(), Counting())
    bench.seed = 8
    gathered, counted = bench.go(Words(), Counting())
    assert gathered.reused
    assert counted.why == ("seed 7 → 8",)


def test_step_back_to_an_older_config_reuses_its_record(bench: Bench) -> None:
    bench.go(Words(), Counting())
    bench.go(Words(), Counting(least=2))
    assert bench.go(Words(), Counting())[1].reused


def test_step_that_failed_continues_in_its_folder(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="power"):
        bench.go(Words(), Counting(fail=True))
    assert "stopped after" in bench.shown.getvalue()
    assert bench.go(Words(), Counting(), plan=True)[1].why == ("not finished last time; continues",)
    assert bench.go(Words(), Counting())[1].why == ("not finished last time; continues",)
    assert [metrics["found"] for _, _, metrics in bench.seen] == [0.0, 1.0]


def test_step_tells_metrics_with_the_name_of_its_stage(bench: Bench) -> None:
    bench.go(Words(), Counting())
    assert bench.seen == [("count", 1, {"found": 0.0})]


def test_plan_of_a_fresh_workdir_says_all_would_run_and_writes_nothing(bench: Bench) -> None:
    gathered, counted = bench.go(Words(), Counting(), plan=True)
    assert gathered.why == counted.why == ("nothing recorded yet",)
    assert not bench.root.exists()
    with pytest.raises(RuntimeError, match="gather has not run"):
        _ = gathered.artifact


def test_plan_has_the_fingerprints_that_the_run_will_have(bench: Bench) -> None:
    planned = bench.go(Words(), Counting(), plan=True)
    made = bench.go(Words(), Counting())
    assert [one.fingerprint for one in planned] == [one.fingerprint for one in made]


def test_plan_after_a_change_says_what_and_why(bench: Bench) -> None:
    bench.go(Words(), Counting())
    gathered, counted = bench.go(Words(), Counting(least=3), plan=True)
    assert gathered.reused
    assert gathered.artifact.words == 6
    assert (counted.reused, counted.why) == (False, ("count.least 1 → 3",))
    assert "would be reused" in bench.shown.getvalue()
    assert "would run: count.least 1 → 3" in bench.shown.getvalue()


def test_step_whose_record_has_other_fields_runs_again_and_says_so(bench: Bench) -> None:
    made = bench.go(Words(), Counting())[1]
    record = made.folder.read_bytes("record.json").decode().replace('"words"', '"wordz"')
    made.folder.write_bytes("record.json", record.encode())
    again = bench.go(Words(), Counting())[1]
    assert not again.reused
    assert "another version" in again.why[0]
    assert replace(again, why=(), seconds=0) == replace(made, why=(), seconds=0)


def test_step_is_named_as_its_stage_declares_unless_the_graph_gives_another_name(tmp_path: Path) -> None:
    step = Reuse(root=Folder(str(tmp_path)), seed=0, watch=Console(Terminal(file=io.StringIO())))
    assert step(gather, Words()).folder.path.parent == tmp_path / "gather"
    assert step(gather, Words(), name="gather-2").folder.path.parent == tmp_path / "gather-2"


def test_step_whose_function_has_moved_reuses_and_one_with_a_newer_version_runs_again(tmp_path: Path) -> None:
    def moved(config: Words, context: StageContext) -> File:
        return gather(config, context)

    step = Reuse(root=Folder(str(tmp_path)), seed=0, watch=Console(Terminal(file=io.StringIO())))
    first = step(gather, Words())
    assert step(stage(name="gather", version=1)(moved), Words()).artifact == first.artifact
    again = step(stage(name="gather", version=2)(moved), Words())
    assert (again.reused, again.why) == (False, ("code version 1 → 2",))


def test_step_of_a_function_that_declares_nothing_is_refused(tmp_path: Path) -> None:
    def plain(config: Words, context: StageContext) -> File:
        return gather(config, context)

    step = Reuse(root=Folder(str(tmp_path)), seed=0, watch=Console(Terminal(file=io.StringIO())))
    with pytest.raises(TypeError, match=r"plain.* is no stage: mark it with @stage"):
        step(plain, Words())


def test_step_passes_on_what_its_stage_says_and_tags(tmp_path: Path) -> None:
    @stage(name="speaks", version=1)
    def speaks(config: Words, context: StageContext) -> File:
        context.on_notice("a sentence")
        context.on_tag("warning", "a sentence")
        return File(folder=context.folder, words=0)

    said: list[tuple[str, ...]] = []
    step = Reuse(
        root=Folder(str(tmp_path)),
        seed=0,
        watch=Console(Terminal(file=io.StringIO())),
        on_notice=lambda text: said.append((text,)),
        on_tag=lambda name, text: said.append((name, text)),
    )
    step(speaks, Words())
    assert said == [("a sentence",), ("warning", "a sentence")]
