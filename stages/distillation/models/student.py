"""A student from a teacher: some of the teacher's own blocks, its embeddings and its head (DistilBERT, section 3)."""

from collections.abc import Sequence
from typing import Literal

from stages.distillation.families.family import LanguageModel
from stages.distillation.families.table import accept
from stages.distillation.models.copies import same_class

StudentClass = Literal["auto", "same"]
"""auto: the smaller class that a family may have for its students, where that can express the teacher; same: the
teacher's own."""


def take_blocks(
    teacher: LanguageModel, layers: Sequence[int], *, dropout: float = 0.1, kind: StudentClass = "auto"
) -> LanguageModel:
    """A student made of the teacher's embeddings, its blocks `layers` and its whole head; a copy, in fp32.

    With all of the blocks it computes what the teacher does.
    """
    family = accept(teacher.config)
    if kind == "auto" and family.smaller is not None:
        student = family.smaller(teacher, layers, dropout)
        if student is not None:
            return student
    changes = family.changes(teacher.config, layers)
    return same_class(teacher, layers, blocks=family.blocks, dropout=dropout, dropouts=family.dropouts, **changes)
