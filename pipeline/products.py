"""What a run has made, stage by stage."""

from dataclasses import dataclass, fields
from typing import Any

from pipeline.reuse import Made
from stages.blocks import Blocks
from stages.corpus import Corpus
from stages.distil import Student
from stages.evaluate import Report
from stages.pretrain import Released
from stages.publish import Published
from stages.teacher import Teacher


@dataclass(frozen=True, kw_only=True)
class Products:
    """What a run has made, or would make; None after the last stage it was to run."""

    corpus: Made[Corpus]
    teacher: Made[Teacher]
    released: Made[Released] | None = None
    """A teacher that was pre-trained here, to be handed over."""
    blocks: Made[Blocks] | None = None
    student: Made[Student] | None = None
    report: Made[Report] | None = None
    published: Made[Published] | None = None

    def all(self) -> list[Made[Any]]:
        """Those that are there, in order."""
        return [made for field in fields(self) if (made := getattr(self, field.name)) is not None]
