"""Answers that were given before, to the same input by the same version of a model. Bounded by bytes and by time.

An answer is kept as JSON: its size is then known, and nobody who gets it can change it for the next.
"""

import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import orjson

from service.predictors.predictor import Output

ENTRY_BYTES = 400  # of an entry's own objects, and of its place in the mapping


@dataclass(frozen=True, slots=True)
class Key:
    """`principal_id` is empty where principals share their answers."""

    model: str
    version: str
    input: Hashable
    principal_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    content: bytes
    n_bytes: int
    expires_at: float


class AnswerCache:
    """Whoever was asked for the longest ago goes first. Lives on one thread."""

    def __init__(self, max_bytes: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._n_bytes = 0

    @property
    def n_bytes(self) -> int:
        return self._n_bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Output | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        output: Output = orjson.loads(entry.content)
        return output

    def put(self, key: Key, output: Output) -> bool:
        """Whether it was kept: it may be larger than everything together may be."""
        if self._max_bytes == 0 or self._ttl_s <= 0:
            return False
        content = orjson.dumps(output)
        n_bytes = ENTRY_BYTES + sys.getsizeof(content) + size_of(key.input)
        if n_bytes > self._max_bytes:
            return False
        self._drop(key)
        while self._n_bytes + n_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))
        self._entries[key] = Entry(content, n_bytes, self._clock() + self._ttl_s)
        self._n_bytes += n_bytes
        return True

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._n_bytes -= entry.n_bytes


def size_of(value: Any) -> int:
    """Of a frozen input with what it holds. What is held twice counts twice."""
    match value:
        case str() | bytes():
            return sys.getsizeof(value)
        case tuple() | frozenset():
            return sys.getsizeof(value) + sum(map(size_of, value))
        case Mapping():
            return sys.getsizeof(value) + sum(size_of(key) + size_of(one) for key, one in value.items())
        case _ if is_dataclass(value):
            return sys.getsizeof(value) + sum(size_of(getattr(value, field.name)) for field in fields(value))
        case _:
            return sys.getsizeof(value)
