"""An HTTP proxy, as most companies have one in the environment: what goes to this very machine must not ask it.

`distil ui` asks its own server whether it is up, Ray Train asks Ray's dashboard whether a trial lives; a proxy answers
for neither, or never.
"""

from collections.abc import MutableMapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")
VARIABLES = ("no_proxy", "NO_PROXY")
"""The two spellings: of urllib, requests, curl and gRPC some read the one first, and some the other."""
GRPC = "no_grpc_proxy"
"""Where it is set, gRPC reads no other."""


def bypass_loopback(environment: MutableMapping[str, str]) -> None:
    """Add this machine's own names to what goes past the proxy, in `environment` and so in all processes that inherit
    it; what is there stays. To be called before the first request."""
    given = {name: environment.get(name, "") for name in VARIABLES}
    for name, other in zip(VARIABLES, reversed(VARIABLES), strict=True):
        environment[name] = with_loopback(given[name] or given[other])  # one spelling would hide the other
    if environment.get(GRPC):
        environment[GRPC] = with_loopback(environment[GRPC])


def with_loopback(names: str) -> str:
    """A list of names that go past the proxy, with this machine's own; `*` means all of them already."""
    there = [name.strip() for name in names.split(",") if name.strip()]
    if there == ["*"]:
        return "*"
    return ",".join([*there, *(name for name in LOOPBACK if name not in there)])
