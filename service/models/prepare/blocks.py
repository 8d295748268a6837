"""Q4_1 blocks of a GGUF file, rearranged for safetensors without changing one value: w = q * scale + min.

For a weight P of shape [N, K]: `P.q4` uint8 [N, K/2], byte j of row n = w[n, 2j] | w[n, 2j+1] << 4, and `P.q4_scale`,
`P.q4_min` float16 [N, K/32], one for each 32 columns.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK = 32  # weights of a row that share a scale and a minimum
BLOCK_BYTES = 20  # float16 scale, float16 minimum, 16 bytes with two weights each

Bytes: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Q4:
    """Codes 0..15 one a byte [N, K]; scale and minimum float16 [N, K/32]."""

    codes: Bytes
    scale: NDArray[np.float16]
    minimum: NDArray[np.float16]

    def permuted(self, rows: NDArray[np.intp]) -> "Q4":
        return Q4(self.codes[rows], self.scale[rows], self.minimum[rows])

    def dequantized(self) -> torch.Tensor:
        """float32: the product of a 4-bit and an 11-bit number is exact, only the sum is rounded."""
        shape = (*self.scale.shape, BLOCK)
        values = self.codes.reshape(shape) * self.scale[..., None].astype(np.float32)
        return torch.from_numpy((values + self.minimum[..., None].astype(np.float32)).reshape(self.codes.shape))

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        packed = self.codes[:, 0::2] | (self.codes[:, 1::2] << 4)
        return {
            f"{name}.q4": torch.from_numpy(np.ascontiguousarray(packed)),
            f"{name}.q4_scale": torch.from_numpy(np.ascontiguousarray(self.scale)),
            f"{name}.q4_min": torch.from_numpy(np.ascontiguousarray(self.minimum)),
        }


def read_q4(data: NDArray[Any]) -> Q4:
    """`data` is a Q4_1 tensor as the file holds it: uint8 [N, K/32 * 20]."""
    blocks = np.ascontiguousarray(data).reshape(data.shape[0], -1, BLOCK_BYTES)
    halves = np.ascontiguousarray(blocks[..., :4]).view(np.float16)
    nibbles = blocks[..., 4:]
    codes = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1)  # the low nibbles are the first 16 weights
    return Q4(codes.reshape(data.shape[0], -1), halves[..., 0], halves[..., 1])


def find_q4(data: NDArray[Any], dense: torch.Tensor, heads: tuple[int, ...]) -> Q4 | None:
    """The blocks in the row order of `dense`, or None when in no known order they give exactly the same weights.

    llama.cpp stores the rows of query and key projections in another order; `heads` are the head counts to try.
    """
    blocks = read_q4(data)
    if blocks.codes.shape != tuple(dense.shape):
        return None
    orders = [np.arange(len(blocks.codes)), *(_rotary_order(len(blocks.codes), count) for count in heads)]
    for order in orders:
        candidate = blocks.permuted(order)
        if torch.equal(candidate.dequantized().to(dense.dtype), dense):
            return candidate
    return None


def _rotary_order(rows: int, heads: int) -> NDArray[np.intp]:
    """llama.cpp interleaves the two halves of each head; this takes them apart again."""
    if rows % (2 * heads):
        return np.arange(rows)
    return np.arange(rows).reshape(heads, -1, 2).swapaxes(1, 2).reshape(rows)
