"""What the page says of a run, gathered from its config, its records and its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.config.redaction import redacted
from pipeline.config.schema import PipelineConfig, bearing
from pipeline.html_report.charts import Chart
from pipeline.html_report.curves import heldout_charts, loss_charts, progress_charts
from pipeline.html_report.examples import Example
from pipeline.records.products import Products
from pipeline.records.report import RunReport
from pipeline.runtime.environment import environment
from pipeline.runtime.hardware import hardware
from pipeline.tracking.figures import History
from pipeline.tracking.pages import Measure, measures
from stages.corpus.artifact import Corpus
from stages.distil.artifact import Student
from stages.publish.task_figures import metric_title, others_of
from stages.tasks.artifact import TaskResult
from stages.tokens.blocks import Blocks
from stages.training.checkpoints import checkpoint

Rows = Sequence[tuple[str, str]]
"""(what, how much)."""
CURVE = 600
"""Points of a curve at most."""
_TILES = 2
"""Tasks that have a figure each at the top."""
_LONGEST = 300
"""Characters of a value: a shell may have put a thousand files in the place of a `*`."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A labelled task, each cell as it is shown."""

    result: TaskResult

    @property
    def about(self) -> str:
        """How it was measured."""
        seeds = f"{self.result.seeds} {'seed' if self.result.seeds == 1 else 'seeds'}"
        return f"{metric_title(self.result.metric)} · {self.result.n:,} examples · {seeds}"

    @property
    def teacher(self) -> str:
        """Its score."""
        return f"{self.result.teacher:.3f}"

    @property
    def student(self) -> str:
        """Its score."""
        return f"{self.result.student:.3f}"

    def of(self, other: str) -> str:
        """The score of a further model; empty where there is none."""
        return f"{self.result.others[other]:.3f}" if other in self.result.others else ""

    @property
    def kept(self) -> str:
        """Of the teacher's score."""
        return f"{self.result.kept:.1%}"

    @property
    def interval(self) -> str:
        """Of what was kept."""
        low, high = self.result.interval
        return f"{low:.1%} to {high:.1%}"

    @property
    def bar(self) -> tuple[float, float, float]:
        """Where kept and the ends of its interval lie on a line from 50 % to 110 % kept, in per cent of its length."""
        low, high = self.result.interval
        return _place(low), _place(self.result.kept), _place(high)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The page's parts, in order; an empty one is left out."""

    name: str
    recipe: str
    made: str
    fingerprint: str
    verdict: str
    headline: Rows
    measures: Sequence[Measure]
    closeness: str
    tasks: Sequence[Task]
    others: Sequence[str]
    """Further models that tasks have scores of."""
    losses: Sequence[Chart]
    heldout: Sequence[Chart]
    progress: Sequence[Chart]
    examples: Sequence[Example]
    causal: bool
    corpus: Rows
    cost: Rows
    seconds: Rows
    """By stage."""
    settings: Mapping[str, Rows]
    """All fields that bear on the run, by stage."""


def contents(config: PipelineConfig, products: Products, report: RunReport, examples: Sequence[Example]) -> Contents:
    """All of it, of a run that published; its training's reports are read from the last checkpoint."""
    assert products.student is not None, "a run that published has a student"
    assert products.blocks is not None
    student, blocks = products.student.artifact, products.blocks.artifact
    history = History(limit=CURVE)
    for told in checkpoint.history(products.student.folder / "checkpoints"):
        history.add(int(told["step"]), {name: value for name, value in told.items() if name != "step"})
    return Contents(
        name=config.publish.name,
        recipe=config.name,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        fingerprint=report.fingerprint,
        verdict=report.verdict,
        headline=headline(report),
        measures=measures(report),
        closeness=f"{report.agreement:.1%} agree · KL {report.kl:.3f} nats · cosine {report.cosine:.3f}",
        tasks=[Task(result=task) for task in report.tasks.values()],
        others=others_of(report.tasks),
        losses=loss_charts(history.curves, report.objective),
        heldout=heldout_charts(history.curves, report),
        progress=progress_charts(history.curves),
        examples=examples,
        causal=report.objective == "causal",
        corpus=_corpus(config, products.corpus.artifact, blocks),
        cost=_cost(config, report, student),
        seconds=[(stage, f"{seconds:,.1f}") for stage, seconds in report.seconds.items()],
        settings=settings(config),
    )


def headline(report: RunReport) -> Rows:
    """The tiles on top: what was kept at which size and speed, tasks first."""
    kept = [task.kept for task in report.tasks.values()]
    tasks = [(f"of the teacher’s score kept on {name}", f"{task.kept:.1%}") for name, task in report.tasks.items()]
    if len(kept) > _TILES:
        tasks = [(f"of the teacher’s score kept, mean of {len(kept)} tasks", f"{sum(kept) / len(kept):.1%}")]
    at = "next tokens" if report.objective == "causal" else "masked words"
    return [
        *tasks,
        (f"of its top-1 kept at {at} of held-out text", f"{report.kept_top1:.1%}"),
        ("of its size", f"{report.size_ratio:.1%}"),
        ("its speed, on a CPU", f"{report.speedup:.2f} ×"),
        *([] if tasks else [("of its first guesses are the teacher’s too", f"{report.agreement:.1%}")]),
    ]


def _corpus(config: PipelineConfig, corpus: Corpus, blocks: Blocks) -> Rows:
    paths = ", ".join(config.corpus.paths)
    left_out = corpus.skipped_files + corpus.left_out
    return [
        ("source", _short(f"{config.corpus.source}: {paths}" if paths else config.corpus.source)),
        ("language", corpus.language),
        ("documents", f"{corpus.documents:,} to learn from, {corpus.heldout_documents:,} held out"),
        ("characters", f"{corpus.characters:,} to learn from, {corpus.heldout_characters:,} held out"),
        *([("files or folders left out", f"{left_out:,}")] if left_out else []),
        ("tokens", f"{blocks.tokens:,} to learn from, {blocks.heldout_tokens:,} held out"),
        (
            "blocks",
            f"{blocks.rows:,} of {blocks.block_length} tokens, {blocks.fill:.1%} full, packing {blocks.packing}",
        ),
        ("unknown", f"{blocks.figures['unknown_rate']:.2%} of the text"),
        ("vocabulary", f"{blocks.vocabulary.size:,} tokens"),
        ("digest", corpus.digest[:16]),
    ]


def _cost(config: PipelineConfig, report: RunReport, student: Student) -> Rows:
    made = environment()
    total = sum(report.seconds.values())
    versions = ", ".join(f"{name} {getattr(made, name)}" for name in ("python", "torch", "transformers", "ray"))
    commit = f"{(made.commit or 'unknown')[:12]}{' and changed files' if made.dirty else ''}"
    return [
        ("tokens seen", f"{student.tokens:,} in {student.steps:,} optimiser steps"),
        ("distilling", f"{student.seconds:,.0f} s at {student.tokens_per_second:,.0f} tokens/s"),
        ("all stages", f"{total:,.0f} s; what was reused counts what it took when it was made"),
        ("workers", _short(config.distil.workers)),
        ("machine of the driver", hardware()),
        ("memory at most", f"{report.peak_memory_mb:,.0f} MiB, all processes together"),
        ("versions", versions),
        ("commit", commit),
        ("MLflow run", report.mlflow_run_id),
        ("model", report.model_uri),
    ]


def settings(config: PipelineConfig) -> Mapping[str, Rows]:
    """The fields that bear on the run, by stage."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path, value in bearing(config).items():
        stage, _, name = path.partition(".")
        found.setdefault(stage if name else "run", []).append((name or path, _short(value)))
    return dict(found)


def _short(value: object) -> str:
    text = redacted(str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _place(kept: float) -> float:
    return round(100 * min(1.0, max(0.0, (kept - 0.5) / 0.6)), 2)
