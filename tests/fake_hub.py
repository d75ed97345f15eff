"""A Hugging Face hub of a test's own: as much of its interface as models and data sets are resolved and read by."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(kw_only=True)
class FakeHub:
    """Repositories by kind ("models", "datasets") and name: their branch `main`, and the files of each commit."""

    url: str = ""
    main: dict[tuple[str, str], str] = field(default_factory=dict)
    commits: dict[tuple[str, str], dict[str, Path]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Every request, as "GET /api/models/..."."""

    def push(self, kind: str, name: str, folder: Path) -> str:
        """The commit of a folder's files as they are, where `main` then stands."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        told = b"".join(str(path.relative_to(folder)).encode() + path.read_bytes() for path in files)
        commit = hashlib.sha1(told).hexdigest()
        self.main[kind, name] = commit
        self.commits[kind, f"{name}@{commit}"] = {str(path.relative_to(folder)): path for path in files}
        return commit

    def find(self, kind: str, name: str, revision: str) -> tuple[str, dict[str, Path]] | None:
        commit = self.main.get((kind, name), "") if revision == "main" else revision
        files = self.commits.get((kind, f"{name}@{commit}"))
        return None if files is None else (commit, files)


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """It, answering while the block runs."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer()

    def _answer(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[0] == "api":
            self._about(parts[1], "/".join(parts[2:4]), parts[4:])
        else:
            kind = parts.pop(0) if parts[0] == "datasets" else "models"
            self._file(kind, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def _about(self, kind: str, name: str, rest: list[str]) -> None:
        what, revision = (rest[0], rest[1]) if rest else ("revision", "main")
        found = self.hub.find(kind, name, revision)
        if found is None:
            known = (kind, name) in self.hub.main
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound" if known else "RepoNotFound"})
            return
        commit, files = found
        entries = [
            {"type": "file", "path": path, "size": file.stat().st_size, "oid": _etag(file)}
            for path, file in files.items()
        ]
        if what == "revision":
            data: Any = {"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]}
        elif what == "tree":
            data = entries if len(rest) < 3 else []
        else:  # paths-info
            data = [entry for entry in entries if str(entry["path"]) in unquote(self.body.decode())]
        self._send(200, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def _file(self, kind: str, name: str, revision: str, path: str) -> None:
        found = self.hub.find(kind, name, revision)
        if found is None or path not in found[1]:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": found[0] if found else ""})
            return
        content, status = found[1][path].read_bytes(), 200
        headers = {"X-Repo-Commit": found[0], "ETag": f'"{_etag(found[1][path])}"', "Accept-Ranges": "bytes"}
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            status, whole = 206, len(content)
            content = content[int(first) : int(last or whole) + 1]
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(content) - 1}/{whole}"
        self._send(status, content, headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
