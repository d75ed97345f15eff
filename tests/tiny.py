"""A tiny BERT, tiny batches and tiny packed blocks, made in place, for the tests of the science."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from published import SPECIAL, tiny_tokenizer
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from stages.distillation.data.batch import Batch
from stages.distillation.data.masking import MaskRule, masked_per_block
from stages.storage import Folder
from stages.tokens.blocks import Blocks, Shard
from stages.tokens.vocabulary import vocabulary_of

WORDS = tuple(f"w{number}" for number in range(40))
VOCAB = len(SPECIAL) + len(WORDS)
MASK_ID, CLS_ID, SEP_ID = (SPECIAL.index(name) for name in ("[MASK]", "[CLS]", "[SEP]"))
LENGTH = 16


@torch.no_grad()
def tiny_bert(layers: int = 2, seed: int = 0, scale: float = 0.2, **changes: object) -> BertForMaskedLM:
    """A BERT in eval mode whose every weight, bias, LayerNorm and token-type row is random and of visible size."""
    shape = {
        "vocab_size": VOCAB,
        "hidden_size": 24,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 40,
        "max_position_embeddings": LENGTH + 4,
    }
    model = BertForMaskedLM(BertConfig(**{**shape, **changes}))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator) * scale
        parameter.copy_(1 + noise if name.endswith("LayerNorm.weight") else noise)
    return model.eval()


def tiny_batch(rows: int = 6, length: int = LENGTH, masked: int = 3, vocab: int = VOCAB, seed: int = 0) -> Batch:
    """A masked batch as training sees it: [CLS] first, [SEP] last, the same number of masked positions in each row."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(len(SPECIAL), vocab, (rows, length))
    ids[:, 0], ids[:, -1] = CLS_ID, SEP_ID
    positions = np.sort(np.stack([rng.choice(np.arange(1, length - 1), masked, replace=False) for _ in range(rows)]))
    labels = np.take_along_axis(ids, positions, axis=1)
    np.put_along_axis(ids, positions, np.where(rng.random(positions.shape) < 0.8, MASK_ID, labels), axis=1)
    return Batch(*(torch.from_numpy(array) for array in (ids, positions, labels)))


def no_dropout(model: nn.Module) -> nn.Module:
    """The model, in train mode, with every dropout at 0: what is compared with a plain implementation."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model.train()


def tiny_rule(length: int = LENGTH, rate: float = 0.2) -> MaskRule:
    """Uniform masking of everything but the special tokens."""
    weight = np.ones(VOCAB)
    weight[: len(SPECIAL)] = 0
    return MaskRule(weight, np.arange(len(SPECIAL), VOCAB, dtype=np.int32), MASK_ID, (masked_per_block(length, rate),))


def tiny_ids(rows: int, length: int = LENGTH, seed: int = 0) -> np.ndarray:
    """Blocks that a model can learn: every token is mostly followed by the next of the vocabulary."""
    rng = np.random.default_rng(seed)
    jumps = np.where(rng.random((rows, length)) < 0.9, 1, rng.integers(0, len(WORDS), (rows, length)))
    ids = (len(SPECIAL) + np.cumsum(jumps, axis=1) % len(WORDS)).astype(np.int32)
    ids[:, 0], ids[:, -1] = CLS_ID, SEP_ID
    return ids


def write_shard(file: Path, ids: np.ndarray, row_group: int = 5) -> None:
    """Blocks as a Parquet file with many small row groups."""
    file.parent.mkdir(parents=True, exist_ok=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(ids.ravel().astype(np.int32)), ids.shape[1])
    pq.write_table(pa.table({"ids": column}), file, row_group_size=row_group, write_page_checksum=True)


def tiny_blocks(folder: Path, rows: tuple[int, ...] = (23, 40, 9), heldout: tuple[int, ...] = (7, 5)) -> Blocks:
    """Packed blocks on disk, shards of unequal size, train and held-out, with their counts."""
    names = {
        part: [f"{part}/part-{i:05d}.parquet" for i in range(len(n))]
        for part, n in zip(("train", "heldout"), (rows, heldout), strict=True)
    }
    counts = np.zeros(VOCAB, dtype=np.int64)
    for seed, (name, n) in enumerate(zip(names["train"] + names["heldout"], rows + heldout, strict=True)):
        ids = tiny_ids(n, seed=seed)
        write_shard(folder / name, ids)
        if name.startswith("train"):
            counts += np.bincount(ids.ravel(), minlength=VOCAB)
    np.save(folder / "counts.npy", counts)
    return Blocks(
        folder=Folder(str(folder)),
        shards=tuple(Shard(name=name, rows=n) for name, n in zip(names["train"], rows, strict=True)),
        heldout=tuple(Shard(name=name, rows=n) for name, n in zip(names["heldout"], heldout, strict=True)),
        block_length=LENGTH,
        vocabulary=vocabulary_of(tiny_tokenizer(WORDS)),
        tokens=sum(rows) * LENGTH,
        heldout_tokens=sum(heldout) * LENGTH,
        tail_tokens=0,
        refused_blocks=0,
        unknown_rate=0.0,
        heldout_digest="none",
    )


def all_rows(blocks: Blocks, shards: tuple[Shard, ...]) -> np.ndarray:
    """Every block of `shards` in order, read the plain way."""
    tables = [pq.read_table(blocks.folder.path / shard.name).column("ids").to_pylist() for shard in shards]
    return np.array([row for table in tables for row in table], dtype=np.int32)
