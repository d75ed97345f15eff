"""Hours beside the same arithmetic by hand, the table that is shipped, and what benchmarks put into it."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig

from pipeline.config.schema import PipelineConfig
from pipeline.cost import estimate
from pipeline.cost.estimate import Cost, costs, lines
from pipeline.cost.measured import Measured, nearest, read, record
from pipeline.recipes import recipe
from pipeline.records.reuse import Reuse, Silent
from pipeline.run import graph
from stages.machine import processor
from stages.teacher.config import TeacherConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

CARD = "NVIDIA Something 80GB"
PAPER_FLOPS = 5440347832320 / 8192
"""A token's, of BERT-base 12 → 6 in blocks of 512 with KL everywhere: docs/gpu.md has it by hand."""


def fast(**changes: Any) -> Measured:
    """10^12 operations a second."""
    plain = Measured(
        device=CARD, threads=None, shape="a shape", packing="documents", compiled=True, micro_batch_flops=1e13,
        micro_batch_tokens=1000, tokens_per_second=100.0, command="benchmarks/gpu.py",
    )  # fmt: skip
    return replace(plain, **changes)


def planned(config: PipelineConfig, recorded: list[Measured]) -> dict[str, Cost]:
    step = Reuse(root=config.root, seed=config.seed, watch=Silent(), plan=True)
    return {cost.what: cost for cost in costs(config, graph(step, config), recorded)}


@pytest.fixture
def paper(tmp_path: Path) -> PipelineConfig:
    """The paper's run, with its teacher's config in a folder and a text that needs no network."""
    BertConfig().save_pretrained(tmp_path / "teacher")
    (tmp_path / "text.txt").write_text("to be or not to be\n")
    base = recipe("distilbert-base-uncased")
    corpus = replace(base.corpus, source="files", paths=(str(tmp_path / "text.txt"),))
    teacher = TeacherConfig(model=str(tmp_path / "teacher"))
    return replace(base, workdir=str(tmp_path / "work"), corpus=corpus, teacher=teacher)


def test_costs_of_the_papers_steps_on_eight_cards(paper: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = replace(paper, distil=replace(paper.distil, steps=6200))
    found = planned(config, [fast()])
    assert list(found) == ["distil", "evaluate", "search"]
    distil = found["distil"]
    assert (distil.steps, distil.tokens) == (6200, 6200 * 4096 * 512)
    assert distil.flops == pytest.approx(distil.tokens * PAPER_FLOPS, rel=1e-12)
    (place,) = distil.places
    assert (place.device, place.workers, place.why) == (CARD, 8, None)
    assert place.hours == pytest.approx(distil.flops / 8e12 / 3600)
    assert place.hours_per_billion_tokens == pytest.approx(1e9 * PAPER_FLOPS / 8e12 / 3600)
    search = found["search"]
    assert search.at_most
    assert search.tokens == pytest.approx((5 + 3 * 4) * 400e6)
    assert search.flops == pytest.approx(search.tokens * PAPER_FLOPS)


def test_costs_before_the_text_is_packed_are_those_of_a_billion_tokens(
    paper: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    distil = planned(paper, [fast()])["distil"]
    assert (distil.steps, distil.tokens, distil.flops, distil.places[0].hours) == (None, None, None, None)
    said = "\n".join(lines([distil]))
    assert "cost of distil: not known yet" in said
    assert "23 h 04 min for a billion tokens" in said
    assert "not packed yet" in said


def test_costs_on_a_processor_go_by_its_cores_and_one_that_is_not_recorded_is_said(tmp_path: Path) -> None:
    demo = replace(recipe("demo"), workdir=str(tmp_path))
    demo = replace(demo, distil=replace(demo.distil, gpu=False, workers=2))
    here = fast(device=processor(), threads=4, compiled=False, packing="stream")
    known, unknown = planned(demo, [here])["distil"], planned(demo, [fast()])["distil"]
    assert known.tokens == 390 * 32 * 128
    assert known.places[0].hours == pytest.approx(known.flops / (1e12 * len(os.sched_getaffinity(0)) / 4) / 3600)
    (place,) = unknown.places
    assert (place.hours, place.hours_per_billion_tokens, place.measured) == (None, None, None)
    assert f"no speed is recorded for {processor()}: python benchmarks/step.py --record measures it" in place.why
    assert f"on {processor()}, 2 worker(s): no speed" in lines([unknown])[1]


def test_costs_of_a_pretraining_are_a_phase_each(tmp_path: Path) -> None:
    found = planned(replace(recipe("demo-teacher"), workdir=str(tmp_path)), [])
    assert [(one.what, one.steps, one.tokens) for one in found.values()] == [
        ("pretrain-1", 1250, 1250 * 128 * 64), ("pretrain-2", 3000, 3000 * 64 * 128),
    ]  # fmt: skip


def test_nearest_is_compiled_alike_then_packed_alike_then_of_about_as_much_work() -> None:
    small, large = fast(micro_batch_flops=1e12), fast(micro_batch_flops=1e14)
    plain, stream = fast(compiled=False, micro_batch_flops=2e12), fast(packing="stream", micro_batch_flops=2e12)
    table = [small, large, plain, stream, fast(device="another")]
    ask = {"packing": "documents", "compiled": True}
    assert nearest(table, CARD, micro_batch_flops=2e12, **ask) == small
    assert nearest(table, CARD, micro_batch_flops=5e13, **ask) == large
    assert nearest(table, CARD, micro_batch_flops=None, **ask) == large
    assert nearest(table, CARD, micro_batch_flops=1e14, packing="documents", compiled=False) == plain
    assert nearest(table, CARD, micro_batch_flops=1e14, packing="stream", compiled=True) == stream
    assert nearest(table, "a third", micro_batch_flops=1e14, **ask) is None


def test_record_takes_the_place_of_the_same_and_keeps_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "measured.json"
    record([fast(), fast(device="another")], file)
    record([fast(tokens_per_second=200.0)], file)
    assert {(one.device, one.tokens_per_second) for one in read(file)} == {(CARD, 200.0), ("another", 100.0)}


def test_benchmarks_figures_become_speeds_of_the_devices_they_name() -> None:
    from measured import of_gpu, of_step

    table = [
        {"micro_batch": 32, "variant": "ours", "tokens_per_second": 2},
        {"micro_batch": 32, "variant": "reference_compiled", "tokens_per_second": 1},
        {"micro_batch": 256, "variant": "documents, compiled", "tokens_per_second": 3},
    ]
    found = list(of_gpu({"device": CARD, "speed_compiled": {"beside_compiled": table}}))
    assert [(one.packing, one.compiled, one.micro_batch_tokens) for one in found] == [
        ("stream", False, 32 * 512), ("documents", True, 256 * 512),
    ]  # fmt: skip
    assert found[0].micro_batch_flops == pytest.approx(32 * 512 * PAPER_FLOPS)
    demo = {"ours": {"tokens_per_second": 5.0}, "ours_documents": {"tokens_per_second": 4.0}}
    (stream, documents) = of_step({"device": "cpu", "processor": "a processor", "threads": 2, "demo": demo})
    assert (stream.device, stream.threads, stream.tokens_per_second, stream.packing) == (
        "a processor",
        2,
        5.0,
        "stream",
    )
    assert (documents.tokens_per_second, documents.packing) == (4.0, "documents")


def test_table_that_is_shipped_is_read_and_lies_beside_its_module() -> None:
    assert json.loads(Path(estimate.__file__).with_name("measured.json").read_text())
    assert all(one.tokens_per_second > 0 and one.flops_per_second > 1e9 for one in read())
