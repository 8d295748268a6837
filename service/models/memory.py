"""Memory that models take together, and how what they gave up goes back to the machine."""

import ctypes
import gc
import sys

from service.models.config import ModelEntry
from service.models.errors import NotEnoughMemory
from service.models.store import PreparedModel
from service.settings import MIB, Settings


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


def give_memory_back() -> None:
    """What a replaced model leaves may refer to itself, and may have been frozen when it was new; and glibc keeps what
    was freed. Looking through all objects takes some tenths of a second; call it in a thread."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)
