"""What can be known of a corpus before it is read: whether it is there and looks whole, which version it is."""

from dataclasses import replace

from stages.corpus import readers, validation
from stages.corpus.config import CorpusConfig
from stages.corpus.sources import hub, library_docs
from stages.corpus.sources.files import find as find_files
from stages.corpus.sources.tasks import distributions, library_files
from stages.errors import ConfigError, InputError
from stages.storage import Folder

PROBED_FILES = 16


def check(config: CorpusConfig, root: Folder | None = None) -> None:
    """Raise `InputError` for what can be seen to be wrong before anything is read through.

    `root` is where the run keeps its stages. Nothing named or matched, unknown formats, empty files, tables without the
    text column or whose footer or first row cannot be read, and, in the first file and some of the others, text that is
    not UTF-8; data sets and distributions that are not there. Damaged files pass where they are to be skipped.
    """
    if config.source == "library-docs":
        library_files(config)
        return
    if not config.paths:
        raise ConfigError("corpus.paths", config.paths, f"must name at least one of the {config.source} to read")
    if config.source == "datasets":
        for path in config.paths:
            hub.resolve(path, config.dataset_name, config.split)
        return
    files = find_files(config.paths, root)
    for file in files:
        if file.bytes == 0 and config.on_damaged == "refuse":
            raise InputError(f"{file.uri} is empty; remove it or leave it out of corpus.paths.")
    files = [file for file in files if file.bytes]
    damaged = validation.first_of_tables([file.uri for file in files], config.text_column, config.mark)
    if damaged is not None and config.on_damaged == "refuse":
        raise validation.refusal(damaged)
    for file in files[:: -(-len(files) // PROBED_FILES) or 1]:
        try:
            next(readers.documents(file.uri, config.text_column, "line", config.mark), None)
        except readers.Damaged as error:
            if config.on_damaged == "refuse":
                raise validation.refusal(error) from None


def check_reachable(config: CorpusConfig) -> None:
    """Raise `InputError` where a corpus that is about to be read lies on a hub that does not answer: with its commit
    known, `check` asks nobody."""
    if config.source == "datasets":
        hub.reach(config.paths)


def unpinned(config: CorpusConfig) -> CorpusConfig:
    """`config` as it is known by in records: a data set by its name, the commit being part of `identity`, so that one
    that was found out and one that was given are the same."""
    return replace(config, paths=tuple(map(hub.unpinned, config.paths))) if config.source == "datasets" else config


def identity(config: CorpusConfig, root: Folder | None = None) -> dict[str, str]:
    """What the outside world adds to the config, {name: version}: a change of it is a change of the corpus.

    No two things share a name. `root` is where the run keeps its stages.
    """
    if config.source == "library-docs":
        train, heldout = distributions(config)
        return {name: library_docs.version_of(name) for name in sorted({*train, *heldout})}
    if config.source == "datasets":
        marks: dict[str, str] = {}
        for place, path in enumerate(dict.fromkeys(config.paths)):
            for name, mark in hub.identity(path, config.dataset_name, config.split).items():
                marks[f"{place}:{name}" if name in marks else name] = mark
        return marks
    return {
        f"{place}/{file.name}": f"{file.bytes}:{file.changed_ns}"
        for place, path in enumerate(config.paths)
        for file in find_files((path,), root)
    }
