"""The exact mode's passes: every token once and in order, in groups of a size that never changes."""

from hypothesis import given
from hypothesis import strategies as some

from streaming.engines.torch.prefixes import ALIGN_TOKENS
from streaming.engines.torch.runner import EXACT_ROWS, exact_groups
from streaming.engines.torch.scheduler import Span
from streaming.engines.torch.sequence import Clock, Sequence
from streaming.logs.discard import DiscardLog
from tests.streaming.engines.torch.support import make_generation


def make_span(start: int, rows: int) -> Span:
    sequence = Sequence(make_generation([5] * (start + rows)), DiscardLog(), Clock(0.0))
    return Span(sequence, start, start + rows)


@given(some.lists(some.tuples(some.integers(0, 100), some.integers(1, 150)), min_size=1, max_size=40))
def test_groups_hold_every_token_once_and_in_order(sizes: list[tuple[int, int]]) -> None:
    spans = [make_span(start, rows) for start, rows in sizes]
    groups = exact_groups(spans)
    pieces = [piece for group in groups for piece in group]
    for span in spans:
        own = [piece for piece in pieces if piece.sequence is span.sequence]
        positions = [position for piece in own for position in range(piece.start, piece.end)]
        assert positions == list(range(span.start, span.end))
        assert [piece.wants_logits for piece in own] == [False] * (len(own) - 1) + [True]
    for group in groups:
        assert 0 < sum(piece.end - piece.start for piece in group) <= EXACT_ROWS
        assert all(piece.start // ALIGN_TOKENS == (piece.end - 1) // ALIGN_TOKENS for piece in group)
