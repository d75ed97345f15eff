"""The trainings of an ablation, one after another: each is the ordinary stage `distil`, scored by `evaluate`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from pipeline.ablation.children import Children
from pipeline.ablation.config import AblationConfig
from pipeline.ablation.plan import Plan, Planned, as_long, changes
from pipeline.ablation.result import Trained
from pipeline.ablation.variants import RECIPE
from pipeline.cli.console import Console
from pipeline.cli.progress_rate import duration
from pipeline.records.products import Products
from pipeline.records.reuse import Progress, Reuse, StageResult
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.pages import final_of
from stages.distil.artifact import Student
from stages.distil.stage import distil
from stages.evaluation.artifact import Report
from stages.evaluation.stage import evaluate
from stages.tokens.blocks import Blocks
from stages.tokens.stage import pack
from stages.training.checkpoints import checkpoint

Made = dict[str, list[Trained]]
Failed = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Watches a training as a console does, with whose it is in front."""

    console: Console
    label: str

    def running(self, stage: str, why: tuple[str, ...]) -> AbstractContextManager[Progress]:
        """Its bar or its lines."""
        return self.console.running(f"{self.label}: {stage}", ())

    def reused(self, made: StageResult[Any]) -> None:
        """One line for the two stages."""
        if isinstance(made.artifact, Student):
            self.console.line("[cyan]=[/cyan]", self.label, f"reused  (took {duration(made.seconds)} when it was made)")

    def planned(self, made: StageResult[Any]) -> None:
        """Nothing to say."""


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """What all trainings of an ablation have in common."""

    plan: Plan
    asked: AblationConfig
    ready: Products
    """The recipe's own corpus, teacher and blocks."""

    def recorded(self, step: Reuse) -> Made | None:
        """All of them, where all are recorded; `step` is a plan's."""
        made: Made = {one.variant.name: [] for one in self.plan.trained}
        if self.ready.blocks is None or not (self.ready.blocks.reused and self.ready.teacher.reused):
            return None
        packed = self._own
        for one, seed in self._in_turn():
            blocks = self._blocks(step, one, packed)
            if not blocks.reused:
                return None
            student, report = self._trained(replace(step, seed=seed), one, blocks)
            if not (student.reused and report.reused):
                return None
            made[one.variant.name].append(Trained(seed=seed, student=student.artifact, report=report.artifact))
        return made

    def run(self, step: Reuse, children: Children, console: Console) -> tuple[Made, Failed]:
        """Train what is not recorded, a seed at a time. A variant whose gradients stay no finite numbers has failed and
        is trained on no further seed; where that is the recipe itself, FloatingPointError is raised."""
        made: Made = {one.variant.name: [] for one in self.plan.trained}
        failed: Failed = {}
        packed, said = self._own, Once(console.say)
        for one, seed in self._in_turn():
            name = one.variant.name
            if name in failed:
                continue
            blocks = self._blocks(step, one, packed)
            try:
                with children.child(name, seed, changes(one.config, self.plan.trained[0].config)) as child:
                    watched = watched_by(
                        replace(step, seed=seed, on_notice=said), f"{name}, seed {seed}", child, console
                    )
                    student, report = self._trained(watched, one, blocks)
                    if child is not None:
                        tell(child, student, report.artifact)
            except FloatingPointError as error:
                if one.variant is RECIPE:
                    raise
                failed[name] = str(error)
                console.say(f"{name}, seed {seed}, has failed: {error}")
                continue
            made[name].append(Trained(seed=seed, student=student.artifact, report=report.artifact))
        return made, failed

    def _in_turn(self) -> Iterator[tuple[Planned, int]]:
        """All variants on the first seed, then on the next: stopped half way, each has been trained as often."""
        for seed in self.asked.seeds_from(self.plan.trained[0].config.seed):
            for one in self.plan.trained:
                yield one, seed

    def _blocks(self, step: Reuse, one: Planned, packed: dict[str, StageResult[Blocks]]) -> StageResult[Blocks]:
        """What a variant learns from; `packed` has what has been asked for, by its packing."""
        packing = one.config.tokens.packing
        if packing not in packed:
            packed[packing] = step(pack, one.config.tokens, self.ready.corpus, self.ready.teacher, seeded=False)
        return packed[packing]

    @property
    def _own(self) -> dict[str, StageResult[Blocks]]:
        """The recipe's blocks, by their packing."""
        assert self.ready.blocks is not None, "an ablation needs blocks"
        return {self.plan.trained[0].config.tokens.packing: self.ready.blocks}

    def _trained(
        self, step: Reuse, one: Planned, blocks: StageResult[Blocks]
    ) -> tuple[StageResult[Student], StageResult[Report]]:
        """Student and score: on the recipe's own held-out blocks, whatever the student learned from."""
        assert self.ready.blocks is not None, "an ablation needs blocks"
        recipe, own = self.plan.trained[0].config, self.ready.blocks.artifact
        config = as_long(one.config, blocks.artifact, recipe, own, self.asked.tokens)
        student = step(distil, config.distil, self.ready.teacher, blocks)
        report = step(evaluate, recipe.evaluate, self.ready.teacher, student, self.ready.blocks, seeded=False)
        return student, report


class Once:
    """Passes each sentence on once: what a teacher is warned of, every training says."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._said = say, set[str]()

    def __call__(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)


def watched_by(step: Reuse, label: str, child: LiveRun | None, console: Console) -> Reuse:
    """The step of one training: what it reports goes into its own run."""

    def on_metrics(stage: str, at: int, metrics: Mapping[str, float]) -> None:
        if child is not None:
            child.log_metrics(at, metrics)

    return replace(
        step,
        watch=Labelled(console=console, label=label),
        on_metrics=on_metrics,
        on_tag=_nowhere if child is None else child.set_tag,
        on_reused=_nothing,
    )


def tell(child: LiveRun, student: StageResult[Student], report: Report) -> None:
    """All that a training reported, where it was made before, and the figures that runs are sorted by."""
    if student.reused:
        for past in checkpoint.history(student.folder / "checkpoints"):
            child.log_metrics(int(past["step"]), {name: value for name, value in past.items() if name != "step"})
    child.log_metrics(0, final_of(report))


def _nothing(made: StageResult[Any]) -> None:
    """`tell` does."""


def _nowhere(name: str, text: str) -> None:
    """A training without a run has no tags."""
