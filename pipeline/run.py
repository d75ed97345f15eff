"""The pipeline as ordinary code: read `graph` once and know the product."""

from dataclasses import dataclass
from typing import Any

from pipeline.cluster import cluster, has_other_machines
from pipeline.config import PipelineConfig, flat, to_yaml
from pipeline.console import Console
from pipeline.memory import PeakMemory
from pipeline.report import RunReport
from pipeline.reuse import Made, Reuse
from pipeline.tracking import Live, RunAbout
from pipeline.tracking import run as tracked
from pipeline.workdir import begin_run, check_writable, end_run
from stages import corpus as corpora
from stages import teacher as teachers
from stages.corpus import Corpus, gather
from stages.distil import Student, distil
from stages.evaluate import Report, evaluate
from stages.pretrain import learn_vocabulary, pretrain
from stages.publish import Published, publish
from stages.teacher import Teacher, adapt, fetch
from stages.tokens import Blocks, pack


@dataclass(frozen=True, kw_only=True)
class Products:
    """What a run has made, or would make; None after the last stage it was to run."""

    corpus: Made[Corpus]
    teacher: Made[Teacher]
    blocks: Made[Blocks] | None = None
    student: Made[Student] | None = None
    report: Made[Report] | None = None
    published: Made[Published] | None = None


def graph(step: Reuse, config: PipelineConfig) -> Products:
    """The whole pipeline. Every line reuses its record when nothing that bears on it has changed."""
    corpus = step(gather, config.corpus, seeded=False, outside=corpora.identity(config.corpus))
    teacher = make_teacher(step, config, corpus)
    if config.until == "teacher":
        return Products(corpus=corpus, teacher=teacher)
    blocks = step(pack, config.tokens, corpus, teacher, seeded=False)
    if config.teacher.adapt_steps:
        teacher = step(adapt, config.teacher, teacher, blocks, name="adapt")
    student = step(distil, config.distil, teacher, blocks)
    if config.until == "distil":
        return Products(corpus=corpus, teacher=teacher, blocks=blocks, student=student)
    report = step(evaluate, config.evaluate, teacher, student, blocks, seeded=False)
    published = step(publish, config.publish, student, report, seeded=False) if config.until == "publish" else None
    return Products(corpus=corpus, teacher=teacher, blocks=blocks, student=student, report=report, published=published)


def make_teacher(step: Reuse, config: PipelineConfig, corpus: Made[Corpus]) -> Made[Teacher]:
    """The teacher as it is given, or pre-trained here phase after phase."""
    if config.pretrain is None:
        return step(fetch, config.teacher, seeded=False, outside=teachers.identity(config.teacher))
    tokenized = step(learn_vocabulary, config.pretrain.vocabulary, corpus, name="vocabulary", seeded=False)
    teacher: Made[Teacher] | None = None
    for number, phase in enumerate(config.pretrain.phases, start=1):
        blocks = step(pack, phase.tokens(), corpus, tokenized, name=f"tokens-{phase.block_length}", seeded=False)
        teacher = step(pretrain, phase, tokenized, teacher, blocks, name=f"pretrain-{number}")
    assert teacher is not None, "PretrainConfig has at least one phase"
    return teacher
