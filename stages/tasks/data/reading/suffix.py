"""Which formats tables and other task files have, by the ends of their names."""

from stages.corpus.readers import COMPRESSIONS

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")


def suffix_of(path: str) -> tuple[str, str | None]:
    """(".csv", "gzip") of "a.csv.gz": the format's end in lower case, and the compression by pyarrow's name."""
    bare = path.partition("?")[0] if "://" in path else path
    name = bare.rsplit("/", 1)[-1].lower()
    stem, dot, last = name.rpartition(".")
    compression = COMPRESSIONS.get(f"{dot}{last}") if stem else None
    if compression:
        stem, dot, last = stem.rpartition(".")
    return (f".{last}" if stem else ""), compression


def stem_of(path: str) -> str:
    """ "a" of "folder/a.csv.gz": what a task is called whose name is not said."""
    name = (path.partition("?")[0] if "://" in path else path).rsplit("/", 1)[-1]
    suffix, compression = suffix_of(path)
    bare = name.rpartition(".")[0] if compression else name
    return bare[: len(bare) - len(suffix)] or name
