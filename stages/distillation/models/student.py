"""A student from a teacher: some of the teacher's own blocks, its embeddings and its head (DistilBERT, section 3)."""

from collections.abc import Sequence
from typing import Literal

from stages.distillation.families.family import LanguageModel
from stages.distillation.families.table import accept
from stages.distillation.models.copies import same_class
from stages.distillation.models.layers import Start
from stages.distillation.models.starts import check_start, started

StudentClass = Literal["auto", "same"]
"""auto: the smaller class that a family may have for its students, where that can express the teacher; same: the
teacher's own."""


def take_blocks(
    teacher: LanguageModel,
    layers: Sequence[int],
    *,
    dropout: float = 0.1,
    kind: StudentClass = "auto",
    start: Start = "teacher",
    seed: int = 0,
) -> LanguageModel:
    """A student made of the teacher's embeddings, its blocks `layers` and its whole head; a copy, in fp32.

    With all of the blocks it computes what the teacher does, unless `start` leaves something out; what is in its place
    is drawn by `seed`. Raises `ConfigError` where there is nothing to leave out.
    """
    family = accept(teacher.config)
    check_start(start, teacher.config, kind)
    student = family.smaller(teacher, layers, dropout) if kind == "auto" and family.smaller is not None else None
    if student is None:
        changes = family.changes(teacher.config, layers)
        student = same_class(
            teacher, layers, blocks=family.blocks, dropout=dropout, dropouts=family.dropouts, **changes
        )
    return started(student, teacher, start, seed)
