"""The student at step 0, from which a training and all its checkpoints take the tokenizer."""

import json
from pathlib import Path

from tiny import WORDS, tiny_bert
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertTokenizer

from stages.context import StageContext
from stages.distil.artifact import Student
from stages.distil.config import DistilConfig
from stages.distil.stage import about_training, untouched
from stages.publish.model_card import _training
from stages.storage import Folder
from stages.teacher.stage import described
from stages.tokens.blocks import Blocks
from stages.training.driver import Trained


def test_untouched_student_of_a_berts_tokenizer_gets_no_token_type_ids_that_it_does_not_take(
    blocks: Blocks, tmp_path: Path
) -> None:
    vocabulary = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS))}
    tiny_bert().save_pretrained(tmp_path / "teacher")
    BertTokenizer(vocab=vocabulary).save_pretrained(tmp_path / "teacher")
    teacher = described(Folder(str(tmp_path / "teacher")), tiny_bert(), "tiny")
    context = StageContext(folder=Folder(str(tmp_path)), seed=0)
    start, _, _ = untouched(DistilConfig(layers=(0,)), teacher, blocks, context)
    batch = AutoTokenizer.from_pretrained(start.path)("w1 w2", return_tensors="pt")
    assert set(batch) == {"input_ids", "attention_mask"}
    assert batch["input_ids"].tolist() == [[2, vocabulary["w1"], vocabulary["w2"], 3]]
    assert AutoModelForMaskedLM.from_pretrained(start.path)(**batch).logits.shape == (1, 4, len(vocabulary))
    assert "token_type_ids" in AutoTokenizer.from_pretrained(tmp_path / "teacher")("w1"), "the teacher's is left alone"
    assert json.loads((start.path / "tokenizer.json").read_text())["model"]["vocab"] == vocabulary


def test_a_student_that_began_at_random_is_not_said_to_have_the_teachers_layers(blocks: Blocks, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    teacher = described(folder, tiny_bert(), "tiny")
    trained = Trained(checkpoint=folder, steps=1, tokens=2, seconds=1.0, history=())
    student = Student(
        folder=folder, start=folder, layers=(0,), parameters=1, steps=1, tokens=2, tokens_per_second=2.0, seconds=1.0
    )
    lines = {}
    for start in ("teacher", "random"):
        told = about_training(DistilConfig(steps=1, start=start), teacher, blocks, (0,), trained)
        lines[start] = (told.get("start"), told["teacher_layers"], _training(student, told).splitlines()[0])
    assert lines == {
        "teacher": (None, "0", "- teacher layers copied: 0"),
        "random": ("random", "none", "- teacher layers copied: none"),
    }
