"""Web pages on an origin of their own, from a thread."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.e2e.process import HOST


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


class Pages:
    """Files on an origin of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = ThreadingHTTPServer((HOST, 0), partial(QuietHandler, directory=str(folder)))
        self.origin = f"http://{HOST}:{self.server.server_address[1]}"

    def put(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return f"{self.origin}/{name}"
