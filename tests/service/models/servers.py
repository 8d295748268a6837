"""A package index, an npm registry and a model hub on 127.0.0.1, with what the real ones answer to our requests."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.service.models.tiny import integrity

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Answer:
    content: bytes
    content_type: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    sent_bytes: int | None = None
    """Fewer than `content` has: the connection then breaks in the middle."""


class Site:
    """Paths and their answers. `requested` is every path that was asked for with GET, in order."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.answers: dict[str, Answer] = {}
        self.requested: list[str] = []
        self.before_answer: Callable[[str], object] = lambda path: None

    def add_wheel(self, project: str, filename: str, content: bytes) -> None:
        page = f'<a href="/files/{filename}">{filename}</a>'.encode()
        self.answers[f"/simple/{project}/"] = Answer(page, "text/html")
        self.answers[f"/files/{filename}"] = Answer(content)

    def add_npm(self, name: str, version: str, content: bytes, declared: str | None = None) -> None:
        path = f"/tarballs/{name}-{version}.tgz"
        dist = {"tarball": self.url + path, "integrity": declared or integrity(content)}
        about = {"name": name, "versions": {version: {"dist": dist}}}
        self.answers[f"/{name}"] = Answer(json.dumps(about).encode(), "application/json")
        self.answers[path] = Answer(content)

    def add_repository(self, name: str, files: Mapping[str, bytes], commit: str = COMMIT) -> None:
        siblings = [{"rfilename": file, "size": len(content), "blobId": "0"} for file, content in files.items()]
        about = json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode()
        for revision in ("main", commit):
            self.answers[f"/api/models/{name}/revision/{revision}"] = Answer(about, "application/json")
            for file, content in files.items():
                headers = {"ETag": f'"{integrity(content)[7:27].encode().hex()}"', "X-Repo-Commit": commit}
                self.answers[f"/{name}/resolve/{revision}/{file}"] = Answer(content, headers=headers)


@contextmanager
def open_site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            site.requested.append(path)
            site.before_answer(path)
            try:
                answer = self._head(path)
                self.wfile.write(answer.content[: answer.sent_bytes])
            except ConnectionError:  # whoever asked was killed meanwhile
                self.close_connection = True
                return
            if answer.sent_bytes is not None:
                self.close_connection = True

        def do_HEAD(self) -> None:
            self._head(unquote(urlsplit(self.path).path))

        def _head(self, path: str) -> Answer:
            answer = site.answers.get(path) or Answer(b"{}", status=404, headers={"X-Error-Code": "RepoNotFound"})
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            return answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Site(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
