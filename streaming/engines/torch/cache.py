"""The keys and values of every running and remembered sequence: one tensor pair per layer, laid out by the arena."""

import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from streaming.engines.torch.arena import Region


@dataclass(frozen=True, slots=True)
class LayerShape:
    heads: int
    key_size: int
    value_size: int

    @property
    def values_per_token(self) -> int:
        return self.heads * (self.key_size + self.value_size)


def bytes_per_token(shapes: Mapping[int, LayerShape], dtype: torch.dtype) -> int:
    return sum(shape.values_per_token for shape in shapes.values()) * dtype.itemsize


class KeyValueCache:
    def __init__(self, shapes: Mapping[int, LayerShape], places: int, dtype: torch.dtype, device: torch.device) -> None:
        self._layers = {
            index: (
                _zeros((shape.heads, places, shape.key_size), dtype, device),
                _zeros((shape.heads, places, shape.value_size), dtype, device),
            )
            for index, shape in shapes.items()
        }

    def write(
        self, layer: int, places: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store [heads, rows, size] at `places` and return the layer's whole tensors."""
        keys, values = self._layers[layer]
        keys.index_copy_(1, places, key.to(keys.dtype))
        values.index_copy_(1, places, value.to(values.dtype))
        return keys, values

    def copy(self, source: Region, target: Region, tokens: int) -> None:
        for pair in self._layers.values():
            for tensor in pair:
                tensor[:, target.start : target.start + tokens] = tensor[:, source.start : source.start + tokens]

    def clear(self, region: Region) -> None:
        """Wipe what a failed sequence left: a NaN would poison the next owner even where its mask is zero."""
        for pair in self._layers.values():
            for tensor in pair:
                tensor[:, region.start : region.end].zero_()


def _zeros(shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros that cost no memory until they are written.

    In small pages: in huge ones the first token of each layer and head would make the system clear two megabytes.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)
