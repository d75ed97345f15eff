"""Secrets stay in the environment: an address that holds one is refused before it can land in a record or a run."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from pipeline.config.schema import PipelineConfig, flat
from pipeline.tracking.store import URI_VARIABLE
from stages.errors import InputError

TELLING = re.compile(r"key|secret|token|password|passwd|credential|signature|^sig$", re.IGNORECASE)
"""Names of query parameters whose values are secrets: pyarrow's secret_key, a signed address's X-Amz-Signature, …"""


def check_secrets(config: PipelineConfig, environment: Mapping[str, str]) -> None:
    """Raise `InputError` for the first field of `config`, or tracking address in `environment`, that holds a secret.

    The message names the field and never the value. MLflow keeps every field as a parameter, and config.yaml all.
    """
    for field, text in addresses(config, environment):
        if found := secret_in(text):
            raise InputError(
                f"{field} holds {found} in an address, which would be kept in the run's records: leave it out there "
                f"and {remedy(field)}."
            )


def addresses(config: PipelineConfig, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(where it is given, text) for everything that may be an address."""
    yield from ((field, text) for field, text in flat(config).items() if isinstance(text, str))
    yield URI_VARIABLE, environment.get(URI_VARIABLE, "")


def secret_in(text: str) -> str | None:
    """Which secret the addresses in `text` hold, such as "a user name or password"; None for none."""
    for word in re.findall(r"[a-zA-Z][\w+.-]*://[^\s,'\"\]]+", text):
        parts = urlsplit(word)
        if "@" in parts.netloc:
            return "a user name or password"
        for name, value in parse_qsl(parts.query):
            if value and TELLING.search(name):
                return f"the parameter {name}"
    return None


def remedy(field: str) -> str:
    """How that secret is given instead."""
    if field in ("tracking.uri", URI_VARIABLE):
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment"
    return (
        "give it to the cloud's own client through the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
        "GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN) or a role of the machine"
    )
