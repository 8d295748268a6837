"""How much of a file is read before it is refused. The service's settings fill these in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    max_pages: int = 2000
    max_characters: int = 10_000_000
    max_rows: int = 200_000
    max_pixels: int = 40_000_000
    max_depth: int = 64
    max_unpacked_bytes: int = 256 * 1024 * 1024
    max_recognised_pages: int = 50
