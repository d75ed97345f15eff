"""A teacher's tokenizer as packing uses it: for running text, of any length, in which all words are text."""

import json

from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import Sequence, Split

CONTROL = ("[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]")
"""BERT's own: put where they mean something by whoever makes a block, never found in a text."""


def text_tokenizer(tokenizer_json: str) -> Tokenizer:
    """The tokenizer without what its file may say of padding and truncation, to which a literal `[MASK]` or `[SEP]` is
    text like any other. Further tokens of the teacher's, such as `[URL]`, are found: texts were written for them."""
    said = json.loads(tokenizer_json)
    for token in said.get("added_tokens", ()):
        token["special"] = token["content"] in CONTROL
    tokenizer = Tokenizer.from_str(json.dumps(said))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # the special ones are not looked for: what stands there is cut into words
    if any(_is_whole(tokenizer, name) for name in CONTROL if name != "[UNK]"):  # where words end at spaces alone
        bracket = Split(Regex(r"\[(?=(CLS|SEP|MASK|UNK|PAD)\])"), "isolated")
        before = tokenizer.pre_tokenizer
        tokenizer.pre_tokenizer = bracket if before is None else Sequence([before, bracket])
    return tokenizer


def _is_whole(tokenizer: Tokenizer, name: str) -> bool:
    return tokenizer.token_to_id(name) in tokenizer.encode(name, add_special_tokens=False).ids
