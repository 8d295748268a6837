"""Where large pieces of memory lie, as glibc tells it."""

import ctypes

import numpy as np
import pytest

from service.models.memory import in_maps_of_its_own, of_glibc

MIB = 1 << 20
FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


def bytes_in_maps() -> int:
    tell = of_glibc("mallinfo2")
    if tell is None:
        pytest.skip("this C library has no mallinfo2")
    tell.restype = Info  # type: ignore[attr-defined]
    return int(tell().hblkhd)  # type: ignore[attr-defined]


def test_only_what_is_allocated_while_a_model_is_loaded_has_maps_of_its_own() -> None:
    before = bytes_in_maps()
    with in_maps_of_its_own():
        freed = np.empty(MIB, dtype=np.uint8)
        del freed  # glibc raises its limit now, where it may
        weights = np.empty(MIB, dtype=np.uint8)
        assert bytes_in_maps() - before >= weights.nbytes
    between = bytes_in_maps()
    step = np.empty(MIB, dtype=np.uint8)
    assert bytes_in_maps() - between < step.nbytes
    del weights
    assert bytes_in_maps() - between < 0
