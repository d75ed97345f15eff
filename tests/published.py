"""Tiny students, saved and measured, for the tests of what comes after training."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import DistilBertConfig, DistilBertForMaskedLM, PreTrainedTokenizerFast

from stages.distil.artifact import Student
from stages.evaluation.artifact import ModelScore, Report
from stages.storage import Folder

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("the", "mask", "of", "a", "tensor", "is", "its", "shape", "student", "##s", "learn", "from", "teacher", ".")


def as_bert(tokenizer_json: str, **further: object) -> PreTrainedTokenizerFast:
    """A tokenizer with BERT's special tokens, in transformers' hands."""
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tokenizer_json), **names, **further)


def tiny_tokenizer(words: tuple[str, ...] = WORDS) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer of `words` that saves and loads as BERT's does."""
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(word, vocabulary[word]) for word in ("[CLS]", "[SEP]")]
    )
    return as_bert(tokenizer.to_str(), model_max_length=32)


def tiny_student(folder: Path, seed: int = 0, words: tuple[str, ...] = WORDS) -> Student:
    """A random DistilBERT with its tokenizer in `folder`, as distilling leaves it."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(words)
    shape = DistilBertConfig(
        vocab_size=len(tokenizer), dim=16, hidden_dim=32, n_layers=2, n_heads=2, max_position_embeddings=32
    )
    DistilBertForMaskedLM(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Student(
        folder=Folder(str(folder)),
        start=Folder(str(folder)),
        layers=(0, 2),
        parameters=1234,
        steps=300,
        tokens=4_800_000,
        tokens_per_second=51_234.5,
        seconds=93.7,
    )


def report_of(folder: Path, student: np.ndarray, start: np.ndarray, heldout_digest: str = "d1-40") -> Report:
    """A report with these losses per block in its folder; the other figures are made up."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "losses.npz", teacher=student - 0.1, student=student, student_at_init=start)
    return Report(
        folder=Folder(str(folder)),
        teacher=_score(5_400_000, float(student.mean()) - 0.1, 0.4636, 4.2),
        student=_score(3_800_000, float(student.mean()), 0.4213, 2.2),
        student_at_init=_score(3_800_000, float(start.mean()), 0.2871, 2.2),
        kept_top1=0.9088,
        size_ratio=0.7037,
        speedup=1.909,
        agreement=0.7312,
        kl=0.3456,
        cosine=0.9123,
        heldout_digest=heldout_digest,
        heldout_tokens=5120,
    )


def _score(parameters: int, loss: float, top1: float, latency: float) -> ModelScore:
    return ModelScore(
        parameters=parameters,
        bytes=4 * parameters,
        mlm_loss=loss,
        perplexity=float(np.exp(loss)),
        top1=top1,
        latency_ms=latency,
    )
