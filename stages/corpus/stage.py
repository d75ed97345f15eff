"""The corpus stage: from text wherever it lies to clean documents in Parquet shards, train and held-out.

How each kind of source is read is `sources/tasks.py`; what is checked beforehand, `checks.py`.
"""

import hashlib

from ray.data import DataContext

from stages.context import StageContext, stage
from stages.corpus.artifact import DROPPED, SKIPPED, Corpus
from stages.corpus.config import CorpusConfig
from stages.corpus.documents import digest_of
from stages.corpus.sources.tasks import gathered
from stages.corpus.write_documents import SplitShards
from stages.errors import InputError, unwrap
from stages.storage import Folder


@stage(name="corpus", version=2)
def gather(config: CorpusConfig, context: StageContext) -> Corpus:
    """Read the source, clean it, split it, and write the shards into `context.folder`.

    The same input gives the same shards and digest however many machines work on it. What tasks had finished when it
    was stopped is not done again. Raises `InputError` for bad input, in whichever task it is found, and where no
    document is left to train on.
    """
    if config.notice:
        context.on_notice(config.notice)
    data_context = DataContext.get_current().copy()
    data_context.execution_options.preserve_order = True
    data_context.enable_progress_bars = False
    data_context.raise_original_map_exception = True  # otherwise what a task raised is lost between two wrappers
    try:
        with DataContext.current(data_context):
            sides = gathered(config, context)
    except Exception as error:
        found = unwrap(error)
        if found is error:
            raise
        raise found from error
    if not sides.train:
        raise InputError(
            f"the corpus is empty: no document of {config.min_characters} characters or more was left to train on; "
            f"name more text in corpus.paths, or lower corpus.min_characters{_or_clean(sides)}."
            + (f" {len(sides.skipped)} damaged files were skipped." if sides.skipped else "")
        )
    if passed_over := [*sides.skipped, *sides.left_out]:
        context.folder.write_bytes(SKIPPED, "".join(f"{why}\n" for why in passed_over).encode())
    if sides.dropped:
        shown = (
            f"{one.step}: {one.documents:,} documents\n" + "".join(f"  {s}\n" for s in one.samples)
            for one in sides.dropped
        )
        context.folder.write_bytes(DROPPED, "".join(shown).encode())
    corpus = _corpus(config, context.folder, sides)
    if corpus.notice:
        context.on_notice(corpus.notice)
    return corpus


def _or_clean(sides: SplitShards) -> str:
    dropped = sum(one.documents for one in sides.dropped)
    return f", or take steps from corpus.clean, which dropped {dropped:,} documents" if dropped else ""


def _corpus(config: CorpusConfig, folder: Folder, sides: SplitShards) -> Corpus:
    ordered = f"{digest_of(sides.train):064x} {digest_of(sides.heldout):064x}"
    return Corpus(
        folder=folder,
        documents=sum(shard.documents for shard in sides.train),
        heldout_documents=sum(shard.documents for shard in sides.heldout),
        characters=sum(shard.characters for shard in sides.train),
        heldout_characters=sum(shard.characters for shard in sides.heldout),
        digest=hashlib.sha256(ordered.encode()).hexdigest(),
        shards=tuple(shard.name for shard in sides.train),
        heldout_shards=tuple(shard.name for shard in sides.heldout),
        skipped_files=len(sides.skipped),
        left_out=len(sides.left_out),
        cleaned=sum(one.documents for one in sides.dropped),
        language=config.language,
    )
