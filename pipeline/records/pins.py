"""Which commits the names on the Hugging Face hub stand for in a workdir: asked for once, kept in its hub.json.

The first command resolves every name, and each later one has the same commits, whatever became of the branches: they
are in the resolved config, and so in config.yaml, in MLflow and in the records. `--refresh` resolves anew.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pipeline.config.schema import PipelineConfig, from_yaml
from pipeline.records.reuse import Reuse, Silent
from pipeline.records.workdir import CONFIG
from stages.corpus.sources import hub as datasets
from stages.errors import InputError
from stages.hub import HubName, Unreachable, cached_commit, commit_of, is_commit
from stages.storage import Folder
from stages.teacher.source import identity, on_hub
from stages.teacher.stage import fetch

NAME = "hub.json"


@dataclass(frozen=True, kw_only=True)
class Pins:
    """The content of `<workdir>/hub.json`."""

    commits: dict[str, str] = field(default_factory=dict)
    """By kind, name and revision, such as "model google-bert/bert-base-uncased@main"."""

    def write(self, workdir: Path) -> None:
        """Keep them, where there are any."""
        if self.commits:
            Folder(str(workdir)).write_bytes(NAME, json.dumps(self.commits, indent=2).encode())


def pinned(
    config: PipelineConfig, workdir: Path, say: Callable[[str], None], *, refresh: bool = False
) -> tuple[PipelineConfig, Pins]:
    """(`config` with a commit for each name on the hub, all the commits known in `workdir`); writes nothing.

    What is not known yet, or everything with `refresh`, is asked for; where the hub does not answer, the commit counts
    that this machine's cache has, and without one the name stays as it is. Raises `InputError` for a name that the hub
    does not have.
    """
    known = dict(read(workdir).commits)
    commit = partial(_commit, known=known, before=dict(known), say=say, refresh=refresh)
    corpus, teacher = config.corpus, config.teacher
    if corpus.source == "datasets":
        names = {path: datasets.on_hub(path) for path in corpus.paths}
        paths = (path if name is None else _at(path, name, commit(name)) for path, name in names.items())
        corpus = replace(corpus, paths=tuple(paths))
    model = on_hub(teacher)
    if config.pretrain is None and model is not None and not _fetched_before_pins(config, workdir, refresh):
        teacher = replace(teacher, revision=commit(model))
    return replace(config, corpus=corpus, teacher=teacher), Pins(commits=known)


def pinned_model(
    name: HubName, workdir: Path, say: Callable[[str], None], *, refresh: bool = False
) -> tuple[str, Pins]:
    """(the commit of one model, or its revision where nobody knows; all the commits known in `workdir`)."""
    known = dict(read(workdir).commits)
    found = _commit(name, known=known, before=dict(known), say=say, refresh=refresh)
    return found, Pins(commits=known)


def read(workdir: Path) -> Pins:
    """The pins of a workdir, none where there is no hub.json; raises `InputError` for a damaged one."""
    file = workdir / NAME
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return Pins()
    except (ValueError, OSError) as error:
        raise InputError(f"{file} cannot be read ({error}): remove it, and the hub is asked anew.") from error
    if not isinstance(data, dict) or not all(isinstance(commit, str) for commit in data.values()):
        raise InputError(f"{file} holds no commits by name: remove it, and the hub is asked anew.")
    return Pins(commits=data)


def _commit(
    name: HubName, *, known: dict[str, str], before: dict[str, str], say: Callable[[str], None], refresh: bool
) -> str:
    """The commit that is known, or found out now and put there."""
    key = f"{name.kind} {name.name}@{name.revision}"
    if not is_commit(name.revision) and (refresh or key not in known):
        found = _resolved(name, before.get(key), say)
        if found is None:
            return name.revision
        known[key] = found
        if before.get(key, found) != found:
            say(f"{name}: {name.revision} has moved on the hub, from {before[key][:12]} to {found[:12]}.")
    return known.get(key, name.revision)


def _resolved(name: HubName, before: str | None, say: Callable[[str], None]) -> str | None:
    try:
        return commit_of(name)
    except Unreachable:
        found = before or cached_commit(name)
        if found is not None:
            say(f"The hub does not answer for {name}: {name.revision} is taken for {found[:12]}, as it was last seen.")
        return found


def _at(path: str, name: HubName, commit: str) -> str:
    return datasets.pinned(path, commit) if commit != name.revision else path


def _fetched_before_pins(config: PipelineConfig, workdir: Path, refresh: bool) -> bool:
    """Whether this workdir's run is one from before there were pins, whose teacher was fetched by its name: which
    commit that was nobody knows, and all that was learned from it goes on to count."""
    file = workdir / CONFIG
    if refresh or is_commit(config.teacher.revision) or not file.exists():
        return False
    try:
        then = from_yaml(file.read_text(encoding="utf-8"), str(file)).teacher
    except InputError:  # written by somebody else, and written anew by this run
        return False
    if (then.model, then.revision) != (config.teacher.model, config.teacher.revision):
        return False
    step = Reuse(root=config.root, seed=config.seed, watch=Silent(), plan=True)
    return step(fetch, config.teacher, seeded=False, outside=identity(config.teacher)).reused
