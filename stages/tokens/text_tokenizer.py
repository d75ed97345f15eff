"""A teacher's tokenizer as packing uses it: for running text, of any length, in which all words are text."""

import json
import re

from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import Sequence, Split

from stages.errors import InputError
from stages.tokens.vocabulary import Vocabulary


def text_tokenizer(tokenizer_json: str, vocabulary: Vocabulary) -> Tokenizer:
    """The tokenizer without what its file may say of padding and truncation, to which its tokens with a role, such as a
    literal `[MASK]` or `</s>`, are text like any other. Further tokens of the teacher's, such as `[URL]`, are found:
    texts were written for them."""
    said = json.loads(tokenizer_json)
    for token in said.get("added_tokens", ()):
        token["special"] = token["content"] in vocabulary.names
    tokenizer = Tokenizer.from_str(json.dumps(said))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # the special ones are not looked for: what stands there is cut into words
    whole = [name for name in vocabulary.names if _is_whole(tokenizer, name, vocabulary)]
    if single := [name for name in whole if len(name) == 1]:
        raise InputError(
            f"the teacher's tokenizer has {single[0]!r} for a special token, which it finds in ordinary text; give it "
            "a name that no text has, such as its role in brackets, in tokenizer.json and tokenizer_config.json."
        )
    if whole:  # a word like any other, where words end at spaces alone
        names = [name for name in vocabulary.names if len(name) > 1]
        first = "|".join(f"{re.escape(name[0])}(?={re.escape(name[1:])})" for name in names)
        before, cut = tokenizer.pre_tokenizer, Split(Regex(first), "isolated")
        tokenizer.pre_tokenizer = cut if before is None else Sequence([before, cut])
    return tokenizer


def _is_whole(tokenizer: Tokenizer, name: str, vocabulary: Vocabulary) -> bool:
    number = tokenizer.token_to_id(name)
    return number != vocabulary.unk_id and number in tokenizer.encode(name, add_special_tokens=False).ids
