"""One sequence's way from chosen tokens to events: text, stop strings, log-probabilities, the end."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from streaming.engines.torch.detokenize import Cut, Decode, Detokenizer, StopFilter
from streaming.engines.torch.sampler import Choice
from streaming.engines.torch.sequence import Clock, Sequence
from streaming.events import ChosenLogprob, Delta, Finished, FinishReason, Timings, TokenLogprob, Usage


@dataclass(frozen=True, slots=True)
class Decoder:
    """`text` decodes many tokens and leaves special ones out; `token` shows any single one."""

    text: Decode
    token: Callable[[int], str]


class Output:
    def __init__(self, sequence: Sequence, decoder: Decoder) -> None:
        self.sequence = sequence
        self._decoder = decoder
        self._detokenizer = Detokenizer(decoder.text)
        self._stops = StopFilter(sequence.generation.stop)

    def accept(self, choice: Choice, end_tokens: tuple[int, ...]) -> Finished | None:
        """Take the next token. Appends its delta to the log; returns the last event when the text ends here."""
        sequence = self.sequence
        if sequence.clock.first_token is None:
            sequence.clock.first_token = time.monotonic()
        sequence.tokens.append(choice.token)
        self._count(choice)
        is_end = choice.token in end_tokens
        cut = self._cut("" if is_end else self._detokenizer.push(choice.token))
        is_full = sequence.completion_tokens >= sequence.generation.max_tokens
        if not cut.is_stopped and (is_end or is_full):
            rest = self._cut(self._detokenizer.flush(is_cut=not is_end))
            cut = Cut(cut.text + rest.text + self._stops.flush(), rest.is_stopped)
        self._emit(cut.text)
        if is_end or cut.is_stopped:
            return self.finished("stop")
        return self.finished("length") if is_full else None

    def finished(self, reason: FinishReason) -> Finished:
        sequence = self.sequence
        completion = sequence.completion_tokens
        confidence = None
        if sequence.generation.wants_confidence and completion:
            confidence = math.exp(sequence.logprob_sum / completion)
        usage = Usage(sequence.prompt_tokens, completion)
        return Finished(reason, usage, _timings(sequence.clock, completion), confidence)

    def _cut(self, text: str) -> Cut:
        return self._stops.push(text)

    def _count(self, choice: Choice) -> None:
        sequence = self.sequence
        sequence.silent_tokens += 1
        if choice.logprob is None:
            return
        sequence.logprob_sum += choice.logprob
        if sequence.generation.logprobs is not None:
            show = self._decoder.token
            top = tuple(TokenLogprob(show(token), logprob) for token, logprob in choice.top)
            sequence.silent_logprobs.append(ChosenLogprob(show(choice.token), choice.logprob, top))

    def _emit(self, text: str) -> None:
        sequence = self.sequence
        if not text and not sequence.silent_logprobs:
            return
        sequence.log.append(Delta(text, sequence.silent_tokens, tuple(sequence.silent_logprobs)))
        sequence.silent_tokens = 0
        sequence.silent_logprobs.clear()


def _timings(clock: Clock, completion_tokens: int) -> Timings:
    """Tokens per second is the pace after the first token; with one token alone, the pace of that one."""
    end = time.monotonic()
    admitted = clock.admitted if clock.admitted is not None else end
    first = clock.first_token if clock.first_token is not None else end
    pace = 0.0
    if completion_tokens > 1 and end > first:
        pace = (completion_tokens - 1) / (end - first)
    elif completion_tokens == 1:
        pace = 1 / max(end - admitted, 1e-6)
    return Timings(
        queue_ms=_ms(admitted - clock.submitted),
        prefill_ms=_ms(first - admitted),
        decode_ms=_ms(end - first),
        tokens_per_second=round(pace, 2),
    )


def _ms(seconds: float) -> float:
    return round(1000 * max(seconds, 0.0), 3)
