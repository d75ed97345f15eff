"""The teacher: any BERT masked language model, by hub name or folder; fetched once, to storage.

The demo's own teacher was pre-trained by `pretrain.py`; here it is one folder among others, named "demo".
"""

import hashlib
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertForMaskedLM

from stages.context import StageContext, stage
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.family import parameter_count
from stages.distillation.models.student import check_expressible
from stages.errors import InputError
from stages.models import load_tokenizer
from stages.storage import Folder
from stages.teacher.artifact import Teacher
from stages.teacher.config import TeacherConfig
from stages.tokens.blocks import Blocks
from stages.tokens.vocabulary import TOKENIZER_FILES
from stages.training.driver import train
from stages.training.job import TrainingTask

DEMO = Path(__file__).parent / "demo"
"""The small BERT that comes with this project; its README says how it was made."""
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


def source_of(config: TeacherConfig) -> str:
    """The folder or hub name to load from."""
    return str(DEMO) if config.model == "demo" else config.model


def is_folder(config: TeacherConfig) -> bool:
    """Whether the teacher comes from a folder on this machine, rather than from the hub."""
    source = source_of(config)
    return Path(source).expanduser().is_dir() or source.startswith(("/", ".", "~"))


def check(config: TeacherConfig) -> BertConfig:
    """The teacher's config, read before anything expensive; `InputError` where it can be no teacher.

    Refused, by name: a folder that is not there or no BERT masked-LM, one without tokenizer or weights, a vocabulary
    that does not match, and whatever DistilBERT's class cannot express.
    """
    source = source_of(config)
    if is_folder(config):
        _check_folder(Path(source).expanduser())
    try:
        found = AutoConfig.from_pretrained(source, revision=config.revision)
    except (OSError, ValueError) as error:
        raise InputError(_unreachable(config, error)) from error
    check_expressible(found)
    architectures = found.architectures or []
    if architectures and not any(name in ("BertForMaskedLM", "BertForPreTraining") for name in architectures):
        raise InputError(
            f"teacher.model {config.model} is a {architectures[0]} and has no masked-LM head; "
            "choose a BertForMaskedLM or BertForPreTraining."
        )
    _check_head(config)
    _check_vocabulary(config, found)
    return found


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"teacher.model {folder} is no folder; give a folder with config.json, or a hub name.")
    there = {path.name for path in folder.iterdir()}
    if "config.json" not in there:
        raise InputError(f"teacher.model {folder} has no config.json; give a folder that save_pretrained wrote.")
    if not there & set(_WEIGHTS):
        raise InputError(f"teacher.model {folder} has no weights (model.safetensors); give a whole saved model.")
    if not there & {"tokenizer.json", "vocab.txt"}:
        raise InputError(
            f"teacher.model {folder} has no tokenizer (tokenizer.json); save the teacher's own tokenizer beside it."
        )


def _check_head(config: TeacherConfig) -> None:
    """A folder's weights must have the head that the masked-LM loss reads; only their names are looked at."""
    file = Path(source_of(config)).expanduser() / "model.safetensors"
    if not is_folder(config) or not file.exists():
        return
    with safe_open(file, framework="pt") as weights:
        if not any(name.startswith("cls.predictions.transform") for name in weights.keys()):  # noqa: SIM118
            raise InputError(
                f"teacher.model {config.model} has no masked-LM head (cls.predictions.transform is missing); "
                "choose a BERT saved as BertForMaskedLM."
            )


def _check_vocabulary(config: TeacherConfig, found: BertConfig) -> None:
    """The tokenizer must be fast, and no larger than the embeddings."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source_of(config), revision=config.revision)
    except (OSError, ValueError) as error:
        raise InputError(_unreachable(config, error)) from error
    if not tokenizer.is_fast:
        raise InputError(f"teacher.model {config.model} has no tokenizer.json; save its fast tokenizer beside it.")
    if len(tokenizer) > found.vocab_size:
        raise InputError(
            f"the vocabulary does not match: teacher.model {config.model} has {found.vocab_size:,} embeddings "
            f"and its tokenizer {len(tokenizer):,} tokens; save the tokenizer that belongs to the model."
        )


def _unreachable(config: TeacherConfig, error: Exception) -> str:
    if is_folder(config):
        return f"teacher.model {config.model} cannot be read as a transformers model ({_first_line(error)})."
    return (
        f"teacher.model {config.model} is no folder here and the model hub did not give it ({_first_line(error)}); "
        "check the name and the network, or give a folder."
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def identity(config: TeacherConfig) -> dict[str, str]:
    """What the outside contributes to the fingerprint: the digests of a folder's files, or a hub name's revision."""
    if not is_folder(config):
        return {"hub": f"{config.model}@{config.revision}"}
    digests = {}
    for path in sorted(Path(source_of(config)).expanduser().iterdir()):
        if path.is_file() and path.suffix in (".json", ".safetensors", ".bin", ".txt"):
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


@stage(name="teacher", version=1)
def fetch(config: TeacherConfig, context: StageContext) -> Teacher:
    """Load the teacher and put it on storage, in fp32, with its tokenizer; the hub is asked once."""
    check(config)
    source = source_of(config)
    try:
        model, info = BertForMaskedLM.from_pretrained(
            source, revision=config.revision, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = load_tokenizer(source, config.revision)
    except (OSError, ValueError) as error:
        raise InputError(_unreachable(config, error)) from error
    headless = [name for name in info["missing_keys"] if name.startswith("cls.predictions.transform")]
    if headless:
        raise InputError(
            f"teacher.model {config.model} has no masked-LM head ({headless[0]} is missing); "
            "choose a BERT saved as BertForMaskedLM."
        )
    with context.folder.written_locally() as local:
        model.save_pretrained(local)
        tokenizer.save_pretrained(local)
    return described(context.folder, model, config.model if not is_folder(config) else Path(source).name)


def described(folder: Folder, model: BertForMaskedLM, name: str) -> Teacher:
    """The artifact of a model that was saved in `folder`."""
    return Teacher(
        folder=folder,
        name=name,
        layers=model.config.num_hidden_layers,
        width=model.config.hidden_size,
        vocab_size=model.config.vocab_size,
        positions=model.config.max_position_embeddings,
        parameters=parameter_count(model),
    )


@stage(name="adapt", version=1)
def adapt(config: TeacherConfig, teacher: Teacher, blocks: Blocks, context: StageContext) -> Teacher:
    """The teacher after `adapt_steps` masked-LM steps on the corpus that it is going to teach."""
    weights = LossWeights(alpha_ce=0.0, alpha_mlm=1.0, alpha_cos=0.0)
    task = TrainingTask(start=teacher.folder, teacher=None, weights=weights)
    trained = train(config.adapt, task, blocks, context, steps=config.adapt_steps)
    return trained_teacher(trained.checkpoint, context.folder / "model", f"{teacher.name}, adapted")


def trained_teacher(checkpoint: Folder, target: Folder, name: str) -> Teacher:
    """A training's last checkpoint as a teacher: model and tokenizer without the optimiser."""
    with checkpoint.as_local() as source, target.written_locally() as local:
        model = BertForMaskedLM.from_pretrained(source, dtype=torch.float32)
        model.save_pretrained(local)
        checkpoint.copy_to(local, TOKENIZER_FILES)
    return described(target, model, name)
