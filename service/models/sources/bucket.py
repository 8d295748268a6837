"""`s3:` an object, or a folder of objects, in any store that speaks S3; access and endpoint as in AWS_… variables."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, PreconditionError, UnauthenticatedError

from service.models.errors import FetchFailed, Mismatch, NotAtSource, SourceUnreachable
from service.models.layout import model_files
from service.models.progress import Progress
from service.models.reference import Reference
from service.models.sources import Wanted
from uploads.stores.s3 import first_line, open_s3

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import S3Store

ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
CHUNK_BYTES = 1 << 20
ETAG = "etag-"  # before an entity tag, which stands for an object where the bucket keeps no versions
TREE = "tree-"  # before a digest over the names and tags of a folder's objects
TREE_DIGITS = 32
TRY = "check the network and the AWS_… variables, then pull again"


@dataclass(frozen=True, slots=True)
class BucketSource:
    """A name that ends with `/` is a folder in the layout of model hubs."""

    reference: Reference

    @property
    def bucket(self) -> str:
        return self.reference.name.partition("/")[0]

    @property
    def key(self) -> str:
        return self.reference.name.partition("/")[2]

    def pin(self) -> Reference:
        if self.reference.is_fixed:
            return self.reference
        with self._errors():
            return Reference("s3", self.reference.name, self._version())

    def fetch(self, wanted: Wanted, destination: Path, progress: Progress) -> Path:
        progress.step(f"asking the bucket {self.bucket}")
        with self._errors():
            if self.key.endswith("/"):
                self._fetch_folder(wanted, destination, progress)
            else:
                self._download(self.key, self._options(), wanted, destination, progress)
        return destination

    @property
    def _store(self) -> "S3Store":
        endpoint = next((value for name in ENDPOINT_VARIABLES if (value := os.environ.get(name))), "")
        return open_s3(f"s3://{self.bucket}", endpoint)

    def _version(self) -> str:
        if self.key.endswith("/"):
            return tree_of(self._objects())
        found = obstore.head(self._store, self.key)
        version = found["version"]
        return version if version and version != "null" else ETAG + tag_of(found)

    def _options(self) -> "GetOptions":
        version = self.reference.version
        if version is None:
            return {}
        return {"if_match": f'"{version.removeprefix(ETAG)}"'} if version.startswith(ETAG) else {"version": version}

    def _objects(self) -> "list[ObjectMeta]":
        """Those of the folder, by name."""
        found = [one for batch in obstore.list(self._store, self.key) for one in batch]
        if not found:
            raise NotAtSource(f"{self.reference}: there is no such folder, or it is empty")
        return sorted(found, key=lambda one: one["path"])

    def _fetch_folder(self, wanted: Wanted, destination: Path, progress: Progress) -> None:
        objects = {one["path"].removeprefix(self.key): one for one in self._objects()}
        if self.reference.version is not None and tree_of(list(objects.values())) != self.reference.version:
            raise NotAtSource(f"{self.reference}: the folder has changed since")
        names = model_files(objects, wanted.kind)
        progress.step(f"downloading {self.reference}", sum(objects[name]["size"] for name in names))
        destination.mkdir()
        for name in names:
            (destination / name).parent.mkdir(exist_ok=True)
            options: GetOptions = {"if_match": f'"{tag_of(objects[name])}"'}
            self._download(objects[name]["path"], options, wanted, destination / name, None)
            progress.advance(objects[name]["size"])

    def _download(
        self, key: str, options: "GetOptions", wanted: Wanted, target: Path, progress: Progress | None
    ) -> None:
        """Whole, or not at all: the store says how long it is."""
        found = obstore.get(self._store, key, options=options)
        size, written = found.meta["size"], 0
        if wanted.max_bytes is not None and size > wanted.max_bytes:
            raise Mismatch(f"{self.reference}: {size:,} bytes, and {wanted.max_bytes:,} are declared")
        if progress is not None:
            progress.step(f"downloading {self.reference}", size)
        with target.open("xb") as file:
            for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                written += file.write(chunk)
                if progress is not None:
                    progress.advance(len(chunk))
        if written != size:
            raise FetchFailed(f"{self.reference}: {written:,} of {size:,} bytes came; {TRY}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (NotFoundError, FileNotFoundError) as error:
            raise NotAtSource(f"{self.reference}: the bucket has no such object") from error
        except PreconditionError as error:
            raise NotAtSource(f"{self.reference}: the object has changed since") from error
        except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
            raise FetchFailed(f"{self.reference}: the store refuses; check the AWS_… variables") from error
        except (BaseError, OSError) as error:
            raise SourceUnreachable(f"{self.reference}: {first_line(error)}; {TRY}") from error


def tag_of(found: "ObjectMeta") -> str:
    tag = found["e_tag"]
    if not tag:
        raise FetchFailed(f"{found['path']}: the store gives no entity tag, so a change could not be noticed")
    return tag.strip('"')


def tree_of(objects: "Sequence[ObjectMeta]") -> str:
    lines = "".join(f"{one['path']} {tag_of(one)}\n" for one in objects)
    return TREE + hashlib.sha256(lines.encode()).hexdigest()[:TREE_DIGITS]
