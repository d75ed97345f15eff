"""The publishing of a smaller classifier: a folder that anyone loads with transformers and nothing else."""

from pathlib import Path

import torch
from transformers import AutoConfig

from stages.classifier.artifact import Classifier, Shrunk
from stages.classifier.card import classifier_card
from stages.classifier.fitness import head_of
from stages.context import StageContext, stage
from stages.distillation.families.table import family_of
from stages.models import has_token_types
from stages.publish.artifact import Published
from stages.publish.config import PublishConfig
from stages.publish.written import Loaded, verified
from stages.tokens.loading import FROM_FILES, load_tokenizer
from stages.tokens.portable import make_portable


@stage(name="publish-classifier", version=1)
def publish_classifier(config: PublishConfig, teacher: Classifier, shrunk: Shrunk, context: StageContext) -> Published:
    """Write weights (fp32 safetensors), config, tokenizer and model card, and load them again before calling it done.

    Raises RuntimeError where what was written does not load as what it was.
    """
    target = context.folder / "model"
    target.remove()
    with shrunk.folder.as_local() as source, target.written_locally() as folder:
        model, tokenizer = loaded_from(source)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        make_portable(folder, token_types=has_token_types(model.config))
        family = family_of(model.config)
        card = classifier_card(
            config, teacher, shrunk, called=family.called(model.config), positions=family.positions(model.config)
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        return verified(folder, (model, tokenizer), loaded_from, target=target)


def loaded_from(folder: Path) -> Loaded:
    """Model in fp32 and eval mode, with its head, and tokenizer; from this folder alone, never from the hub."""
    head = head_of(AutoConfig.from_pretrained(folder, **FROM_FILES), str(folder))
    return head.from_pretrained(folder, dtype=torch.float32, **FROM_FILES).eval(), load_tokenizer(folder)
