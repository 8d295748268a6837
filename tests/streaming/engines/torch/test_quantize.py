"""4-bit layers give what their own weights give, and a row never depends on its neighbours."""

import pytest
import torch

from streaming.engines.torch.quantize import GROUP, Q4_1, Int4Linear, Room, can_run, stack
from streaming.engines.torch.weights import spread

OUTPUTS, INPUTS = 48, 96


def make_weight(outputs: int = OUTPUTS) -> Q4_1:
    torch.manual_seed(0)
    packed = torch.randint(0, 256, (outputs, INPUTS // 2), dtype=torch.uint8)
    scale = torch.rand(outputs, INPUTS // GROUP).half() * 0.1
    return Q4_1(packed, scale, -(scale.float() * 7.5).half())


def parts(weight: Q4_1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return weight.packed, weight.scale, weight.minimum


def test_unpacking_takes_the_low_half_first() -> None:
    nothing = torch.zeros(1, 1)
    packed = torch.tensor([[0x21, 0x43]], dtype=torch.uint8)
    assert Q4_1(packed, nothing, nothing).values(Room()).tolist() == [[1, 2, 3, 4]]


def test_weights_are_scale_times_value_plus_minimum() -> None:
    weight = make_weight()
    dense = spread(weight, torch.float32, Room())
    expected = float(weight.values(Room())[5, 40]) * float(weight.scale[5, 1]) + float(weight.minimum[5, 1])
    assert float(dense[5, 40]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_the_layer_multiplies_by_its_weights(rows: int) -> None:
    weight = make_weight()
    bias = torch.nn.Parameter(torch.randn(OUTPUTS, dtype=torch.bfloat16))
    inputs = torch.randn(1, rows, INPUTS, dtype=torch.bfloat16)
    out = Int4Linear(weight, weight.values(Room()), bias)(inputs)
    expected = inputs.float() @ spread(weight, torch.float32, Room()).T + bias.float()
    assert out.shape == (1, rows, OUTPUTS)
    assert (out.float() - expected).norm() < 0.01 * expected.norm()


def test_a_row_does_not_depend_on_the_others() -> None:
    weight = make_weight()
    layer = Int4Linear(weight, weight.values(Room()))
    inputs = torch.randn(64, INPUTS, dtype=torch.bfloat16)
    together = layer(inputs)
    for rows in (1, 2, 3, 5, 8, 31):
        assert torch.equal(layer(inputs[:rows]), together[:rows])


def test_stacked_weights_give_the_outputs_of_each() -> None:
    first, second = make_weight(), make_weight(16)
    both = torch.cat([spread(first, torch.float32, Room()), spread(second, torch.float32, Room())])
    assert torch.equal(spread(stack([first, second]), torch.float32, Room()), both)


def test_what_is_spread_out_stays_when_its_room_is_used_again() -> None:
    room, weight, other = Room(), make_weight(), Q4_1(*(part.flip(0) for part in parts(make_weight())))
    for dtype in (torch.float32, torch.bfloat16):
        first = spread(weight, dtype, room)
        spread(other, dtype, room)
        assert torch.equal(first, spread(weight, dtype, Room()))


def test_other_devices_and_shapes_are_left_to_dense_layers() -> None:
    cpu = torch.device("cpu")
    assert can_run(make_weight(), torch.bfloat16, cpu)
    assert not can_run(make_weight(), torch.float32, cpu)
    assert not can_run(make_weight(OUTPUTS + 1), torch.bfloat16, cpu)
    assert not can_run(make_weight(), torch.bfloat16, torch.device("meta"))
