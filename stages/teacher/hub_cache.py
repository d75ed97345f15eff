"""A model of the hub as this machine's cache has it: what is there is read as a folder is, and nobody is asked."""

from pathlib import Path

from stages.hub import HubName, Unreachable, ask
from stages.teacher.fitness.weight_files import is_whole

_WORDS = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
"""With the first of these, nobody looks for the others."""
_SMALL = ("config.json", "tokenizer_config.json", *_WORDS)


def located(name: HubName) -> Path | None:
    """The folder in the cache with the whole model; None where it is to be had from the hub, which answers.

    Nobody is asked where all is there, or known not to be in the model. Otherwise the hub is asked once, and where it
    does not answer, what can be loaded is what counts. Raises `InputError` where neither has the model.
    """
    states = {file: _cached(name, file) for file in _SMALL}
    there = {file for file, state in states.items() if isinstance(state, str)}
    folder = next((Path(state).parent for state in states.values() if isinstance(state, str)), None)
    loads = folder is not None and "config.json" in there and bool(there & set(_WORDS)) and is_whole(folder)
    unknown = {file for file, state in states.items() if state is None}
    if loads and not unknown - (set(_WORDS[1:]) if _WORDS[0] in there else set()):
        return folder
    try:
        ask(name)
    except Unreachable:
        if loads:
            return folder
        raise
    return None


def _cached(name: HubName, file: str) -> object:
    """A file's path; something else where the model is known to have none such; None where nothing is known."""
    from huggingface_hub import try_to_load_from_cache

    return try_to_load_from_cache(name.name, file, revision=name.revision)
