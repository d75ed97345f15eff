"""Names on the Hugging Face hub: which commit one stands for, asked for once, shortly, and never again while that is
known. A branch moves under a run of a week; a commit does not, and what is cached of it needs no network."""

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages.errors import InputError

SECONDS = 5.0
"""How long the hub may take to answer before it counts as out of reach; twice as long where even its address cannot be
found out."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WHAT = {"model": "model", "dataset": "data set"}
_FIELD = {"model": "teacher.model", "dataset": "corpus.paths"}
_INSTEAD = {"model": "give a folder", "dataset": "save it to a folder elsewhere (save_to_disk) and name that"}


class Unreachable(InputError):
    """The hub does not answer, so that nobody knows."""


@dataclass(frozen=True, kw_only=True)
class HubName:
    """A model or a data set as it is on the hub at a revision: a branch, a tag or a commit."""

    kind: Literal["model", "dataset"]
    name: str
    revision: str

    def __str__(self) -> str:
        return f"{_WHAT[self.kind]} {self.name!r}"


def is_commit(revision: str) -> bool:
    """Whether a revision is a whole commit, which can never mean anything else."""
    return bool(_COMMIT.fullmatch(revision))


def commit_of(name: HubName) -> str:
    """The commit that a name stands for now; one that is a commit is not asked for.

    Raises `Unreachable` where the hub does not answer within seconds, and `InputError` where it has no such thing.
    """
    return name.revision if is_commit(name.revision) else ask(name)


def ask(name: HubName) -> str:
    """The same, and certainly from the hub: one request, which also tells whether it can be reached."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return _answer(name)
    except RevisionNotFoundError as error:
        raise InputError(
            f"{_FIELD[name.kind]}: {name} has no branch, tag or commit {name.revision!r} on the hub; correct it."
        ) from error
    except (RepositoryNotFoundError, HFValidationError, GatedRepoError) as error:
        raise InputError(
            f"{_FIELD[name.kind]} names {name.name!r}, which is neither a folder nor a {_WHAT[name.kind]} that the hub "
            "shows you; correct it, or log in with `hf auth login`."
        ) from error
    except Exception as error:  # whatever the transport raises: it differs from version to version
        raise Unreachable(
            f"the hub does not answer for {name} ({type(error).__name__}); connect to a network, or "
            f"{_INSTEAD[name.kind]}."
        ) from error


def cached_commit(name: HubName) -> str | None:
    """The commit that a branch or tag stood for when this machine's cache last heard of it; None where it never did."""
    from huggingface_hub import constants

    folder = f"{name.kind}s--{name.name.replace('/', '--')}"
    try:
        found = (Path(constants.HF_HUB_CACHE) / folder / "refs" / name.revision).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return found if is_commit(found) else None


def _answer(name: HubName) -> str:
    """What the hub says, within a time that no name server can draw out."""
    from huggingface_hub import HfApi

    api = HfApi()
    look = api.model_info if name.kind == "model" else api.dataset_info
    told: list[str | Exception] = []

    def listen() -> None:
        try:
            told.append(look(name.name, revision=name.revision, timeout=SECONDS).sha or name.revision)
        except Exception as error:  # raised in the caller's thread, below
            told.append(error)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    thread.join(2 * SECONDS)
    answer = told[0] if told else TimeoutError()
    if isinstance(answer, Exception):
        raise answer
    return answer
