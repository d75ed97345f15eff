"""Models from folders: what is learned, what is saved, and which inputs their tokenizers give."""

import copy
from pathlib import Path

import pytest
import torch
from tiny_families import tiny_model, tokenizer_for
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from stages.distillation.data.batch import Batch
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.student import take_blocks
from stages.distillation.step import Counts, DistillationModule
from stages.models import has_token_types, load_model, model_in, save_model
from stages.storage import Folder
from stages.tokens.portable import make_portable

TEXTS = [" ".join(f"w{i}" for i in range(40))] * 50
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["roberta", "xlm-roberta", "mpnet", "bert that DistilBERT cannot express"])
def test_an_untied_model_waits_for_no_gradient_that_never_comes_and_saves_one_bias(name: str, tmp_path: Path) -> None:
    """Beside the decoder's own bias it has another one, which is read only where the decoder is tied."""
    model = tiny_model(name, tie_word_embeddings=False)
    model.save_pretrained(tmp_path / "model")
    loaded = load_model(Folder(str(tmp_path / "model")), torch.float32, CPU, dropout=0.0).train()
    teacher = copy.deepcopy(loaded).eval()
    student = take_blocks(loaded, (0, 2))
    student.save_pretrained(tmp_path / "start")
    learner = load_model(Folder(str(tmp_path / "start")), torch.float32, CPU, dropout=0.0).train()
    batch = Batch(torch.arange(5, 13).view(1, 8), torch.tensor([[2, 4]]), torch.tensor([[7, 9]]))
    DistillationModule(learner, LossWeights())(batch, Counts(positions=8, masked=2), teacher)[0].backward()
    waited = [path for path, p in learner.named_parameters() if p.requires_grad and p.grad is None]
    assert waited == []
    torch.optim.SGD([p for p in learner.parameters() if p.grad is not None], lr=1.0).step()
    save_model(learner, tmp_path / "saved")
    saved = model_in(tmp_path / "saved")
    bias = saved.get_output_embeddings().bias  # type: ignore[union-attr]
    other = next(p for path, p in saved.named_parameters() if path.endswith(("lm_head.bias", "predictions.bias")))
    assert torch.equal(bias, other)
    assert torch.equal(bias, learner.get_output_embeddings().bias)  # type: ignore[union-attr]


def test_a_students_tokenizer_gives_token_types_where_the_student_has_them(tmp_path: Path) -> None:
    teacher, tokenizer = tiny_model("bert"), tokenizer_for("bert", TEXTS)
    ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    for kind, expected in (("same", [0, 0, 0, 1, 1]), ("auto", None)):
        student = take_blocks(teacher, (0, 2), kind=kind)  # type: ignore[arg-type]
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        tokenizer.save_pretrained(tmp_path / kind)
        make_portable(tmp_path / kind, token_types=has_token_types(student.config))
        batch = AutoTokenizer.from_pretrained(tmp_path / kind)("w1", "w2")
        assert batch.get("token_type_ids") == expected
