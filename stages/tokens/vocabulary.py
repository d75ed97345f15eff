"""What packing and masking must know of a teacher's tokenizer."""

from dataclasses import dataclass

from tokenizers import Tokenizer

from stages.errors import InputError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
"""What makes a folder's tokenizer loadable, by `tokenizers` and by transformers."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What packing and masking must know of a tokenizer."""

    size: int
    """Of a table by token id: see `size_of`."""
    cls_id: int
    sep_id: int
    mask_id: int
    unk_id: int
    special_ids: tuple[int, ...]
    pad_id: int = 0
    """A record from before blocks had padding says nothing of it, and needs none."""


def size_of(tokenizer: Tokenizer) -> int:
    """The largest id and one: how many rows a table by id needs. A word that stands twice in vocab.txt leaves an id
    that is no word's, and the number of words (`get_vocab_size`) is too small then."""
    return 1 + max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)


def vocabulary_of(tokenizer_json: str) -> Vocabulary:
    """The vocabulary of a `tokenizers` tokenizer given as JSON; `InputError` where it lacks one of BERT's tokens."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    names = ("[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]")
    ids = {name: found for name in names if (found := tokenizer.token_to_id(name)) is not None}
    missing = [name for name in names if name not in ids]
    if missing:
        raise InputError(
            f"the teacher's tokenizer lacks {', '.join(missing)}; choose a BERT with a WordPiece tokenizer."
        )
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special} | set(ids.values())
    return Vocabulary(
        size=size_of(tokenizer),
        cls_id=ids["[CLS]"],
        sep_id=ids["[SEP]"],
        mask_id=ids["[MASK]"],
        unk_id=ids["[UNK]"],
        special_ids=tuple(sorted(special)),
        pad_id=ids["[PAD]"],
    )
