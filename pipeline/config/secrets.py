"""Secrets stay in the environment: an address that holds one is refused before it can land in a record or a run."""

from collections.abc import Iterator, Mapping

from pipeline.config.overrides import flat
from pipeline.config.redaction import TRACKING, refuse_secret


def check_secrets(config: object, environment: Mapping[str, str]) -> None:
    """Raise `InputError` for the first field of `config`, or address of MLflow in `environment`, that holds a secret.

    To be called before anything is contacted. The message names the field and never the value. MLflow keeps every
    field as a parameter, and config.yaml all.
    """
    for field, text in addresses(config, environment):
        refuse_secret(field, text)


def addresses(config: object, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(where it is given, text) for everything that may be an address."""
    yield from ((field, text) for field, text in flat(config).items() if isinstance(text, str))
    yield from ((name, environment[name]) for name in TRACKING if name in environment)
