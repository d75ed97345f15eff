"""What a run has made, stage by stage."""

from dataclasses import dataclass, fields
from typing import Any

from pipeline.records.reuse import StageResult
from stages.corpus.artifact import Corpus
from stages.distil.artifact import Student
from stages.evaluation.artifact import Report
from stages.publish.artifact import Published
from stages.tasks.artifact import TaskTable
from stages.teacher.artifact import Teacher
from stages.teacher.pretrain import Released
from stages.tokens.blocks import Blocks


@dataclass(frozen=True, kw_only=True)
class Products:
    """What a run has made, or would make; None after the last stage it was to run."""

    corpus: StageResult[Corpus]
    teacher: StageResult[Teacher]
    released: StageResult[Released] | None = None
    """A teacher that was pre-trained here, to be handed over."""
    blocks: StageResult[Blocks] | None = None
    student: StageResult[Student] | None = None
    report: StageResult[Report] | None = None
    untaught: StageResult[Student] | None = None
    """A student that learned without a teacher, to compare with on tasks."""
    as_long: StageResult[Student] | None = None
    """The same, for as long as the student learned."""
    tasks: StageResult[TaskTable] | None = None
    published: StageResult[Published] | None = None

    def all(self) -> list[StageResult[Any]]:
        """Those that are there, in order."""
        return [made for field in fields(self) if (made := getattr(self, field.name)) is not None]
