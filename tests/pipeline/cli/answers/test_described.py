"""`distil describe --json`: a plan as one object, and nothing else on standard output."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.console import Console
from pipeline.cli.main import main
from pipeline.config.schema import PipelineConfig, override, to_yaml
from pipeline.recipes import recipe
from pipeline.records.reuse import Reuse
from stages.teacher.source import identity
from stages.teacher.stage import fetch

STAGES = ["corpus", "teacher", "tokens", "distil", "evaluate", "publish"]


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    """The demo on a text of its own."""
    (tmp_path / "text.txt").write_text("to be or not to be\n" * 50, encoding="utf-8")
    places = {"tracking.uri": f"sqlite:///{tmp_path}/mlflow.db", "workdir": str(tmp_path / "work")}
    text = {"corpus.source": "files", "corpus.paths": str(tmp_path / "text.txt")}
    return override(recipe("demo"), list({**places, **text}.items()))


def described(config: PipelineConfig, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    Path("mine.yaml").write_text(to_yaml(config).replace("row_log:", "#"), encoding="utf-8")
    assert main(["describe", "--config", "mine.yaml", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_describe_as_json_has_the_keys_that_are_documented(
    config: PipelineConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Reuse(root=config.root, seed=config.seed, watch=Console())
    made = step(fetch, config.teacher, seeded=False, outside=identity(config.teacher))
    capsys.readouterr()
    found = described(config, capsys)
    assert list(found) == ["recipe", "workdir", "storage", "stages", "cost", "refused", "notices"]
    assert (found["recipe"], found["workdir"], found["storage"]) == ("demo", config.workdir, None)
    assert found["refused"] is None
    assert [stage["stage"] for stage in found["stages"]] == STAGES
    corpus, teacher = found["stages"][:2]
    assert teacher == {
        "stage": "teacher",
        "fingerprint": made.fingerprint,
        "folder": made.folder.uri,
        "reused": True,
        "why": [],
        "seconds": made.seconds,
        "made_with": None,
    }
    assert (corpus["reused"], corpus["why"], corpus["seconds"]) == (False, ["nothing recorded yet"], None)
    assert [one["what"] for one in found["cost"]] == ["distil", "evaluate", "search"]
    distil = found["cost"][0]
    assert list(distil) == ["what", "steps", "tokens", "flops", "at_most", "places"]
    assert (distil["steps"], distil["tokens"], distil["at_most"]) == (390, 390 * 32 * 128, False)
    keys = ["device", "workers", "hours", "hours_per_billion_tokens", "why", "measured"]
    assert [list(place) for place in distil["places"]] == [keys]
    (notice,) = found["notices"]
    assert notice == "mine.yaml does not give teacher.adapt.row_log, distil.row_log: there the default is taken."


def test_describe_as_json_says_what_would_keep_a_run_from_starting(
    config: PipelineConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    found = described(config, capsys, "--tokens.block-length", "4096")
    assert "tokens.block_length" in found["refused"]
    assert found["cost"][0]["tokens"] == 390 * 32 * 4096
    assert [stage["stage"] for stage in found["stages"]] == STAGES


def test_describe_as_json_of_a_misspelt_field_is_one_sentence_and_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("describe demo --json --distil.temprature 3".split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "there is no field distil.temprature; did you mean distil.temperature?\n"
