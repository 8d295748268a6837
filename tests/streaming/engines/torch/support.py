"""What the torch engine's tests share: a log to wait on, opened tiny models, the text that `generate` gives."""

import random
import threading
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as List
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from streaming.engines.torch.detokenize import UNFINISHED, Decode
from streaming.engines.torch.engine import TorchEngine
from streaming.engines.torch.load import Parts, open_parts, start_engine
from streaming.engines.torch.runner import Runner, StepResult
from streaming.engines.torch.scheduler import Span
from streaming.engines.torch.sequence import Sequence
from streaming.engines.torch.settings import MIB, TorchSettings
from streaming.events import Delta, Event, Failed, Finished, is_last
from streaming.generation import Generation, Sampling
from streaming.log import Entry

DEADLINE_S = 60
POISON = 13
"""A token that only the poisoned prompt holds."""
EXACT = TorchSettings(dtype="float32", kv_cache_bytes=64 * MIB, max_running=32, max_waiting=64)


class WaitableLog:
    """A `streaming.log.Log` for threads: what was appended, and conditions to wait for inside a deadline."""

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()
        self._deadline_s = deadline_s

    @property
    def last_position(self) -> int:
        return len(self.events) - 1

    @property
    def is_closed(self) -> bool:
        return bool(self.events) and is_last(self.events[-1])

    def append(self, *events: Event) -> None:
        with self._changed:
            if not self.is_closed:
                self.events.extend(events)
            self._changed.notify_all()

    async def read(self, after: int, timeout_s: float | None = None) -> List[Entry]:
        raise AssertionError("the engine never reads")

    def wait_for(self, kind: type[Event], count: int = 1) -> None:
        with self._changed:
            found = self._changed.wait_for(
                lambda: sum(isinstance(event, kind) for event in self.events) >= count or self.is_closed,
                self._deadline_s,
            )
        assert found, f"no {kind.__name__} within {self._deadline_s} s"

    def end(self) -> Finished | Failed:
        with self._changed:
            assert self._changed.wait_for(lambda: self.is_closed, self._deadline_s), "the generation did not end"
        last = self.events[-1]
        assert isinstance(last, Finished | Failed)
        return last

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Delta))


def is_poisoned(sequence: Sequence) -> bool:
    return POISON in sequence.generation.token_ids


class PoisonedRunner:
    """Passes everything on, but spoils the poisoned sequence: at prefill, at a later step, or with NaN."""

    def __init__(self, runner: Runner, fault: str) -> None:
        self._runner = runner
        self._fault = fault

    @property
    def capacity_tokens(self) -> int:
        return self._runner.capacity_tokens

    def reserve(self, sequence: Sequence, running: Iterable[Sequence]) -> bool:
        return self._runner.reserve(sequence, running)

    def release(self, sequence: Sequence, *, is_tainted: bool) -> None:
        self._runner.release(sequence, is_tainted=is_tainted)

    def step(self, spans: list[Span]) -> StepResult:
        hit = [span for span in spans if is_poisoned(span.sequence) and self._strikes(span)]
        if not hit:
            return self._runner.step(spans)
        if self._fault == "nan":
            result = self._runner.step(spans)
            rows = [row for row, span in enumerate(result.spans) if span in hit]
            assert result.logits is not None
            result.logits[rows, 0] = torch.nan
            return result
        result = self._runner.step([span for span in spans if span not in hit])
        result.failures.extend((span, RuntimeError("a secret of the library")) for span in hit)
        return result

    def _strikes(self, span: Span) -> bool:
        return not span.is_decode if self._fault == "prefill" else span.sequence.completion_tokens == 3


def make_generation(tokens: List[int], *, sampling: Sampling | None = None, **changes: Any) -> Generation:
    number = random.getrandbits(64)  # a name for the stream, not a secret
    generation = Generation(
        stream_id=f"s{number:x}",
        owner="somebody",
        model="tiny",
        model_version="0",
        token_ids=tuple(tokens),
        max_tokens=24,
        seed=7,
        created=0,
        sampling=sampling or Sampling(),
    )
    return replace(generation, **changes)


def run_all(engine: TorchEngine, generations: List[Generation]) -> list[WaitableLog]:
    logs = [WaitableLog() for _ in generations]
    for generation, log in zip(generations, logs, strict=True):
        engine.submit(generation, log)
    for log in logs:
        log.end()
    return logs


def run_alone(engine: TorchEngine, generation: Generation) -> str:
    """The text of the same generation under a name and an owner of its own: nothing to reuse, nobody beside it."""
    alone = replace(generation, stream_id=f"{generation.stream_id}alone", owner=f"{generation.stream_id}alone")
    return run_all(engine, [alone])[0].text


@contextmanager
def running(parts: Parts, settings: TorchSettings = EXACT) -> Iterator[TorchEngine]:
    engine = start_engine(parts, settings, "tiny")
    try:
        yield engine
    finally:
        engine.close(0)


@contextmanager
def opened(folder: Path, settings: TorchSettings = EXACT) -> Iterator[TorchEngine]:
    with running(open_parts(folder, settings), settings) as engine:
        yield engine


def generated_texts(folder: Path, prompts: List[List[int]], max_tokens: int) -> list[str]:
    """Greedy, float32, one by one: the reference of the exact mode."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    decode = open_tokenizer(folder)
    texts = []
    for prompt in prompts:
        with torch.inference_mode():
            output = model.generate(
                torch.tensor([list(prompt)]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                max_new_tokens=max_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
            )
        texts.append(shown_text(decode, output[0, len(prompt) :].tolist(), (model.generation_config.eos_token_id,)))
    return texts


def shown_text(decode: Decode, tokens: list[int], end_tokens: tuple[int, ...]) -> str:
    """What an engine shows of the tokens of `generate`: a character that the length cut off is left out."""
    text = decode(tokens)
    return text if tokens[-1] in end_tokens else text.rstrip(UNFINISHED)


def open_tokenizer(folder: Path) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return lambda tokens: tokenizer.decode(tokens, skip_special_tokens=True)
