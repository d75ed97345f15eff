"""The student at step 0, from which a training and all its checkpoints take the tokenizer."""

import json
from pathlib import Path

from tiny import WORDS, tiny_bert
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertTokenizer

from stages.context import StageContext
from stages.distil.config import DistilConfig
from stages.distil.stage import untouched
from stages.storage import Folder
from stages.teacher.stage import described
from stages.tokens.blocks import Blocks


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
