"""The teacher: any BERT masked language model, by hub name or folder; fetched once, to storage.

The demo's own teacher was pre-trained by `pretrain.py`; here it is one folder among others, named "demo".
"""

import hashlib
from pathlib import Path
from pickle import UnpicklingError

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertForMaskedLM

from stages.context import StageContext, stage
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.family import parameter_count
from stages.distillation.models.student import check_expressible
from stages.errors import InputError
from stages.hub import HubName
from stages.models import load_tokenizer
from stages.storage import Folder
from stages.teacher.artifact import Teacher
from stages.teacher.config import TeacherConfig
from stages.teacher.examine import examined
from stages.teacher.hub_cache import located
from stages.teacher.weight_files import WEIGHTS, refuse_pointer, shapes_in, shapes_on_hub
from stages.teacher.weights import check_shape, compare, initialise_head, loaded, no_head, notices, refuse_unfit
from stages.tokens.blocks import Blocks
from stages.tokens.vocabulary import TOKENIZER_FILES, vocabulary_of
from stages.training.driver import train
from stages.training.job import TrainingTask

DEMO = Path(__file__).parent / "demo"
"""The small BERT that comes with this project; its README says how it was made."""
_READ = ("config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt")
"""What is read of a folder beside its weights."""
_HEADLESS = ("BertModel", "BertForSequenceClassification", "BertForTokenClassification", "BertForQuestionAnswering")
"""Classes of transformers without a masked-LM head; they count only where no weights can be looked at."""


def source_of(config: TeacherConfig) -> str:
    """The folder or hub name to load from."""
    return str(DEMO) if config.model == "demo" else config.model


def is_folder(config: TeacherConfig) -> bool:
    """Whether the teacher comes from a folder on this machine, rather than from the hub."""
    source = source_of(config)
    return Path(source).expanduser().is_dir() or source.startswith(("/", ".", "~"))


def on_hub(config: TeacherConfig) -> HubName | None:
    """What `model` names on the hub; None for a folder."""
    return None if is_folder(config) else HubName(kind="model", name=config.model, revision=config.revision)


def _place_of(config: TeacherConfig) -> Path | None:
    """The folder to read: the given one, or the hub's model in this machine's cache; None: it is to be had from the
    hub, which answers."""
    name = on_hub(config)
    return Path(source_of(config)).expanduser() if name is None else located(name)


def check(config: TeacherConfig) -> BertConfig:
    """The teacher's config, read before anything expensive; `InputError` where it can be no teacher.

    Refused, by name: a folder that is not there or no BERT masked-LM, one without tokenizer or weights, files that
    cannot be read, weights that are not those of its config, a vocabulary that does not match, and whatever
    DistilBERT's class cannot express. `fetch` looks once more at what was loaded.
    """
    if is_folder(config):
        _check_folder(Path(source_of(config)).expanduser())
    folder = _place_of(config)
    try:
        found = AutoConfig.from_pretrained(folder or config.model, revision=config.revision)
    except (OSError, ValueError, StrictDataclassError) as error:
        raise InputError(_unreachable(config, error)) from error
    check_expressible(found)
    check_shape(found, config.model)
    _check_weights(config, folder, found)
    _check_vocabulary(config, folder, found)
    return found


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"teacher.model {folder} is no folder; give a folder with config.json, or a hub name.")
    there = {path.name for path in folder.iterdir()}
    if "config.json" not in there:
        raise InputError(f"teacher.model {folder} has no config.json; give a folder that save_pretrained wrote.")
    if not there & set(WEIGHTS):
        raise InputError(f"teacher.model {folder} has no weights (model.safetensors); give a whole saved model.")
    if not there & {"tokenizer.json", "vocab.txt"}:
        raise InputError(
            f"teacher.model {folder} has no tokenizer (tokenizer.json); save the teacher's own tokenizer beside it."
        )
    for name in _READ:
        if name in there:
            refuse_pointer(folder / name)
    if "tokenizer.json" in there:
        try:
            Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the class that tokenizers raises
            what = f"is damaged, cut off or no tokenizer ({_first_line(error)})"
            raise InputError(f"{folder / 'tokenizer.json'} {what}; save the teacher's own beside it.") from error


def _check_weights(config: TeacherConfig, folder: Path | None, found: BertConfig) -> None:
    """The weights must be those of the config, all of them; only headers are read."""
    shapes = shapes_on_hub(config.model, config.revision) if folder is None else shapes_in(folder)
    adapts = config.adapt_steps > 0
    if shapes is not None:
        refuse_unfit(compare(shapes, found), found, config.model, adapts=adapts)
    elif not adapts and any(name in _HEADLESS for name in found.architectures or []):
        raise InputError(no_head(found, config.model))


def _check_vocabulary(config: TeacherConfig, folder: Path | None, found: BertConfig) -> None:
    """The tokenizer must be fast, have BERT's special tokens, and no id beyond the embeddings."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder or config.model, revision=config.revision, local_files_only=folder is not None
        )
    except (OSError, ValueError) as error:
        raise InputError(_unreachable(config, error)) from error
    if not tokenizer.is_fast:
        raise InputError(f"teacher.model {config.model} has no tokenizer.json; save its fast tokenizer beside it.")
    size = vocabulary_of(tokenizer.backend_tokenizer.to_str()).size
    if size > found.vocab_size:
        raise InputError(
            f"the vocabulary does not match: teacher.model {config.model} has {found.vocab_size:,} embeddings "
            f"and its tokenizer needs {size:,}, its largest id and one; save the tokenizer that belongs to the model."
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
    """Load the teacher and put it on storage, in fp32, with its tokenizer; the hub is asked once.

    What is in its files and in no BERT is left out, and said. A head that is missing is drawn at random, from the
    seed, where the teacher is about to be adapted.
    """
    check(config)
    source = _place_of(config) or config.model
    torch.manual_seed(context.seed)
    try:
        model, info = BertForMaskedLM.from_pretrained(
            source,
            revision=config.revision,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in `info`, and refused below
        )
        tokenizer = load_tokenizer(source, config.revision)
    except (OSError, ValueError, SafetensorError, UnpicklingError, EOFError) as error:
        raise InputError(_unreachable(config, error)) from error
    fit = loaded(info, model.config)
    refuse_unfit(fit, model.config, config.model, adapts=config.adapt_steps > 0)
    initialise_head(model, fit, info["missing_keys"], config.model)
    for notice in notices(fit, config.model):
        context.on_notice(notice)
    with context.folder.written_locally() as local:
        model.save_pretrained(local)
        tokenizer.save_pretrained(local)
    return described(context.folder, model, config.model if not is_folder(config) else Path(source_of(config)).name)


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
    if not context.folder.exists("checkpoints"):
        examined(teacher, blocks)  # for logits that are not finite; it need not be good yet
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
