"""Complete, named configs as functions. A variant of one is `dataclasses.replace`, or fields on the command line."""

from collections.abc import Callable
from dataclasses import replace

from pipeline.config.schema import PipelineConfig
from pipeline.tracking.config import TrackingConfig
from pipeline.tuning.config import TuneConfig
from stages.corpus.config import CorpusConfig
from stages.distil.config import DistilConfig
from stages.evaluation.config import EvaluateConfig
from stages.publish.config import PublishConfig
from stages.teacher.config import TeacherConfig
from stages.teacher.pretrain_config import PhaseConfig, PretrainConfig, ReleaseConfig, VocabularyConfig
from stages.tokens.config import TokensConfig
from stages.training.config import TrainConfig


def demo() -> PipelineConfig:
    """Half of a small BERT that comes with the project, on the documentation that every installation carries."""
    return PipelineConfig(
        name="demo",
        workdir="runs/demo",
        seed=1,
        corpus=CorpusConfig(source="library-docs"),
        tokens=TokensConfig(block_length=128, packing="stream"),  # as its teacher was taught
        teacher=TeacherConfig(model="demo"),
        distil=DistilConfig(
            steps=390,  # 1.6 million tokens: what there is time for
            global_batch=32,
            micro_batch=32,
            learning_rate=2e-3,
            # More masked positions a block are more of the teacher's answers for the same work below the head: in 40 s
            # of two cores 0.4 kept 0.855 of the teacher's top-1 (0.3: 0.846), the paper's 0.15 with smoothing 0.804.
            mask_rate=0.4,
            mask_smoothing=0.0,
            dropout=0.0,  # a student this small, seeing each block once or twice, cannot overfit
            ce_positions="masked",  # the vocabulary head is most of the work: it is spent where there is most to learn
            checkpoint_every=250,
            evaluate_every=250,
            evaluate_blocks=64,
        ),
        tune=TuneConfig(),  # a trial is a quarter of the demo: 97 steps
        evaluate=EvaluateConfig(blocks=512),
        publish=PublishConfig(name="distilray-demo"),
        tracking=TrackingConfig(),
    )


def demo_teacher() -> PipelineConfig:
    """The demo's teacher from nothing: vocabulary, two blocks on 64 tokens, then four on 128."""
    shallow = TrainConfig(
        steps=1_250,
        global_batch=128,
        micro_batch=64,
        learning_rate=1e-3,
        dropout=0.0,
        mask_smoothing=0.0,  # as held-out text is masked: what the teacher is to know is ordinary text
        checkpoint_every=250,
        evaluate_every=250,
    )
    deep = replace(shallow, steps=3_000, global_batch=64, micro_batch=32)
    base = demo()
    return PipelineConfig(
        name="demo-teacher",
        workdir="runs/demo-teacher",
        seed=1,
        until="teacher",
        corpus=base.corpus,
        tokens=base.tokens,
        pretrain=PretrainConfig(
            vocabulary=VocabularyConfig(size=8192, positions=128),
            phases=(
                PhaseConfig(layers=2, block_length=64, packing="stream", train=shallow),
                PhaseConfig(layers=4, block_length=128, packing="stream", train=deep),
            ),
            release=ReleaseConfig(),
        ),
        teacher=base.teacher,
        distil=base.distil,
        evaluate=base.evaluate,
        publish=PublishConfig(name="distilray-demo-teacher"),
        tracking=TrackingConfig(),
    )


def distilbert_base_uncased() -> PipelineConfig:
    """The paper's own run: BERT-base on Wikipedia and books, 512 tokens, 4,096 blocks a batch."""
    return PipelineConfig(
        name="distilbert-base-uncased",
        workdir="runs/distilbert-base-uncased",
        seed=56,
        corpus=CorpusConfig(source="datasets", paths=("wikimedia/wikipedia:20231101.en", "SamuelYang/bookcorpus")),
        tokens=TokensConfig(block_length=512),
        teacher=TeacherConfig(model="google-bert/bert-base-uncased"),
        distil=DistilConfig(epochs=3.0, global_batch=4096, micro_batch=16, layers="released", workers=8, gpu=True),
        # A trial is a thirtieth of the run, which has some 13 billion tokens: the search costs a third of it.
        tune=TuneConfig(budget_tokens=400_000_000, evaluate_blocks=1024),
        evaluate=EvaluateConfig(blocks=2048),
        publish=PublishConfig(name="distilbert-base-uncased"),
        tracking=TrackingConfig(),
    )


_RECIPES: tuple[Callable[[], PipelineConfig], ...] = (demo, demo_teacher, distilbert_base_uncased)
NAMES = tuple(recipe.__name__.replace("_", "-") for recipe in _RECIPES)


def recipe(name: str) -> PipelineConfig:
    """The recipe called `name`; KeyError where there is none."""
    return dict(zip(NAMES, _RECIPES, strict=True))[name]()
