"""Attention gives a sequence the same bits whoever runs beside it, and whichever thread computes it."""

from collections.abc import Iterator

import pytest
import torch

from streaming.engines.torch.arena import Region
from streaming.engines.torch.attention import PackedAttention, StepLayout, decode_calls, prefill_calls
from streaming.engines.torch.cache import KeyValueCache, LayerShape
from streaming.engines.torch.prefixes import ALIGN_TOKENS
from streaming.engines.torch.scheduler import Span
from streaming.engines.torch.sequence import Clock, Sequence
from streaming.logs.discard import DiscardLog
from tests.streaming.engines.torch.support import make_generation

KEY_VALUE_HEADS, GROUPS, SIZE = 3, 3, 64
PLACES = 512
SEQUENCES = 12


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def a_span(number: int, start: int, rows: int) -> Span:
    sequence = Sequence(make_generation([5] * (start + rows)), DiscardLog(), Clock(0.0))
    sequence.region = Region(number * PLACES, PLACES)
    return Span(sequence, start, start + rows)


def places(spans: list[Span]) -> torch.Tensor:
    own = [(span.sequence.region, span.start, span.end) for span in spans]
    return torch.tensor([region.start + at for region, start, end in own if region for at in range(start, end)])


class Layer:
    """A cache whose every key and value is random already."""

    def __init__(self, dtype: torch.dtype) -> None:
        cache = KeyValueCache(
            {0: LayerShape(KEY_VALUE_HEADS, SIZE, SIZE)}, SEQUENCES * PLACES, dtype, torch.device("cpu")
        )
        everywhere = torch.arange(SEQUENCES * PLACES)
        cache.write(0, everywhere, *(torch.randn(KEY_VALUE_HEADS, len(everywhere), SIZE) for _ in range(2)))
        self._attention = PackedAttention(cache)
        self._dtype = dtype

    def attend(self, layout: StepLayout, rows: torch.Tensor, threads: int) -> torch.Tensor:
        torch.set_num_threads(threads)
        self._attention.begin(layout)
        query, key, value = rows.to(self._dtype).tensor_split(
            (KEY_VALUE_HEADS * GROUPS, KEY_VALUE_HEADS * (GROUPS + 1)), 1
        )
        return self._attention.attend_rows(0, query, key, value)


def random_rows(count: int) -> torch.Tensor:
    return torch.randn(count, KEY_VALUE_HEADS * (GROUPS + 2), SIZE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [40, 100, 300])
def test_a_token_is_the_same_alone_and_in_company_on_any_thread(dtype: torch.dtype, length: int) -> None:
    torch.manual_seed(length)
    layer, spans = Layer(dtype), [a_span(number, length, 1) for number in range(SEQUENCES)]
    rows = random_rows(SEQUENCES)
    together = StepLayout(decode_calls(spans), places(spans), SEQUENCES, 0)
    results = [layer.attend(together, rows, threads) for threads in (1, 2)]
    for number, span in enumerate(spans):
        alone = StepLayout(decode_calls([span]), places([span]), 1, 0)
        results.append(layer.attend(alone, rows[number : number + 1], 1))
    one_thread, two_threads, *each = results
    assert torch.equal(one_thread, two_threads)
    assert torch.equal(one_thread, torch.cat(each))


@pytest.mark.parametrize("rows_read", [1, 5, ALIGN_TOKENS, 45])
def test_a_prompt_is_read_the_same_on_any_thread(rows_read: int) -> None:
    torch.manual_seed(rows_read)
    layer, span = Layer(torch.float32), a_span(0, 64, rows_read)
    rows = random_rows(rows_read)
    layout = StepLayout(prefill_calls(span, 0), places([span]), 0, 0)
    one_thread, two_threads = (layer.attend(layout, rows, threads) for threads in (1, 2))
    assert one_thread.shape == (rows_read, KEY_VALUE_HEADS * GROUPS, SIZE)
    assert torch.equal(one_thread, two_threads)


def test_rows_that_fill_up_a_block_are_seen_by_nobody() -> None:
    """Against attention written out: each row sees the keys up to its own place."""
    torch.manual_seed(0)
    layer, span = Layer(torch.float32), a_span(0, 0, 5)
    rows = random_rows(5)
    result = layer.attend(StepLayout(prefill_calls(span, 0), places([span]), 0, 0), rows, 1)
    heads = KEY_VALUE_HEADS * GROUPS
    query, key, value = rows.tensor_split((heads, heads + KEY_VALUE_HEADS), 1)
    for row in range(5):
        for head in range(heads):
            keys, values = (one[: row + 1, head // GROUPS] for one in (key, value))
            weights = torch.softmax(keys @ query[row, head] * SIZE**-0.5, 0)
            torch.testing.assert_close(result[row, head], weights @ values)
