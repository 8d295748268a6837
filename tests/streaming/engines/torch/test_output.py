"""From chosen tokens to the log: how a text that is cut ends, and one that ends by itself."""

import pytest

from streaming.engines.torch.output import Decoder, Output
from streaming.engines.torch.sampler import Choice
from streaming.engines.torch.sequence import Clock, Sequence
from streaming.events import Finished
from tests.streaming.engines.torch.support import WaitableLog, make_generation
from tests.streaming.engines.torch.tiny import make_tokenizer

TOKENIZER = make_tokenizer().backend_tokenizer
DECODER = Decoder(lambda tokens: str(TOKENIZER.decode(tokens)), lambda token: str(TOKENIZER.decode([token])))
END = 0
EMOJI = TOKENIZER.encode("a🧑", add_special_tokens=False).ids


def said(tokens: list[int], max_tokens: int) -> tuple[str, Finished | None]:
    log = WaitableLog()
    output = Output(Sequence(make_generation([5], max_tokens=max_tokens), log, Clock(0.0)), DECODER)
    last = None
    for token in tokens:
        last = output.accept(Choice(token), (END,))
    return log.text, last


@pytest.mark.parametrize("max_tokens", range(1, len(EMOJI) + 1))
def test_max_tokens_within_a_character_leave_it_out(max_tokens: int) -> None:
    text, last = said(EMOJI[:max_tokens], max_tokens)
    assert text == ("a🧑" if max_tokens == len(EMOJI) else "a")
    assert last is not None
    assert (last.finish_reason, last.usage.completion_tokens) == ("length", max_tokens)


def test_a_character_that_the_model_itself_did_not_finish_is_shown_as_replaced() -> None:
    text, last = said([*EMOJI[:-1], END], 50)
    assert (text, last and last.finish_reason) == ("a\ufffd", "stop")
