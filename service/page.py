"""The built-in page as bytes: its files, read once, under an address that changes whenever one of them does."""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

FOLDER = Path(__file__).parent / "ui"
INDEX = "index.html"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
VERSION_CHARS = 16
VERSION_MARK = "{version}"
PRELOADS_MARK = "<!-- preloads -->"
LATER = ("views", "vendor/highlight")
"""Folders of modules that are fetched when they are first needed."""


@dataclass(frozen=True, slots=True)
class Asset:
    content: bytes
    media_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class PageFiles:
    version: str
    index: Asset
    assets: dict[str, Asset]


def read_page(folder: Path = FOLDER) -> PageFiles:
    """Blocks for a moment. The version is a digest of all names and contents."""
    contents = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in MEDIA_TYPES
    }
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    version = digest.hexdigest()[:VERSION_CHARS]
    index = contents.pop(INDEX).decode().replace(PRELOADS_MARK, preloads(contents)).replace(VERSION_MARK, version)
    assets = {name: asset(name, content) for name, content in contents.items()}
    return PageFiles(version, asset(INDEX, index.encode()), assets)


def preloads(names: dict[str, bytes]) -> str:
    """Modules that the first view needs: named in the page, they are fetched side by side and not one after another."""
    first = [name for name in names if name.endswith((".js", ".mjs")) and not is_under(name, LATER)]
    return "\n".join(f'<link rel="modulepreload" href="/ui/{VERSION_MARK}/{name}">' for name in first)


def is_under(name: str, folders: tuple[str, ...]) -> bool:
    return any(PurePosixPath(name).is_relative_to(folder) for folder in folders)


def asset(name: str, content: bytes) -> Asset:
    return Asset(content, MEDIA_TYPES[PurePosixPath(name).suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
