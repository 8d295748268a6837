"""4-bit layers give what their own weights give, and a row never depends on its neighbours."""

import pytest
import torch

from streaming.engines.torch.quantize import GROUP, Int4Linear, can_run, dequantize, unpack

OUTPUTS, INPUTS = 48, 96


def make_weights() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    q4 = torch.randint(0, 256, (OUTPUTS, INPUTS // 2), dtype=torch.uint8)
    scale = torch.rand(OUTPUTS, INPUTS // GROUP).half() * 0.1
    return q4, scale, -(scale.float() * 7.5).half()


def test_unpacking_takes_the_low_half_first() -> None:
    assert unpack(torch.tensor([[0x21, 0x43]], dtype=torch.uint8)).tolist() == [[1, 2, 3, 4]]


def test_weights_are_scale_times_value_plus_minimum() -> None:
    q4, scale, minimum = make_weights()
    weights = dequantize(q4, scale, minimum, torch.float32)
    expected = float(unpack(q4)[5, 40]) * float(scale[5, 1]) + float(minimum[5, 1])
    assert float(weights[5, 40]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_the_layer_multiplies_by_its_weights(rows: int) -> None:
    q4, scale, minimum = make_weights()
    bias = torch.nn.Parameter(torch.randn(OUTPUTS, dtype=torch.bfloat16))
    inputs = torch.randn(1, rows, INPUTS, dtype=torch.bfloat16)
    out = Int4Linear(q4, scale, minimum, bias)(inputs)
    expected = inputs.float() @ dequantize(q4, scale, minimum, torch.float32).T + bias.float()
    assert out.shape == (1, rows, OUTPUTS)
    assert (out.float() - expected).norm() < 0.01 * expected.norm()


def test_a_row_does_not_depend_on_the_others() -> None:
    layer = Int4Linear(*make_weights(), bias=None)
    inputs = torch.randn(64, INPUTS, dtype=torch.bfloat16)
    together = layer(inputs)
    for rows in (1, 2, 3, 5, 8, 31):
        assert torch.equal(layer(inputs[:rows]), together[:rows])


def test_other_devices_and_shapes_are_left_to_dense_layers() -> None:
    cpu = torch.device("cpu")
    assert can_run(OUTPUTS, INPUTS, torch.bfloat16, cpu)
    assert not can_run(OUTPUTS, INPUTS, torch.float32, cpu)
    assert not can_run(OUTPUTS + 1, INPUTS, torch.bfloat16, cpu)
    assert not can_run(OUTPUTS, INPUTS, torch.bfloat16, torch.device("meta"))
