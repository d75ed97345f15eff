"""Tiny random models of every family, in eval mode, and tokenizers of every kind, for what is the same for all."""

import copy
from collections.abc import Sequence

import torch
from tiny import LENGTH, VOCAB
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

from stages.distillation.families.table import family_of

LAYERS = 4
_SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 24,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": LENGTH + 4,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
_DISTILBERT = {"dim": 24, "n_layers": LAYERS, "n_heads": 2, "hidden_dim": 40, "max_position_embeddings": LENGTH + 4}
_GPT2 = {"n_embd": 24, "n_layer": LAYERS, "n_head": 2, "n_positions": LENGTH + 4, "bos_token_id": 3, "eos_token_id": 3}
CONFIGS: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**_SHAPE),
    "bert that DistilBERT cannot express": BertConfig(**_SHAPE, layer_norm_eps=1e-5),
    "distilbert": DistilBertConfig(vocab_size=VOCAB, **_DISTILBERT),
    "roberta": RobertaConfig(**{**_SHAPE, "pad_token_id": 1}, type_vocab_size=1, layer_norm_eps=1e-5),
    "xlm-roberta": XLMRobertaConfig(**{**_SHAPE, "pad_token_id": 1}, type_vocab_size=1),
    "camembert": CamembertConfig(**{**_SHAPE, "pad_token_id": 1}, type_vocab_size=1, hidden_act="relu"),
    "electra": ElectraConfig(**_SHAPE, embedding_size=16),
    "mpnet": MPNetConfig(**_SHAPE),
    "modernbert": ModernBertConfig(
        **_SHAPE, local_attention=6, global_attn_every_n_layers=3, cls_token_id=2, sep_token_id=3
    ),
    "gpt2": GPT2Config(vocab_size=VOCAB, **_GPT2),
}
"""By a name for a test's title."""


TOKENIZERS = {
    "bert": "WordPiece",
    "bert that DistilBERT cannot express": "WordPiece",
    "distilbert": "WordPiece",
    "electra": "WordPiece",
    "mpnet": "WordLevel",
    "modernbert": "bytes",
    "roberta": "bytes",
    "gpt2": "bytes",
    "xlm-roberta": "Unigram",
    "camembert": "Unigram",
}
"""The kind of tokenizer that each has, or, of the last ones but two, could have."""
BRACKETS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ANGLES = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
END_OF_TEXT = {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>"}


def roles_of(name: str) -> dict[str, str]:
    """A tokenizer's special tokens by their roles."""
    if name == "gpt2":
        return END_OF_TEXT
    return ANGLES if name in ("roberta", "xlm-roberta", "camembert", "mpnet") else BRACKETS


def tokenizer_for(name: str, texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer as a model of this family has it, learned from some texts."""
    kind, roles = TOKENIZERS[name], roles_of(name)
    special = list(dict.fromkeys(roles.values()))
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
    elif kind == "Unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=120, special_tokens=special, unk_token=roles["unk"], show_progress=False
        )
    else:
        model, trained = {
            "WordPiece": (models.WordPiece, trainers.WordPieceTrainer),
            "WordLevel": (models.WordLevel, trainers.WordLevelTrainer),
        }[kind]
        tokenizer = Tokenizer(model(unk_token=roles["unk"]))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trained(vocab_size=200, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer=trainer)
    if "cls" in roles:
        start, end = roles["cls"], roles["sep"]
        ids = [(token, tokenizer.token_to_id(token)) for token in (start, end)]
        tokenizer.post_processor = TemplateProcessing(single=f"{start} $A {end}", special_tokens=ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{role}_token": token for role, token in roles.items()}
    )


def model_for(name: str, tokenizer: PreTrainedTokenizerFast, **changes: object) -> PreTrainedModel:
    """A tiny model with this tokenizer's words and special ids."""
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos", "cls", "sep")}
    known = {field: number for field, number in ids.items() if number is not None}
    return tiny_model(name, scale=0.05, vocab_size=len(tokenizer), **known, **changes)


@torch.no_grad()
def tiny_model(name: str, seed: int = 0, scale: float = 0.2, **changes: object) -> PreTrainedModel:
    """A model whose every weight is random and of visible size, its norms' around 1."""
    config = copy.deepcopy(CONFIGS[name])
    for field, value in changes.items():
        setattr(config, field, value)
    torch.manual_seed(seed)
    model = family_of(config).objective.auto_class.from_config(config, attn_implementation="eager")
    generator = torch.Generator().manual_seed(seed)
    for path, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator) * scale
        norm = parameter.dim() == 1 and path.endswith("weight")
        parameter.copy_(1 + noise if norm else noise)
    return model.eval()
