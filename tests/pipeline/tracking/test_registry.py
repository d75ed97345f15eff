"""Versions and aliases in a real registry: who becomes candidate, who becomes champion, and who does not."""

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
from published import WORDS, report_of, tiny_student
from transformers import AutoModelForMaskedLM, AutoTokenizer

from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.registry import LowerOn, PublishedModel
from pipeline.tracking.run import RunAbout, run
from stages.context import StageContext
from stages.publish.config import PublishConfig
from stages.publish.stage import publish
from stages.storage import Folder

ABOUT = RunAbout(name="demo", workdir="/runs/demo", fingerprint="f", parameters={}, yaml="seed: 0\n")
NAME = "tiny"
NOISE = np.random.default_rng(0).normal(0, 0.02, (10, 40))
START = np.random.default_rng(1).gamma(4.0, 0.6, 40) + 3
"""Losses a block of any student at step 0."""

Score = Callable[[Path], np.ndarray]
Register = Callable[..., PublishedModel]


def never(folder: Path) -> np.ndarray:
    raise AssertionError(f"nothing is to be scored again: {folder}")


@pytest.fixture
def register(mlflow_store: str, tmp_path: Path) -> Register:
    """Publish a student of `seed` with these losses, in a run of its own."""

    def call(
        seed: int,
        losses: np.ndarray,
        *,
        digest: str = "d1-40",
        score: Score = never,
        words: tuple[str, ...] = WORDS,
        lower_on: LowerOn | None = None,
    ) -> PublishedModel:
        folder = tmp_path / f"{seed}-{digest}"
        student = tiny_student(folder / "student", seed, words)
        report = report_of(folder / "report", losses, START, digest)
        place = StageContext(folder=Folder(str(folder / "publish")), seed=0)
        published = publish(PublishConfig(name=NAME), student, report, None, place)
        with run(TrackingConfig(uri=mlflow_store, system_metrics=False), ABOUT) as live:
            return live.log_model(published, report, name=NAME, score=score, lower_on=lower_on)

    return call


def aliases(mlflow_store: str) -> dict[str, int]:
    found = mlflow.MlflowClient(mlflow_store).get_registered_model(NAME).aliases
    return {alias: int(version) for alias, version in found.items()}


def test_log_model_candidate_loads_from_the_registry_and_fills_a_mask(
    register: Register, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = register(1, START - 1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    fill = mlflow.transformers.load_model(f"models:/{NAME}@candidate")
    guesses = fill("The [MASK] of a tensor.")
    assert len(guesses) == 5
    assert all(guess["token_str"] in {*WORDS, "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]", "s"} for guess in guesses)
    assert model.model_uri == "models:/tiny/1"
    version = mlflow.MlflowClient(mlflow_store).get_model_version(NAME, "1")
    assert version.run_id == model.run_id
    assert float(version.tags["heldout_mlm_loss"]) == pytest.approx((START - 1).mean(), abs=1e-5)


def test_log_model_tokenizer_in_the_registry_gives_what_the_student_takes_and_tells_nothing_of_the_machine(
    register: Register, mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(1, START - 1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    whole = Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}@candidate", dst_path=str(tmp_path / "loaded")))
    said = json.loads((whole / "components" / "tokenizer" / "tokenizer_config.json").read_text())
    assert said["model_input_names"] == ["input_ids", "attention_mask"]
    assert not {"is_local", "local_files_only"} & set(said)
    assert str(tmp_path) not in json.dumps(said)


def test_gate_first_that_beats_its_own_step_0_is_champion(register: Register, mlflow_store: str) -> None:
    model = register(1, START - 0.5 + NOISE[0])
    assert model.is_champion
    assert "step 0" in model.verdict
    assert aliases(mlflow_store) == {"candidate": 1, "champion": 1}


def test_gate_first_that_learnt_nothing_is_candidate_alone(register: Register, mlflow_store: str) -> None:
    assert not register(1, START + NOISE[0]).is_champion
    assert aliases(mlflow_store) == {"candidate": 1}


def test_gate_worse_stays_candidate_and_better_takes_over(register: Register, mlflow_store: str) -> None:
    register(1, START - 0.5 + NOISE[0])
    assert not register(2, START - 0.4 + NOISE[1]).is_champion
    assert aliases(mlflow_store) == {"candidate": 2, "champion": 1}
    third = register(3, START - 0.6 + NOISE[2])
    assert third.is_champion
    assert "version 1" in third.verdict
    assert aliases(mlflow_store) == {"candidate": 3, "champion": 3}


def test_gate_better_on_text_takes_over_where_it_is_lower_on_no_task(register: Register, mlflow_store: str) -> None:
    """The tasks are asked about where all else is won, with the champion's own files."""
    asked: list[tuple[bool, str]] = []

    def lower_on(says: str) -> LowerOn:
        return lambda folder, mark: asked.append(((folder / "model.safetensors").exists(), mark)) or says

    first = register(1, START - 0.5 + NOISE[0], lower_on=lower_on("never asked"))
    worse = register(2, START - 0.4 + NOISE[1], lower_on=lower_on("never asked"))
    assert not asked
    assert (first.is_champion, worse.is_champion) == (True, False)
    third = register(3, START - 0.6 + NOISE[2], lower_on=lower_on("lower on sst2 by 0.1 accuracy"))
    assert not third.is_champion
    assert third.verdict.endswith("; lower on sst2 by 0.1 accuracy")
    fourth = register(4, START - 0.7 + NOISE[3], lower_on=lower_on(""))
    assert fourth.is_champion
    assert fourth.verdict.endswith("; on no task of the gate lower")
    weights = mlflow.MlflowClient(mlflow_store).get_model_version(NAME, "1").tags["weights"]
    assert asked == [(True, weights), (True, weights)]


def test_gate_better_by_chance_alone_stays_candidate(register: Register, mlflow_store: str) -> None:
    register(1, START - 0.5)
    by_chance = np.where(np.arange(40) == 7, 0.1, 0.0)  # one block decides
    assert not register(2, START - 0.5 - by_chance).is_champion
    assert aliases(mlflow_store) == {"candidate": 2, "champion": 1}


def test_gate_same_model_again_is_the_same_version(register: Register, mlflow_store: str) -> None:
    first = register(1, START - 0.5)
    again = register(1, START - 0.5)
    assert (again.version, again.run_id) == (1, first.run_id)
    assert again.is_champion
    assert len(mlflow.MlflowClient(mlflow_store).search_model_versions(f"name = '{NAME}'")) == 1


@pytest.mark.parametrize(("champion_now", "wins"), [(START - 0.7, False), (START - 0.5, True)])
def test_gate_champion_of_other_heldout_text_is_scored_on_this_one(
    register: Register, mlflow_store: str, tmp_path: Path, champion_now: np.ndarray, wins: bool
) -> None:
    """Its recorded losses are of other blocks: were they compared, the outcome would be the opposite."""
    register(1, START - (0.5 if not wins else 0.7), digest="other-40")
    trained = AutoModelForMaskedLM.from_pretrained(tmp_path / "1-other-40" / "student").state_dict()
    scored = []

    def score(folder: Path) -> np.ndarray:
        again = AutoModelForMaskedLM.from_pretrained(folder).state_dict()
        scored.append(all((again[name] == value).all() for name, value in trained.items()))
        assert AutoTokenizer.from_pretrained(folder).mask_token == "[MASK]"
        return champion_now

    assert register(2, START - 0.6 + NOISE[3], digest="this-40", score=score).is_champion is wins
    assert scored == [True], "the champion's own weights, once"
    assert aliases(mlflow_store) == {"candidate": 2, "champion": 2 if wins else 1}


def move_away(tmp_path: Path) -> None:
    """The checkout moves: what was recorded of the files so far leads nowhere."""
    (tmp_path / "mlflow" / "mlartifacts").rename(tmp_path / "moved")


@pytest.mark.parametrize("digest", ["d1-40", "other-40"])
def test_gate_champion_whose_files_are_unreachable_is_not_compared_and_stays(
    register: Register, mlflow_store: str, tmp_path: Path, digest: str
) -> None:
    """By its recorded losses, on the same text, as by its model, which would have to be scored on other text."""
    first = register(1, START - 0.5)
    assert first.is_champion
    move_away(tmp_path)
    second = register(2, START - 1, digest=digest)
    assert not second.is_champion
    assert second.verdict.startswith("not comparable with version 1, which stays champion: its files cannot be read (")
    assert second.verdict.endswith(f"of run {first.run_id}")
    assert aliases(mlflow_store) == {"candidate": 2, "champion": 1}


def test_gate_champion_whose_losses_are_damaged_is_not_compared_and_stays(
    register: Register, mlflow_store: str, tmp_path: Path
) -> None:
    register(1, START - 0.5)
    (losses,) = (tmp_path / "mlflow").rglob("losses.npz")
    losses.write_bytes(losses.read_bytes()[:100])
    assert "not comparable with version 1" in register(2, START - 1).verdict
    assert aliases(mlflow_store) == {"candidate": 2, "champion": 1}


def test_gate_same_model_again_whose_files_are_unreachable_is_a_new_version_that_loads(
    register: Register, mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(1, START - 0.5)
    move_away(tmp_path)
    assert register(1, START - 0.5).version == 2
    assert aliases(mlflow_store) == {"candidate": 2, "champion": 1}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    assert len(mlflow.transformers.load_model(f"models:/{NAME}@candidate")("The [MASK] of a tensor.")) == 5


def test_gate_champion_of_another_vocabulary_is_not_compared(register: Register, mlflow_store: str) -> None:
    register(1, START - 0.5)
    other = register(2, START - 2, words=(*WORDS, "more"))
    assert not other.is_champion
    assert "vocabulary" in other.verdict
    assert aliases(mlflow_store) == {"candidate": 2, "champion": 1}
