"""What calling `main` in the tests' own process would leave behind."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory; environment and loggers as they were."""
    monkeypatch.chdir(tmp_path)
    environment = dict(os.environ)
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data", "ray.train", "ray.tune", "mlflow", "alembic")]
    loggers += [logging.getLogger(name) for name in ("transformers", "datasets", "torch")]
    levels = [logger.level for logger in loggers]
    yield
    os.environ.clear()
    os.environ.update(environment)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
