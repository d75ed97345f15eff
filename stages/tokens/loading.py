"""A tokenizer from a folder or the hub: what its own file says, whatever class transformers has for its model."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils import cached_file

from stages.tokens.portable import LENGTHS, TRACES
from stages.tokens.vocabulary import special_tokens

FROM_FILES: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""How what lies on this machine is loaded; code that lies beside it is never run."""


def load_tokenizer(source: str | Path, revision: str = "main") -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, or of a model on the hub: without the padding and truncation that may have been saved
    with it, and without what transformers notes of the loading and would save with it again."""
    here = Path(source).is_dir()
    tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, local_files_only=here, trust_remote_code=False)
    if not tokenizer.is_fast:
        return tokenizer
    file = own_file(source, "tokenizer.json", revision)
    if file is not None:
        tokenizer = _as_its_file_says(tokenizer, file)
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    for name in (*TRACES, *LENGTHS):
        tokenizer.init_kwargs.pop(name, None)
    return tokenizer


def own_file(source: str | Path, name: str, revision: str = "main") -> Path | None:
    """A file of a folder, or of a model on the hub; None where it has none such, or nobody answers."""
    if Path(source).is_dir():
        file = Path(source) / name
        return file if file.is_file() else None
    try:
        found = cached_file(str(source), name, revision=revision, _raise_exceptions_for_missing_entries=False)
    except OSError:
        return None
    return None if found is None else Path(found)


def _as_its_file_says(tokenizer: Any, file: Path) -> Any:
    """transformers 5 rebuilds the tokenizers of the classes that it knows from words and merges; where that is another
    kind of tokenizer than the file's, the file counts, which is what the model was taught with."""
    theirs, own = json.loads(tokenizer.backend_tokenizer.to_str()), json.loads(file.read_bytes())
    if all(_kinds(theirs.get(part)) == _kinds(own.get(part)) for part in ("model", "normalizer", "pre_tokenizer")):
        return tokenizer
    roles = {f"{role}_token": token for role, token in special_tokens(tokenizer).items()}
    kept = {"model_max_length": tokenizer.model_max_length, "model_input_names": tokenizer.model_input_names}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_file(str(file)), **roles, **kept)


def _kinds(part: Any) -> list[str]:
    """The kinds of a part of a tokenizer and of what it is made of, in order."""
    if not isinstance(part, dict):
        return []
    within = (one for name in ("normalizers", "pretokenizers") for one in part.get(name, ()))
    return [str(part.get("type")), *(kind for one in within for kind in _kinds(one))]
