"""A student from a teacher: some of the teacher's own blocks, its embeddings and its head (DistilBERT, section 3)."""

from collections.abc import Sequence

from stages.distillation.families.family import LanguageModel, StudentClass
from stages.distillation.families.table import accept


def take_blocks(
    teacher: LanguageModel, layers: Sequence[int], *, dropout: float = 0.1, kind: StudentClass = "auto"
) -> LanguageModel:
    """A student made of the teacher's embeddings, its blocks `layers` and its whole head; a copy, in fp32.

    With all of the blocks it computes what the teacher does.
    """
    return accept(teacher.config).student(teacher, layers, dropout, kind)
