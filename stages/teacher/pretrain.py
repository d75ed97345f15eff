"""Pre-training a small BERT from nothing: the recipe behind the demo's teacher.

A small BERT on a small budget easily stays on the unigram plateau. What leaves it: a position table that starts from
sinusoids, short blocks and few layers first; then the blocks are stacked (Gong et al. 2019) and training goes on with
longer ones.
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

from stages.context import StageContext, stage
from stages.corpus.artifact import Corpus
from stages.corpus.documents import documents
from stages.distillation.losses.weights import LossWeights
from stages.evaluation.heldout import heldout, score_all
from stages.models import load_model
from stages.storage import Folder
from stages.teacher.artifact import Teacher
from stages.teacher.pretrain_config import PhaseConfig, ReleaseConfig, VocabularyConfig
from stages.teacher.stage import trained_teacher
from stages.tokens.blocks import Blocks
from stages.tokens.vocabulary import TOKENIZER_FILES, size_of
from stages.training.driver import train
from stages.training.job import TrainingTask

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
AMPLITUDE = 0.03
"""Of the sinusoids in the position table: about the word embeddings' own size (initializer_range 0.02)."""


@dataclass(frozen=True, kw_only=True)
class Tokenized:
    """A tokenizer on storage that no model has been trained with yet."""

    folder: Folder
    size: int
    objective: Literal["masked"] = "masked"
    """Of the models that are pre-trained with it."""


@stage(name="vocabulary", version=1)
def learn_vocabulary(config: VocabularyConfig, corpus: Corpus, context: StageContext) -> Tokenized:
    """Learn a WordPiece vocabulary from the training documents alone, with BERT's normalisation and special tokens."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder()
    trainer = WordPieceTrainer(vocab_size=config.size, special_tokens=list(SPECIAL), show_progress=False)
    batches = (texts for shard in corpus.shards for texts in documents(corpus.folder, shard))
    tokenizer.train_from_iterator(batches, trainer=trainer)
    whole = BertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=True, model_max_length=config.positions)
    with context.folder.written_locally() as local:
        whole.save_pretrained(local)
    return Tokenized(folder=context.folder, size=size_of(tokenizer))


@stage(name="pretrain", version=1)
def pretrain(
    config: PhaseConfig, tokenized: Tokenized, previous: Teacher | None, blocks: Blocks, context: StageContext
) -> Teacher:
    """One phase of masked-LM pre-training, from `previous` stacked to `config.layers`, or from nothing."""
    start = context.folder / "start"
    torch.manual_seed(context.seed)
    model = fresh(config, tokenized.size)
    if previous is not None:
        with previous.folder.as_local() as local:
            stack(BertForMaskedLM.from_pretrained(local, dtype=torch.float32), model)
    with start.written_locally() as local:
        model.save_pretrained(local)
        tokenized.folder.copy_to(local, TOKENIZER_FILES)
    weights = LossWeights(alpha_ce=0.0, alpha_mlm=1.0, alpha_cos=0.0)
    trained = train(config.train, TrainingTask(start=start, teacher=None, weights=weights), blocks, context)
    name = f"a BERT of {config.layers} layers, pre-trained here"
    return trained_teacher(trained.checkpoint, context.folder / "model", name)


@dataclass(frozen=True, kw_only=True)
class Released:
    """A pre-trained model in bf16, half the bytes, with its tokenizer and `made.json`: its figures."""

    folder: Folder
    mlm_loss: float
    """On held-out text with the weights as they are stored, in nats."""
    top1: float
    heldout_tokens: int
    heldout_digest: str


@stage(name="release", version=1)
def release(config: ReleaseConfig, teacher: Teacher, blocks: Blocks, context: StageContext) -> Released:
    """Store the model's weights in bf16 and score what was stored, computing in fp32 as its users will."""
    folder = context.folder / "model"
    with teacher.folder.as_local() as source, folder.written_locally() as local:
        BertForMaskedLM.from_pretrained(source, dtype=torch.bfloat16).save_pretrained(local)
        teacher.folder.copy_to(local, TOKENIZER_FILES)
    cpu = torch.device("cpu")
    held = heldout(blocks, most=config.blocks, micro_batch=config.micro_batch, device=cpu)
    scores, _ = score_all(load_model(folder, torch.float32, cpu).eval(), held)
    released = Released(
        folder=folder,
        mlm_loss=float(scores.mlm_loss.mean()),
        top1=float(scores.top1.mean()),
        heldout_tokens=held.rows * blocks.block_length,
        heldout_digest=blocks.heldout_digest,
    )
    figures = {key: value for key, value in asdict(released).items() if key != "folder"}
    folder.write_bytes("made.json", json.dumps({"parameters": teacher.parameters, **figures}, indent=2).encode())
    return released


def model_config(config: PhaseConfig, vocab_size: int) -> BertConfig:
    """What a phase trains."""
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=4 * config.width,
        max_position_embeddings=config.positions,
        hidden_dropout_prob=config.train.dropout,
        attention_probs_dropout_prob=config.train.dropout,
    )


def fresh(config: PhaseConfig, vocab_size: int) -> BertForMaskedLM:
    """A BERT with random weights but for its position table, which starts from sinusoids."""
    model = BertForMaskedLM(model_config(config, vocab_size))
    with torch.no_grad():
        model.bert.embeddings.position_embeddings.weight.copy_(sinusoids(config.positions, config.width))
    return model


def sinusoids(positions: int, width: int) -> torch.Tensor:
    """(positions, width): sines and cosines of each position at falling frequencies (Vaswani et al. 2017, 3.5)."""
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
    angle = torch.arange(positions).unsqueeze(1) * frequency
    return AMPLITUDE * torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


@torch.no_grad()
def stack(shallow: BertForMaskedLM, deep: BertForMaskedLM) -> None:
    """Fill `deep` from `shallow`: block i from block i modulo the shallow depth, all else as it is."""
    deep.bert.embeddings.load_state_dict(shallow.bert.embeddings.state_dict())
    deep.cls.load_state_dict(shallow.cls.state_dict())
    blocks = shallow.bert.encoder.layer
    for index, block in enumerate(deep.bert.encoder.layer):
        block.load_state_dict(blocks[index % len(blocks)].state_dict())
