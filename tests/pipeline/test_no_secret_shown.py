"""An address with a secret in it: refused before anything is contacted, and nowhere printed or written."""

import io
import json
import logging
import os
import re
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import pytest
from rich.console import Console as Terminal

from pipeline import recipes
from pipeline.cli.console import Console
from pipeline.cli.main import main, status_of
from pipeline.config.redaction import redacted, secret_in
from pipeline.config.schema import to_yaml
from pipeline.records.reuse import StageResult
from pipeline.runtime.lock import NAME, alone
from pipeline.runtime.lock_owner import me, refusal
from pipeline.runtime.storage_lock import storage_locked
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.delivery import first_line
from pipeline.tracking.run import RunAbout, run
from pipeline.tracking.store import check
from stages.errors import InputError
from stages.storage import Folder

SECRET = "wJalrXUtnFEMI"
ADDRESSES = (
    f"s3://AKIA:{SECRET}@bucket/runs",
    f"s3://AKIA:a/b,c'd?e#{SECRET}@bucket/runs",
    f"s3://AKIA:12/{SECRET}@bucket/runs",
    f"s3://AKIA:a@b@{SECRET}@bucket/runs",
    f"http://me:{SECRET}@127.0.0.1:9/x",
    *(
        f"https://127.0.0.1:9/x?version=3&{name}={SECRET}"
        for name in ("pass", "auth", "token", "sig", "password", "X-Amz-Signature", "api_key", "access%5Ftoken")
    ),
    f"https://127.0.0.1:9/x#access_token={SECRET}",
    f"postgresql://me:{SECRET}@127.0.0.1/mlflow",
)
HARMLESS = (
    "s3://bucket/runs",
    "s3://bucket/me@work/x",
    "http://127.0.0.1:5000/me@work",
    "http://[::1]:5000/a@b",
    "sqlite:////home/me@work/mlflow.db",
    "https://host/x?version=3&author=me&design=2&pass_count=1",
    "texts/a.txt,s3://bucket/a,s3://bucket/me@work",
    "someone@example.org",
)
PLACES: dict[str, Callable[[str, Path], object]] = {}
"""What prints or writes an address, each given one and a folder of its own."""


def place(action: Callable[[str, Path], object]) -> Callable[[str, Path], object]:
    PLACES[action.__name__] = action
    return action


@place
def storage_of_a_run(address: str, home: Path) -> object:
    return main(["run", "demo", "--workdir", str(home / "w"), "--storage", address])


@place
def storage_of_a_search(address: str, home: Path) -> object:
    return main(["tune", "demo", "--workdir", str(home / "w"), "--storage", address])


@place
def storage_of_a_description(address: str, home: Path) -> object:
    return main(["describe", "demo", "--workdir", str(home / "w"), "--storage", address])


@place
def workdir(address: str, home: Path) -> object:
    return [main([command, "demo", "--workdir", address]) for command in ("run", "tune", "describe")]


@place
def paths_of_a_corpus(address: str, home: Path) -> object:
    config = json.dumps(["a.txt", address])
    return main(["run", "demo", "--workdir", str(home / "w"), "--corpus.source", "files", "--corpus.paths", config])


@place
def tracking_of_a_run(address: str, home: Path) -> object:
    return main(["run", "demo", "--workdir", str(home / "w"), "--tracking.uri", address])


@place
def tracking_in_the_environment(address: str, home: Path) -> object:
    os.environ["MLFLOW_TRACKING_URI"] = address
    return [
        main([*words]) for words in (["run", "demo"], ["tune", "demo"], ["ui"], ["fill", "[MASK]", "--run", "a" * 32])
    ]


@place
def registry_in_the_environment(address: str, home: Path) -> object:
    os.environ["MLFLOW_REGISTRY_URI"] = address
    return [main([command, "demo", "--workdir", str(home / "w")]) for command in ("run", "tune")]


@place
def config_file(address: str, home: Path) -> object:
    file = home / "mine.yaml"
    file.write_text(to_yaml(recipes.demo()).replace("storage: null", f"storage: {json.dumps(address)}"))
    status = main(["run", "--config", str(file), "--workdir", str(home / "w")])
    file.unlink()  # it is the user's own
    return status


@place
def words_in_the_wrong_place(address: str, home: Path) -> object:
    commands = (["run", address], ["run", "--config", address], ["run", "demo", "--from-search", address])
    others = (["ui", "--run", address], ["fill", "x", "--run", address], ["fill", "x", "--storage", address], [address])
    return [main([*words]) for words in (*commands, *others)]


@place
def error_of_a_library(address: str, home: Path) -> object:
    def fail() -> None:
        raise OSError(f"cannot open {address}: denied")

    return [status_of(fail, verbose=verbose) for verbose in (False, True)]


@place
def console(address: str, home: Path) -> object:
    text = io.StringIO()
    shown = Console(Terminal(file=text, width=500))
    shown.say(f"reads {address}")
    shown.line("·", "corpus", f"from {address}")
    why = (f"corpus.paths was {address}",)
    promise: StageResult[object] = StageResult(
        stage="corpus", fingerprint="f", folder=Folder(str(home)), reused=False, why=why, seconds=0.0, recorded=None
    )
    shown.planned(promise)
    with shown.running("corpus", why):
        pass
    return text.getvalue()


@place
def lock_on_a_disk(address: str, home: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["distil", "run", "demo", "--storage", address, f"--tracking.uri={address}"])
        with alone(home, Folder(str(home)), pytest.fail):
            return (home / NAME).read_text()


@place
def lock_in_a_store(address: str, home: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["distil", "run", "demo", "--storage", address])
        with storage_locked(Folder(str(home)), me(), pytest.fail):
            return [file.read_text() for file in (home / "lock").iterdir()]


@place
def lock_that_an_older_version_wrote(address: str, home: Path) -> object:
    said = {"host": "h", "pid": 1, "since": "now", "command": f"distil run demo --storage {address}"}
    return refusal(Folder(str(home)), json.dumps(said).encode())


@place
def run_in_mlflow(address: str, home: Path) -> object:
    about = RunAbout(name="demo", workdir="w", fingerprint="f", parameters={}, yaml="")
    with suppress(OSError), run(TrackingConfig(uri=store_in(home), system_metrics=False), about) as live:
        raise OSError(f"cannot open {address}: denied")
    return mlflow.MlflowClient(store_in(home)).get_run(live.run_id).to_dictionary()


@place
def errors_of_a_store(address: str, home: Path) -> object:
    texts = [first_line(OSError(f"at {address}: away"))]
    for action in (
        lambda: TrackingConfig(uri=address),
        lambda: check(TrackingConfig(uri=address), workers_elsewhere=True),
    ):
        try:
            action()
        except InputError as error:
            texts.append(redacted(str(error)))  # as the command line prints it
    return texts


def store_in(home: Path) -> str:
    return f"sqlite:///{home}/mlflow.db"


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("name", PLACES)
def test_secret_in_an_address_is_neither_printed_nor_written(
    name: str,
    address: str,
    tmp_path: Path,
    mlflow_template: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(variable, "")  # so that it is as it was afterwards
        monkeypatch.delenv(variable)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if name == "run_in_mlflow":
        (tmp_path / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    with caplog.at_level(logging.DEBUG):
        result = PLACES[name](address, tmp_path)
    out, err = capfd.readouterr()
    seen = {"printed": out + err, "given": str(result), "logged": caplog.text}
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        seen[file.name] = file.read_bytes().decode(errors="replace")
    assert {where: text for where, text in seen.items() if SECRET in text} == {}


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("command", ["run", "tune", "describe"])
def test_secret_in_an_address_is_refused_by_its_field_before_anything_is_contacted_or_locked(
    command: str, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "demo", "--workdir", str(tmp_path / "w"), "--storage", address]) == 2
    assert re.fullmatch(r"storage holds (a user name or password|the parameter \S+) in .*\.\n", capsys.readouterr().err)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("address", ADDRESSES)
def test_redacted_address_is_hidden_in_any_text_and_its_host_stays(address: str) -> None:
    for text in (address, f"at '{address}', b", f"--storage={address}", f"('{address}',)", f"{address},s3://next/x"):
        assert SECRET not in redacted(text)
        assert secret_in(text) is not None
    host = urlsplit(address.replace("/b,c'd?e#", "").replace("12/", "").replace("a@b@", "")).hostname
    assert str(host) in redacted(address)


@pytest.mark.parametrize("text", HARMLESS)
def test_redacted_text_without_a_secret_is_as_it_was(text: str) -> None:
    assert secret_in(text) is None
    assert redacted(text) == text


def test_redacted_traceback_keeps_its_lines() -> None:
    try:
        raise OSError(f"cannot open {ADDRESSES[0]}: denied")
    except OSError as error:
        text = "".join(traceback.format_exception(error))
    assert redacted(text) == text.replace(f"AKIA:{SECRET}", "***")


def test_storage_with_a_secret_is_refused_by_the_config_itself_too() -> None:
    """`run` and `tune` as functions, which no command line redacts for."""
    from pipeline.run import describe
    from pipeline.run import run as run_pipeline
    from pipeline.tune import tune

    config = replace(recipes.demo(), storage=ADDRESSES[1])
    for command in (run_pipeline, tune, describe):
        with pytest.raises(InputError, match="storage holds a user name") as refused:
            command(config, Console(Terminal(file=io.StringIO())))
        assert SECRET not in str(refused.value)
