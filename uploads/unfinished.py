"""The embeddings of documents whose reading was cut or cancelled, so that the next reading goes on from there."""

from collections import OrderedDict
from typing import TypeAlias

from uploads.index import Vectors

MAX_BYTES = 64 * 1024 * 1024  # some 40,000 pieces with the built-in model
Key: TypeAlias = tuple[str, str]
"""The upload and the version of the model: the same pieces give the same vectors."""


class Unfinished:
    """In memory and bounded: what was put away longest ago goes first. Used on one event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Key, list[Vectors]] = OrderedDict()
        self._bytes = 0

    def take(self, key: Key) -> list[Vectors]:
        """Batches from the first piece on. They are the caller's now, who puts them back when he does not finish."""
        batches = self._kept.pop(key, [])
        self._bytes -= size_of(batches)
        return batches

    def put(self, key: Key, batches: list[Vectors]) -> None:
        """Of two readings that were cut the one that came further is kept."""
        size = size_of(batches)
        if size > self._max_bytes or size <= size_of(self._kept.get(key, [])):
            return
        self.take(key)
        self._kept[key] = batches
        self._bytes += size
        while self._bytes > self._max_bytes:
            self.take(next(iter(self._kept)))

    def forget(self, upload_id: str) -> None:
        for key in [key for key in self._kept if key[0] == upload_id]:
            self.take(key)


def size_of(batches: list[Vectors]) -> int:
    return sum(batch.nbytes for batch in batches)
