"""A server that answers as MLflow does when it is asked for its health."""

from http.server import BaseHTTPRequestHandler
from typing import ClassVar


class Answer(BaseHTTPRequestHandler):
    """MLflow's health page, and nothing else."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
        self.wfile.write(b"OK")

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""
