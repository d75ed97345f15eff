"""Amazon's S3 on loopback: moto's server, which speaks the real API over HTTP, with a bucket in it."""

import logging
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from moto.server import ThreadedMotoServer

BUCKET = "distilray"
SECRET = "an-aws-secret-that-must-stay-in-the-environment"


@dataclass(frozen=True)
class ObjectStore:
    """A bucket, and what a process needs in its environment to reach it."""

    address: str
    env: dict[str, str]
    sent: list[int] = field(default_factory=list)
    """Bytes of each answer so far, whoever asked; of the objects alone, without HTTP's own lines."""


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """An empty bucket that lasts as long as the block."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or it prints every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    sent: list[int] = []
    assert server._server is not None, "it has been started"
    server._server.app = counted(server._server.app, sent)  # type: ignore[attr-defined]
    endpoint = f"http://{host}:{port}"
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")):
            pass
        yield ObjectStore(f"s3://{BUCKET}", environment(endpoint), sent)
    finally:
        server.stop()


def environment(endpoint: str) -> dict[str, str]:
    """For pyarrow and boto3 alike; the key and the secret are made up, and moto takes any."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "AKIAMADEUP",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def counted(app: Callable[..., Iterable[bytes]], sent: list[int]) -> Callable[..., Iterable[bytes]]:
    """The same program of WSGI, with the bytes of each answer that it sends noted."""

    def call(*request: Any) -> Iterator[bytes]:
        for piece in app(*request):
            sent.append(len(piece))
            yield piece

    return call
