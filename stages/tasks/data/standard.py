"""The published tasks by name: where the hub has them, and how they lie in the files of their own releases."""

from dataclasses import dataclass

from stages.tasks.task import Columns, Files, HubSet, Kind, Task


@dataclass(frozen=True, kw_only=True)
class Standard:
    """A published task."""

    name: str
    kind: Kind
    metrics: tuple[str, ...]
    hub: HubSet
    folder: str = ""
    """Of its release, as GLUE's download names it; empty where `files` lie in no folder of their own."""
    files: Files | None = None
    """Names inside that folder; None where the release is read from the hub alone."""

    def task(self, source: Files | HubSet | None = None) -> Task:
        """The task, from the hub unless another source is given."""
        return Task(name=self.name, kind=self.kind, metrics=self.metrics, source=source or self.hub, standard=True)


def _glue(
    name: str,
    folder: str,
    metrics: tuple[str, ...],
    hub: Columns,
    files: Columns | None = None,
    *,
    kind: Kind = "classes",
    dev: str = "dev.tsv",
    split: str = "validation",
    header: bool = True,
) -> Standard:
    return Standard(
        name=name,
        kind=kind,
        metrics=metrics,
        hub=HubSet(name="nyu-mll/glue", train=f"{name}/train-*", dev=f"{name}/{split}-*", columns=hub),
        folder=folder,
        files=Files(train="train.tsv", dev=dev, layout="plain", columns=files or hub, header=header),
    )


def _pair(first: str, second: str, label: str = "label") -> Columns:
    return Columns(text=first, second=second, label=label)


_SENTENCE = Columns(text="sentence", label="label")
_SENTENCES = _pair("sentence1", "sentence2")

STANDARD = (
    _glue("cola", "CoLA", ("mcc",), _SENTENCE, Columns(text="3", label="1"), header=False),
    _glue("sst2", "SST-2", ("accuracy",), _SENTENCE),
    _glue("mrpc", "MRPC", ("f1", "accuracy"), _SENTENCES, _pair("#1 String", "#2 String", "Quality")),
    _glue(
        "stsb",
        "STS-B",
        ("pearson", "spearman"),
        _SENTENCES,
        _pair("sentence1", "sentence2", "score"),
        kind="number",
    ),
    _glue(
        "qqp",
        "QQP",
        ("f1", "accuracy"),
        _pair("question1", "question2"),
        _pair("question1", "question2", "is_duplicate"),
    ),
    _glue(
        "mnli",
        "MNLI",
        ("accuracy",),
        _pair("premise", "hypothesis"),
        _pair("sentence1", "sentence2", "gold_label"),
        dev="dev_matched.tsv",
        split="validation_matched",
    ),
    _glue("qnli", "QNLI", ("accuracy",), _pair("question", "sentence")),
    _glue("rte", "RTE", ("accuracy",), _SENTENCES),
    _glue("wnli", "WNLI", ("accuracy",), _SENTENCES),
    Standard(
        name="squad",
        kind="spans",
        metrics=("squad_f1", "em"),
        hub=HubSet(name="rajpurkar/squad", train="plain_text/train-*", dev="plain_text/validation-*"),
        files=Files(train="train-v1.1.json", dev="dev-v1.1.json", layout="squad"),
    ),
    Standard(
        name="imdb",
        kind="classes",
        metrics=("accuracy",),
        hub=HubSet(
            name="stanfordnlp/imdb",
            train="plain_text/train-*",
            dev="plain_text/test-*",
            columns=Columns(text="text", label="label"),
        ),
    ),
    Standard(
        name="conll2003",
        kind="tokens",
        metrics=("span_f1",),
        # the data set itself is a script; the hub keeps its tables at this reference
        hub=HubSet(
            name="eriktks/conll2003",
            train="conll2003/train/*.parquet",
            dev="conll2003/validation/*.parquet",
            revision="refs/convert/parquet",
            columns=Columns(text="tokens", label="ner_tags"),
        ),
        files=Files(train="eng.train", dev="eng.testa", layout="conll"),
    ),
)
"""GLUE's nine, dev scored where the test's labels are not published; MNLI on the matched dev. SQuAD 1.1, IMDb (dev is
its test), CoNLL 2003 (dev is testa)."""
