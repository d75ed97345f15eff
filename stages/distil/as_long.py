"""What the same time gives without a teacher: the student's training, masked-LM loss alone, for as long as it took."""

from dataclasses import replace

from stages.context import StageContext, stage
from stages.distil.artifact import Student
from stages.distil.config import DistilConfig
from stages.distil.stage import distil
from stages.teacher.artifact import Teacher
from stages.tokens.blocks import Blocks


@stage(name="distil-as-long", version=1)
def distil_as_long(
    config: DistilConfig, teacher: Teacher, blocks: Blocks, student: Student, untaught: Student, context: StageContext
) -> Student:
    """Train as `config` says, but for as many steps as take `student`'s time at the speed that `untaught` had, which
    learned as many as it: a step without a teacher is shorter. Measured once; a call that goes on has the same steps.
    """
    steps = round(student.steps * untaught.tokens_per_second / student.tokens_per_second)
    return distil(replace(config, steps=max(1, steps)), teacher, blocks, context)
