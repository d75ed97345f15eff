"""The published tokenizer: what the student takes, on any machine, in this transformers and in the one before."""

import json
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from published import SPECIAL, WORDS, report_of, tiny_student, tiny_tokenizer
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase

from stages.context import StageContext
from stages.publish.config import PublishConfig
from stages.publish.stage import publish
from stages.storage import Folder

LOSSES = np.full(40, 2.5)
TEXT = "The [MASK] of a tensor is its shape."
INNER = """
import json, sys
import torch, transformers
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer, pipeline

folder, text = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
batch = tokenizer(text, return_tensors="pt")
with torch.inference_mode():
    logits = AutoModelForMaskedLM.from_pretrained(folder)(**batch).logits
    classes = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)(
        **tokenizer([text, "the shape"], return_tensors="pt", padding=True)
    ).logits
found = {
    "version": transformers.__version__,
    "ids": batch["input_ids"].tolist(),
    "logits": logits.tolist(),
    "guesses": [guess["token_str"] for guess in pipeline("fill-mask", model=folder)(text)],
    "classes": list(classes.shape),
}
print(json.dumps(found))
"""


def berts() -> PreTrainedTokenizerBase:
    """A tokenizer of BERT's own class: it gives `token_type_ids` unless told otherwise."""
    return BertTokenizer(vocab={word: i for i, word in enumerate((*SPECIAL, *WORDS))}, model_max_length=32)


def generic() -> PreTrainedTokenizerBase:
    """One of no model's class, with a token of its own, saved after it had padded and cut something."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["##s"]})  # known already, so that it has a row
    tokenizer("the tensor", padding="max_length", truncation=True, max_length=8)
    return tokenizer


def published(folder: Path, tokenizer: PreTrainedTokenizerBase) -> Path:
    """The folder that a student with this tokenizer is published in."""
    student = tiny_student(folder / "student")
    for file in folder.glob("student/tokenizer*"):
        file.unlink()
    tokenizer.save_pretrained(folder / "student")
    place = StageContext(folder=Folder(str(folder / "out")), seed=0)
    return publish(PublishConfig(), student, report_of(folder / "r", LOSSES, LOSSES), None, place).folder.path


@pytest.mark.parametrize("tokenizer", [berts, generic])
def test_published_tokenizer_gives_what_the_student_takes_and_nothing_else(
    tmp_path: Path, tokenizer: Callable[[], PreTrainedTokenizerBase]
) -> None:
    made = tokenizer()
    folder = published(tmp_path, made)
    said = json.loads((folder / "tokenizer_config.json").read_text())
    assert said["model_input_names"] == ["input_ids", "attention_mask"]
    again = AutoTokenizer.from_pretrained(folder)
    batch = again(TEXT, return_tensors="pt")
    assert set(batch) == {"input_ids", "attention_mask"}
    assert batch["input_ids"].tolist() == [made(TEXT).input_ids]
    assert again.all_special_tokens == made.all_special_tokens
    assert again.model_max_length == 32
    AutoModelForMaskedLM.from_pretrained(folder)(**batch)


@pytest.mark.parametrize("tokenizer", [berts, generic])
def test_published_files_tell_nothing_of_the_machine_and_pad_nothing(
    tmp_path: Path, tokenizer: Callable[[], PreTrainedTokenizerBase]
) -> None:
    folder = published(tmp_path, tokenizer())
    said = json.loads((folder / "tokenizer_config.json").read_text())
    traces = {"is_local", "local_files_only", "name_or_path", "tokenizer_file", "special_tokens_map_file", "max_length"}
    assert not traces & set(said)
    assert said["tokenizer_class"] in ("BertTokenizer", "PreTrainedTokenizerFast"), "names that transformers 4 knows"
    assert not isinstance(said.get("extra_special_tokens"), list), "a table in transformers 4"
    whole = json.loads((folder / "tokenizer.json").read_text())
    assert (whole["padding"], whole["truncation"]) == (None, None)
    for file in folder.glob("*.json"):
        assert str(tmp_path) not in file.read_text(), file.name


@pytest.fixture(scope="module")
def transformers_4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with transformers 4.57 and our torch; pip has to reach an index."""
    home = tmp_path_factory.mktemp("transformers-4")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "transformers==4.57.*"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (site,) = home.glob("lib/python*/site-packages")
    ours = Path(torch.__file__).parent.parent
    (site / "ours.pth").write_text(f"{ours}\n")  # after its own: what is in both comes from there
    return python


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("tokenizer", [berts, generic])
def test_published_folder_fills_masks_and_classifies_in_transformers_4(
    tmp_path: Path, transformers_4: Path, tokenizer: Callable[[], PreTrainedTokenizerBase]
) -> None:
    folder = published(tmp_path, tokenizer())
    done = subprocess.run(
        [str(transformers_4), "-I", "-c", INNER, str(folder), TEXT], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["version"].startswith("4.57.")
    words = AutoTokenizer.from_pretrained(folder)
    batch = words(TEXT, return_tensors="pt")
    assert found["ids"] == batch["input_ids"].tolist()
    with torch.inference_mode():
        logits = AutoModelForMaskedLM.from_pretrained(folder).eval()(**batch).logits
    torch.testing.assert_close(torch.tensor(found["logits"]), logits)
    best = logits[0, found["ids"][0].index(words.mask_token_id)].topk(5).indices
    assert found["guesses"] == [words.decode([i]) for i in best]
    assert found["classes"] == [2, 3]
