"""MLflow's real server in the tests' own process, by itself or behind what real ones stand behind."""

import base64
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

from werkzeug.serving import BaseWSGIServer, make_server

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Server:
    """A WSGI program, mostly MLflow's, that can go away and come back on the same port. MLflow keeps the store that it
    opened first: what a test wrote is read through the server."""

    def __init__(self, app: Wsgi) -> None:
        self._app, self._port = app, 0
        self.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._server: BaseWSGIServer = make_server("127.0.0.1", self._port, self._app, threaded=True)
        self._port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass(frozen=True)
class Front:
    """What stands before a server: a path below which it lies, and who is let in."""

    app: Wsgi
    path: str = ""
    user: str = ""
    """`name:password`; nobody is asked where it is empty."""
    token: str = ""
    forbidden: bool = False
    """Whether everybody is known and nobody allowed."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        basic = f"Basic {base64.b64encode(self.user.encode()).decode()}"
        if self.user and environ.get("HTTP_AUTHORIZATION") not in (basic, f"Bearer {self.token}"):
            return _said(start_response, "401 UNAUTHORIZED", b"You are not authenticated.")
        if self.forbidden:
            return _said(start_response, "403 FORBIDDEN", b"Permission denied")
        if not environ["PATH_INFO"].startswith(f"{self.path}/"):
            return _said(start_response, "404 NOT FOUND", b"<html>no such page</html>")
        return self.app(environ | {"PATH_INFO": environ["PATH_INFO"].removeprefix(self.path)}, start_response)


class Proxy(BaseHTTPRequestHandler):
    """An HTTP proxy through which every name leads to one server; `rewrites`: whether that is told its own name."""

    target = ""
    rewrites = False
    asked: ClassVar[list[str]] = []
    """The addresses that were asked for through it."""

    def do_GET(self) -> None:
        self._pass_on(None)

    def do_POST(self) -> None:
        self._pass_on(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    do_PUT, do_DELETE = do_POST, do_POST

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def _pass_on(self, body: bytes | None) -> None:
        self.asked.append(self.path)
        asked = self.path.removeprefix("http://").partition("/")[2]
        headers = {"Content-Type": "application/json"} | ({} if self.rewrites else {"Host": self.headers["Host"]})
        request = urllib.request.Request(f"{self.target}/{asked}", body, headers, method=self.command)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            answer = direct.open(request, timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _said(start_response: Callable[..., Any], status: str, text: bytes) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/html"), ("Content-Length", str(len(text)))])
    return [text]
