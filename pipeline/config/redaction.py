"""Secrets inside addresses: found, so that the address is refused, and hidden wherever one could be shown or written.

`s3://KEY:SECRET@bucket`, `https://host/x?token=SECRET`. Who prints or writes text that may hold an address calls
`redacted`: what is refused is named in an error, and what the libraries raise repeats it.
"""

import re
from urllib.parse import unquote

from stages.errors import InputError

_SCHEME = r"[a-zA-Z][a-zA-Z0-9+.-]*://"
_ADDRESS = re.compile(rf"({_SCHEME})((?:(?!,{_SCHEME})\S)*)")
"""Up to white space, or to the next address in a list: secrets hold commas, quotes and slashes."""
_PARAMETER = re.compile(r"([?&;#])([^=&;#?\s]+)=([^&;#\s]+)")
_TELLING = re.compile(
    r"key|secret|token|passw|passphrase|credential|signature|authorization|(?:^|[_.-])(?:pass|pwd|o?auth|sig)$",
    re.IGNORECASE,
)
"""Names of query parameters whose values are secrets: pyarrow's secret_key, a signed address's X-Amz-Signature, …"""
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")
_PORTLESS = ("s3://", "s3a://", "gs://", "gcs://", "hf://")
"""Where what follows a colon is a secret, even if it looks like a port."""
_DATABASE = re.compile(r"(postgresql|mysql|mssql)(\+\w+)?://", re.IGNORECASE)
"""Where a user name is none of a secret: it is the password, which such an address may leave out."""
_HIDDEN = "***"
TRACKING = ("tracking.uri", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
"""Where an address of MLflow is given."""


def secret_in(text: str) -> str | None:
    """Which secret the addresses in `text` hold, such as "a user name or password"; None for none."""
    for scheme, rest in _ADDRESS.findall(text):
        if _user_info(scheme, rest):
            return "a user name or password"
        for _, name, _ in _PARAMETER.findall(rest):
            if _TELLING.search(unquote(name)):
                return f"the parameter {unquote(name)}"
    return None


def redacted(text: str) -> str:
    """`text` with three stars for every secret in an address."""
    return _ADDRESS.sub(lambda found: found[1] + _without_secrets(found[1], found[2]), text)


def refuse_secret(field: str, text: str) -> None:
    """Raise `InputError` where an address in `text` holds a secret. Names `field`, the place that it was given at, and
    never the secret."""
    if found := secret_in(text):
        raise InputError(
            f"{field} holds {found} in an address, which would be kept in the run's records: leave it out there "
            f"and {_remedy(field, text)}."
        )


def _user_info(scheme: str, rest: str) -> str:
    """What stands before the last `@`, where that is no part of a path: a secret may hold `/`, `?`, `#` and `@`."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    is_host = _HOST.fullmatch(authority) is not None and not (scheme.lower() in _PORTLESS and ":" in authority)
    before, at, _ = rest.rpartition("@")
    if _DATABASE.match(scheme) and "/" not in before and ":" not in unquote(before):
        return ""
    return before if at and ("@" in authority or not is_host) else ""


def _without_secrets(scheme: str, rest: str) -> str:
    if user := _user_info(scheme, rest):
        rest = f"{_HIDDEN}{rest[len(user) :]}"
    return _PARAMETER.sub(
        lambda found: f"{found[1]}{found[2]}={_HIDDEN if _TELLING.search(unquote(found[2])) else found[3]}", rest
    )


def _remedy(field: str, text: str) -> str:
    """How that secret is given instead."""
    if _DATABASE.match(text):
        return (
            "give the password of postgresql:// in PGPASSWORD or ~/.pgpass, and of mysql:// in a file that the address "
            "names by ?read_default_file= (a user name alone may stay)"
        )
    if field in TRACKING:
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in the environment"
    return (
        "give it to the cloud's own client through the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
        "GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN) or a role of the machine"
    )
