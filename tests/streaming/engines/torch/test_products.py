"""Each way of multiplying gives a row the same bits in any company, and mixed steps are their two parts."""

from functools import partial

import pytest
import torch

from streaming.engines.torch.products import BLOCK_ROWS, Format, Product
from streaming.engines.torch.quantize import GROUP, Q4_1
from streaming.engines.torch.weights import Weight

OUTPUTS, INPUTS = 96, 128
COUNTS = (1, 2, 3, 7, 16, 31, 33, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1)


def make_weight(*, is_quantized: bool) -> Weight:
    torch.manual_seed(0)
    if not is_quantized:
        return torch.randn(OUTPUTS, INPUTS)
    scale = torch.rand(OUTPUTS, INPUTS // GROUP).half() * 0.1
    packed = torch.randint(0, 256, (OUTPUTS, INPUTS // 2), dtype=torch.uint8)
    return Q4_1(packed, scale, -(scale.float() * 7.5).half())


def make_product(*, is_quantized: bool = True, has_dense_copy: bool = True) -> Product:
    run_as = Format(torch.bfloat16, torch.device("cpu"), quantized=True, has_dense_copy=has_dense_copy)
    return run_as.product([make_weight(is_quantized=is_quantized)] * 2)


def make_rows() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2 * BLOCK_ROWS + 5, INPUTS, dtype=torch.bfloat16)


@pytest.mark.parametrize("is_quantized", [True, False])
def test_a_row_does_not_depend_on_the_others(is_quantized: bool) -> None:
    product, rows = make_product(is_quantized=is_quantized), make_rows()
    for way in (product.few, product.many):
        together = way(rows)
        for count in COUNTS:
            assert torch.equal(way(rows[:count]), together[:count])
            assert torch.equal(way(rows[5 : 5 + count]), together[5 : 5 + count])


@pytest.mark.parametrize("is_quantized", [True, False])
def test_a_row_does_not_depend_on_the_threads(is_quantized: bool) -> None:
    product, rows, threads = make_product(is_quantized=is_quantized), make_rows(), torch.get_num_threads()
    together = [way(rows) for way in (product.few, product.many)]
    torch.set_num_threads(1)
    try:
        alone = [way(rows) for way in (product.few, product.many)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


@pytest.mark.parametrize("is_quantized", [True, False])
def test_both_ways_multiply_by_the_stacked_weights(is_quantized: bool) -> None:
    product, rows = make_product(is_quantized=is_quantized), make_rows()
    few, many = product.few(rows).float(), product.many(rows).float()
    assert few.shape == (len(rows), 2 * OUTPUTS)
    assert (few - many).norm() < 0.01 * many.norm()
    assert torch.equal(few[:, :OUTPUTS], few[:, OUTPUTS:])


def test_a_mixed_step_is_its_two_parts() -> None:
    product, rows = make_product(), make_rows()
    mixed = product(rows, 3)
    assert torch.equal(mixed[:3], product.few(rows[:3]))
    assert torch.equal(mixed[3:], product.many(rows[3:]))
    assert torch.equal(product(rows[:3], 3), mixed[:3])
    assert torch.equal(product(rows[3:], 0), mixed[3:])


def test_without_a_dense_copy_prompts_are_read_with_the_4_bit_weights() -> None:
    product = make_product(has_dense_copy=False)
    assert product.many == product.few


def test_dense_weights_are_held_once() -> None:
    product = make_product(is_quantized=False)
    assert isinstance(product.few, partial)
    assert isinstance(product.many, partial)
    assert product.few.args[0] is product.many.args[0]
