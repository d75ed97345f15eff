"""Where a teacher comes from: a folder on this machine, or the hub, by way of this machine's cache."""

import hashlib
from pathlib import Path

from stages.hub import HubName
from stages.teacher.config import TeacherConfig
from stages.teacher.hub_cache import located

DEMO = Path(__file__).parent / "demo"
"""The small BERT that comes with this project; its README says how it was made."""


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


def place_of(config: TeacherConfig) -> Path | None:
    """The folder to read: the given one, or the hub's model in this machine's cache; None: it is to be had from the
    hub, which answers."""
    name = on_hub(config)
    return Path(source_of(config)).expanduser() if name is None else located(name)


def unreachable(config: TeacherConfig, error: Exception) -> str:
    """What is said of a teacher that transformers or the hub did not give."""
    if "trust_remote_code" in str(error):
        return (
            f"teacher.model {config.model} needs code of its own, which is never run here; choose a model of a class "
            "that transformers has."
        )
    if is_folder(config):
        return f"teacher.model {config.model} cannot be read as a transformers model ({first_line(error)})."
    return (
        f"teacher.model {config.model} is no folder here and the model hub did not give it ({first_line(error)}); "
        "check the name and the network, or give a folder."
    )


def first_line(error: Exception) -> str:
    """Of what an error says, or its kind where it says nothing; without a full stop."""
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def identity(config: TeacherConfig) -> dict[str, str]:
    """What the outside contributes to the fingerprint: the digests of a folder's files, or a hub name's revision."""
    if not is_folder(config):
        return {"hub": f"{config.model}@{config.revision}"}
    digests = {}
    for path in sorted(Path(source_of(config)).expanduser().iterdir()):
        if path.is_file() and path.suffix in (".json", ".safetensors", ".bin", ".txt", ".model"):
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
