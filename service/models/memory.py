"""Memory that models take together, and how what they gave up goes back to the machine."""

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.models.config import ModelEntry
from service.models.errors import NotEnoughMemory
from service.models.store import PreparedModel
from service.settings import MIB, Settings

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LOADING_BYTES = 256 << 10
SERVING_BYTES = 32 << 20  # the most that glibc takes


def estimated_bytes(entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> int:
    """Before it is loaded: its files, and for a language model the cache for what it reads and writes."""
    files = 0 if prepared is None else prepared.manifest.size_bytes
    cache = settings.kv_cache_mib * MIB if entry.kind == "language" and prepared is not None else 0
    return files + cache


def refuse_excess(name: str, needed_bytes: int, taken_bytes: int, max_mib: int | None) -> None:
    """Raises `NotEnoughMemory`."""
    if max_mib is not None and needed_bytes + taken_bytes > max_mib * MIB:
        raise NotEnoughMemory(
            f"{name} needs about {needed_bytes / MIB:.0f} MiB, and of the {max_mib} MiB for all models "
            f"{taken_bytes / MIB:.0f} are taken (HEADWATER_MAX_MODELS_MIB)"
        )


@contextmanager
def in_maps_of_its_own() -> Iterator[None]:
    """What is allocated here in large pieces goes back to the machine whole when it is freed.

    glibc raises the size from which it does so with each such piece that is freed. So the weights of a second model lay
    among other things, and up to 250 MiB of a replaced one stayed. The arithmetic of a step wants the large limit:
    it needs the same room again and again.
    """
    set_limits(LOADING_BYTES)
    try:
        yield
    finally:
        set_limits(SERVING_BYTES)


def set_limits(map_from_bytes: int) -> None:
    """As glibc would have it: what is free at the end is given back from twice that size on."""
    mallopt = of_glibc("mallopt")
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, map_from_bytes)
        mallopt(M_TRIM_THRESHOLD, 2 * map_from_bytes)


def of_glibc(name: str) -> Callable[..., int] | None:
    """None on other systems and with other C libraries."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def give_memory_back() -> None:
    """What a replaced model leaves may refer to itself, and may have been frozen when it was new; and glibc keeps what
    was freed. Looking through all objects takes some tenths of a second; call it in a thread."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    trim = of_glibc("malloc_trim")
    if trim is not None:
        trim(0)
