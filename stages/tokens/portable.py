"""A student's tokenizer files: good on any machine, and in transformers 4 as in 5."""

import json
from pathlib import Path

INPUTS = ("input_ids", "attention_mask")
"""What every student takes. A BERT's tokenizer gives `token_type_ids` too, unless its file says otherwise; transformers
4 hands them on to the model, and one without a table of them refuses them."""
TOKEN_TYPES = "token_type_ids"
TRACES = ("is_local", "local_files_only")
"""What transformers 5 writes down of where a tokenizer was loaded from."""
LENGTHS = ("max_length", "stride", "truncation_strategy", "pad_to_multiple_of")
"""What is left of a padding or truncation that was once set."""
_PATHS = ("name_or_path", "special_tokens_map_file", "tokenizer_file", "vocab_file", "cache_dir")


def make_portable(folder: Path, *, token_types: bool = False) -> None:
    """Rewrite the tokenizer files that lie in `folder`: a student's inputs (`token_types` too, where it has a table of
    them and the tokenizer gives them), no padding or truncation, no trace of the
    machine, and names that transformers 4 knows. What the tokenizer does to a text stays as it is."""
    file = folder / "tokenizer_config.json"
    left_out = (*TRACES, *LENGTHS, *_PATHS)
    said = {name: value for name, value in json.loads(file.read_bytes()).items() if name not in left_out}
    gives = said.get("model_input_names", [TOKEN_TYPES])  # where a file is silent, transformers' classes do
    said["model_input_names"] = [*INPUTS, *([TOKEN_TYPES] if token_types and TOKEN_TYPES in gives else [])]
    if said.get("tokenizer_class") == "TokenizersBackend":
        said["tokenizer_class"] = "PreTrainedTokenizerFast"  # its name until 5, which knows both
    if isinstance(said.get("extra_special_tokens"), list):  # a table in 4, where the list has another name
        said["additional_special_tokens"] = said.pop("extra_special_tokens")
    file.write_text(json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    file = folder / "tokenizer.json"
    whole = json.loads(file.read_bytes())
    if whole.get("padding") or whole.get("truncation"):
        whole |= {"padding": None, "truncation": None}
        file.write_text(json.dumps(whole, indent=2, ensure_ascii=False), encoding="utf-8")
