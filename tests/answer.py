"""A server that answers as an empty MLflow does when it is asked for its health or its experiments."""

from http.server import BaseHTTPRequestHandler
from typing import ClassVar

HEALTH, SEARCH, BY_NAME = "/health", "/api/2.0/mlflow/experiments/search", "/api/2.0/mlflow/experiments/get-by-name"


class Answer(BaseHTTPRequestHandler):
    """MLflow's health page, no experiments, and nothing else."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self._answer({HEALTH: (200, b"OK"), BY_NAME: (404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer({SEARCH: (200, b"{}")})

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def _answer(self, pages: dict[str, tuple[int, bytes]]) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        status, body = pages.get(path, (404, b"no such page"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
