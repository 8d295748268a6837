"""A file of vectors, read through a memory map: row n belongs to the piece in slot n. Knows no SQL.

Exact search is one product with the whole matrix. The kernel's page cache is its only memory, shared by all processes.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uploads.index import Vector, Vectors

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Range:
    """The slots of one document."""

    first: int
    count: int

    @property
    def end(self) -> int:
        return self.first + self.count


def write_rows(path: Path, first: int, vectors: Vectors) -> None:
    """Durable when it returns. What lies behind the last committed row may be overwritten: nobody reads it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        content = np.ascontiguousarray(vectors, np.float32).data.cast("B")
        offset = first * vectors.shape[1] * FLOAT_BYTES
        while content:
            written = os.pwrite(descriptor, content, offset)
            content, offset = content[written:], offset + written
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class VectorFile:
    """Rows that do not change while it is open, even if the file is removed."""

    def __init__(self, path: Path, rows: int, dimensions: int) -> None:
        """Raises `ValueError` for a file that is too short, `FileNotFoundError` for none."""
        self._matrix: Vectors = np.memmap(path, np.float32, "r", shape=(rows, dimensions))

    def rows(self, part: Range) -> Vectors:
        return self._matrix[part.first : part.end]

    def nearest(self, vector: Vector, ranges: Sequence[Range], limit: int) -> list[int]:
        """The slots in these ranges whose vectors are nearest, the nearest first."""
        if not ranges:
            return []
        spans = merged(ranges)
        scores = np.concatenate([self.rows(span) @ vector for span in spans])
        slots = np.concatenate([np.arange(span.first, span.end) for span in spans])
        if len(scores) > limit:
            best = np.argpartition(-scores, limit)[:limit]
            scores, slots = scores[best], slots[best]
        return [int(slot) for slot in slots[np.lexsort((slots, -scores))]]


def merged(ranges: Sequence[Range]) -> list[Range]:
    """Neighbours as one, so that a whole index without holes is a single product."""
    spans: list[Range] = []
    for one in sorted(ranges, key=lambda one: one.first):
        if spans and spans[-1].end == one.first:
            spans[-1] = Range(spans[-1].first, spans[-1].count + one.count)
        elif one.count:
            spans.append(one)
    return spans
