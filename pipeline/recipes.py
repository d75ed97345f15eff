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
        corpus=CorpusConfig(
            source="datasets",
            paths=("wikimedia/wikipedia:20231101.en", "SamuelYang/bookcorpus"),
            # Ours: the books' rows are 74 million sentences. Some pages of a book are a document, eight blocks long.
            join_rows=16_000,
            join_paths=("SamuelYang/bookcorpus",),
        ),
        tokens=TokensConfig(block_length=512),
        teacher=TeacherConfig(model="google-bert/bert-base-uncased"),
        distil=DistilConfig(epochs=3.0, global_batch=4096, micro_batch=16, layers="released", workers=8, gpu=True),
        # A trial is a thirtieth of the run, which has some 13 billion tokens: the search costs a third of it.
        tune=TuneConfig(budget_tokens=400_000_000, evaluate_blocks=1024),
        evaluate=EvaluateConfig(blocks=2048),
        publish=PublishConfig(name="distilbert-base-uncased"),
        tracking=TrackingConfig(),
    )


def distilroberta_base() -> PipelineConfig:
    """RoBERTa-base halved on OpenWebText, as the original's DistilRoBERTa; what is not published is BERT's above."""
    base = distilbert_base_uncased()
    return replace(
        base,
        name="distilroberta-base",
        workdir="runs/distilroberta-base",
        corpus=CorpusConfig(source="datasets", paths=("Skylion007/openwebtext",)),  # published: OpenWebText
        # RoBERTa was taught full sentences, which run on across documents (its section 4.2).
        tokens=TokensConfig(block_length=512, packing="stream"),
        teacher=TeacherConfig(model="FacebookAI/roberta-base"),  # published, as are the six blocks
        publish=PublishConfig(name="distilroberta-base", license="mit", datasets=("Skylion007/openwebtext",)),
    )


def distilgpt2() -> PipelineConfig:
    """GPT-2 halved on OpenWebText, as the original's DistilGPT2; what is not published is BERT's above, or ours."""
    base = distilroberta_base()
    return replace(
        base,
        name="distilgpt2",
        workdir="runs/distilgpt2",
        tokens=TokensConfig(block_length=1024, packing="stream"),  # GPT-2's: running text, 1,024 positions
        teacher=TeacherConfig(model="openai-community/gpt2"),  # published, as are the six blocks
        # Ours: half as many blocks as they are twice as long, so that a step sees as many tokens.
        distil=replace(base.distil, global_batch=2048, micro_batch=8),
        publish=replace(base.publish, name="distilgpt2"),
    )


LARGEST_WIKIPEDIAS = tuple("en de fr es ru ja it zh pt pl nl ar uk sv cs ko tr vi fa hi".split())
"""Ours: of the 104 languages that multilingual BERT was taught, twenty of those with most text."""


def distilbert_base_multilingual_cased() -> PipelineConfig:
    """Multilingual BERT halved on Wikipedias, as the original's DistilmBERT."""
    base = distilbert_base_uncased()
    return replace(
        base,
        name="distilbert-base-multilingual-cased",
        workdir="runs/distilbert-base-multilingual-cased",
        corpus=CorpusConfig(
            source="datasets",
            # Published: Wikipedia in 104 languages, the same as the teacher's.
            paths=tuple(f"wikimedia/wikipedia:20231101.{language}" for language in LARGEST_WIKIPEDIAS),
        ),
        teacher=TeacherConfig(model="google-bert/bert-base-multilingual-cased"),  # published, as are the six blocks
        publish=PublishConfig(name="distilbert-base-multilingual-cased", language=LARGEST_WIKIPEDIAS),
    )


def modernbert_base_half() -> PipelineConfig:
    """ModernBERT-base, 22 blocks to 11; nobody has published such a one, so all but the teacher's own is ours."""
    base = distilbert_base_uncased()
    return replace(
        base,
        name="modernbert-base-half",
        workdir="runs/modernbert-base-half",
        corpus=CorpusConfig(source="datasets", paths=("HuggingFaceFW/fineweb-edu:sample-10BT",)),
        tokens=TokensConfig(block_length=1024),  # the teacher's own for most of its training
        teacher=TeacherConfig(model="answerdotai/ModernBERT-base"),
        distil=replace(
            base.distil,
            layers="alternate",
            mask_rate=0.3,  # the teacher's own
            mask_smoothing=0.0,  # the teacher's own
            global_batch=2048,
            micro_batch=8,
        ),
        publish=PublishConfig(name="modernbert-base-half", datasets=("HuggingFaceFW/fineweb-edu",)),
    )


_RECIPES: tuple[Callable[[], PipelineConfig], ...] = (
    demo,
    demo_teacher,
    distilbert_base_uncased,
    distilroberta_base,
    distilgpt2,
    distilbert_base_multilingual_cased,
    modernbert_base_half,
)
NAMES = tuple(recipe.__name__.replace("_", "-") for recipe in _RECIPES)


def recipe(name: str) -> PipelineConfig:
    """The recipe called `name`; KeyError where there is none."""
    return function(name)()


def function(name: str) -> Callable[[], PipelineConfig]:
    """What makes the recipe called `name`, with a docstring about it; KeyError where there is none."""
    return dict(zip(NAMES, _RECIPES, strict=True))[name]
