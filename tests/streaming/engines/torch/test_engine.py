"""Faults, cancels and limits of the engine, on a tiny model."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from streaming.engines.torch.engine import TorchEngine
from streaming.engines.torch.load import Parts, open_parts
from streaming.engines.torch.output import Decoder
from streaming.engines.torch.runner import Network, PackedRunner, Runner, StepResult
from streaming.engines.torch.sampler import Sampler
from streaming.engines.torch.scheduler import Span
from streaming.engines.torch.sequence import Sequence
from streaming.errors import EngineDown, Overloaded, PromptTooLong, ShuttingDown
from streaming.events import Delta, Failed, Finished, Progress, Queued, Started
from streaming.generation import Generation, Sampling
from tests.streaming.engines.torch.support import (
    DEADLINE_S,
    EXACT,
    POISON,
    PoisonedRunner,
    WaitableLog,
    is_poisoned,
    make_generation,
    opened,
    run_all,
    run_alone,
    running,
)

COMPANY = 16
ROUNDS = 50


class PoisonedSampler(Sampler):
    def _choose_row(self, row: torch.Tensor, sequence: Sequence) -> int:
        if is_poisoned(sequence) and sequence.completion_tokens == 3:
            raise RuntimeError("a secret of the library")
        return super()._choose_row(row, sequence)


def decoder_that_fails_on(token: int, decoder: Decoder) -> Decoder:
    def text(tokens: list[int]) -> str:
        if token in tokens:
            raise ValueError("a secret of the library")
        return decoder.text(tokens)

    return replace(decoder, text=text)


@pytest.fixture(scope="module")
def parts(tiny_folder: Path) -> Parts:
    return open_parts(tiny_folder, EXACT)


def company(sampling: Sampling) -> list[Generation]:
    """One poisoned generation among others, prompts of several lengths."""
    prompts = [[20 + number, *range(40, 41 + 3 * number)] for number in range(COMPANY - 1)]
    generations = [make_generation(prompt, sampling=sampling, seed=n, max_tokens=8) for n, prompt in enumerate(prompts)]
    return [*generations, make_generation([POISON, 30, 31], sampling=sampling, max_tokens=8)]


def poison(parts: Parts, fault: str) -> Parts:
    if fault == "sample":
        return replace(parts, sampler=PoisonedSampler(parts.sampler.end_tokens))
    return replace(parts, runner=PoisonedRunner(parts.runner, fault))


@pytest.mark.parametrize(
    ("fault", "code"),
    [("prefill", "step_failed"), ("step", "step_failed"), ("nan", "non_finite_logits"), ("sample", "step_failed")],
)
def test_a_fault_hits_one_generation(parts: Parts, fault: str, code: str) -> None:
    """E1: one typed failure, the others bit-identical, in every round."""
    sampling = Sampling(temperature=1.0, top_k=20)
    with running(parts) as healthy:
        expected = [run_alone(healthy, generation) for generation in company(sampling)[:-1]]
    with running(poison(parts, fault)) as engine:
        for _ in range(ROUNDS):
            logs = run_all(engine, company(sampling))
            failed = logs[-1].end()
            assert isinstance(failed, Failed)
            assert failed.code == code
            assert "secret" not in failed.message
            assert [log.text for log in logs[:-1]] == expected
            assert all(isinstance(log.end(), Finished) for log in logs[:-1])
        assert engine.load.running == engine.load.waiting == 0


def test_a_text_that_cannot_be_decoded_fails_alone(parts: Parts) -> None:
    only_poison, never_poison = Sampling(logit_bias=((POISON, 100.0),)), Sampling(logit_bias=((POISON, -100.0),))
    generations = [*company(never_poison)[:-1], make_generation([30, 31], sampling=only_poison)]
    with running(parts) as healthy:
        expected = [run_alone(healthy, generation) for generation in generations[:-1]]
    with running(replace(parts, decoder=decoder_that_fails_on(POISON, parts.decoder))) as engine:
        for _ in range(ROUNDS):
            logs = run_all(engine, generations)
            assert [log.text for log in logs[:-1]] == expected
            assert logs[-1].end() == Failed("step_failed", "The model failed on this request.", retryable=False)


class RaisingNetwork:
    """A model that cannot compute one token, as real ones raise: in the middle of a packed pass."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.device, self.dtype = network.device, network.dtype

    def __call__(self, tokens: torch.Tensor, positions: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        logits = self._network(tokens, positions, keep)
        if (tokens == POISON).any():
            raise RuntimeError("a secret of the library")
        return logits


def test_a_pass_that_raises_is_run_again_without_the_one_to_blame(tiny_folder: Path) -> None:
    parts = open_parts(tiny_folder, EXACT)
    generations = company(Sampling())
    with running(parts) as healthy:
        expected = [run_alone(healthy, generation) for generation in generations[:-1]]
    assert isinstance(parts.runner, PackedRunner)
    parts.runner._network = RaisingNetwork(parts.runner._network)
    with running(parts) as engine:
        logs = run_all(engine, generations)
    assert [log.text for log in logs[:-1]] == expected
    assert logs[-1].end() == Failed("step_failed", "The model failed on this request.", retryable=False)


@pytest.mark.parametrize("when", ["queue", "prefill", "decode"])
def test_cancel_frees_the_place(tiny_folder: Path, when: str) -> None:
    settings = replace(EXACT, max_running=1, prefill_chunk_tokens=32)
    with opened(tiny_folder, settings) as engine:
        first = WaitableLog()
        long = make_generation([5] * (2000 if when == "prefill" else 4), max_tokens=1500)
        engine.submit(long, first)
        waiting, second = make_generation([6, 7]), WaitableLog()
        if when == "queue":
            engine.submit(waiting, second)
            second.wait_for(Queued)
            engine.cancel(waiting.stream_id)
            assert second.end().finish_reason == "cancelled"  # type: ignore[union-attr]
            assert not [event for event in second.events if isinstance(event, Delta)]
        first.wait_for(*((Progress, 2) if when == "prefill" else (Delta,)))
        engine.cancel(long.stream_id)
        engine.cancel(long.stream_id)
        assert first.end().finish_reason == "cancelled"  # type: ignore[union-attr]
        assert run_all(engine, [make_generation([8, 9])])[0].text
        assert engine.load.running == engine.load.waiting == 0


def test_an_unknown_stream_can_be_cancelled(engine: TorchEngine) -> None:
    engine.cancel("s0")
    assert run_all(engine, [make_generation([8, 9])])[0].text


def test_a_full_queue_refuses(tiny_folder: Path) -> None:
    with opened(tiny_folder, replace(EXACT, max_running=1, max_waiting=2)) as engine:
        logs = [WaitableLog() for _ in range(4)]
        generations = [make_generation([5, 6], max_tokens=3000) for _ in logs]
        for generation, log in zip(generations[:3], logs, strict=False):
            engine.submit(generation, log)
        with pytest.raises(Overloaded) as refused:
            engine.submit(generations[3], logs[3])
        assert refused.value.retry_after_s >= 1
        assert logs[3].events == []


def test_waiting_generations_are_told_their_place(tiny_folder: Path) -> None:
    with opened(tiny_folder, replace(EXACT, max_running=1)) as engine:
        logs = [WaitableLog() for _ in range(3)]
        for log in logs:
            engine.submit(make_generation([5, 6], max_tokens=200), log)
        logs[2].end()
    assert [event.position for event in logs[2].events if isinstance(event, Queued)] == [2, 1]
    assert isinstance(logs[2].events[0], Started)


def test_what_does_not_fit_in_the_memory_is_refused(tiny_folder: Path) -> None:
    with opened(tiny_folder, replace(EXACT, kv_cache_bytes=1)) as engine, pytest.raises(PromptTooLong):
        engine.submit(make_generation([5] * 300, max_tokens=300), WaitableLog())


def test_generations_wait_for_memory_and_all_finish(tiny_folder: Path) -> None:
    """The cache holds two blocks beside the scratch one, so at most two of these run at a time."""
    with opened(tiny_folder, replace(EXACT, kv_cache_bytes=1)) as engine:
        logs = run_all(engine, [make_generation([5, n], max_tokens=60) for n in range(8, 16)])
        assert all(isinstance(log.end(), Finished) for log in logs)
        assert engine.capacity_tokens == 256


def test_a_long_prompt_does_not_stop_running_streams(tiny_folder: Path) -> None:
    with opened(tiny_folder, replace(EXACT, prefill_chunk_tokens=32)) as engine:
        chatting, reading = WaitableLog(), WaitableLog()
        engine.submit(make_generation([5, 6], max_tokens=1000, min_tokens=1000), chatting)
        chatting.wait_for(Delta)
        engine.submit(make_generation([7] * 1600, max_tokens=1), reading)
        reading.wait_for(Progress)
        before = tokens_in(chatting)
        reading.end()
        steps = sum(isinstance(event, Progress) for event in reading.events)
        assert steps == 1600 // 32  # the admission, and every step but the last
        assert tokens_in(chatting) - before >= steps // 2


class WaitingRunner(PoisonedRunner):
    """Its steps wait until they may go on."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner, "never")
        self.may_go_on = threading.Event()

    def step(self, spans: list[Span]) -> StepResult:
        assert self.may_go_on.wait(DEADLINE_S)
        return super().step(spans)


def test_the_log_shows_the_admission_before_the_first_step_ends(parts: Parts) -> None:
    """Else a short prompt, which is read in one step, would seem to wait until its first token."""
    runner = WaitingRunner(parts.runner)
    with running(replace(parts, runner=runner), replace(EXACT, max_running=1)) as engine:
        admitted, waiting = WaitableLog(), WaitableLog()
        engine.submit(make_generation([5, 6]), admitted)
        admitted.wait_for(Progress)
        assert admitted.events[1:] == [Progress("prefill", 0, 2)]
        engine.submit(make_generation([5, 6]), waiting)
        assert len(waiting.events) == 1
        runner.may_go_on.set()
        waiting.end()
    kinds = [type(event) for event in waiting.events]
    assert kinds[:3] == [Started, Queued, Progress]


def tokens_in(log: WaitableLog) -> int:
    return sum(event.tokens for event in log.events if isinstance(event, Delta))


def test_close_lets_running_generations_finish(tiny_folder: Path) -> None:
    with opened(tiny_folder) as engine:
        log = WaitableLog()
        engine.submit(make_generation([5, 6], max_tokens=50), log)
        engine.close(30)
        assert isinstance(log.end(), Finished)
        with pytest.raises(ShuttingDown):
            engine.submit(make_generation([5, 6]), WaitableLog())


def test_close_fails_what_does_not_finish_in_time(tiny_folder: Path) -> None:
    with opened(tiny_folder, replace(EXACT, max_running=1)) as engine:
        running_log, waiting_log = WaitableLog(), WaitableLog()
        engine.submit(make_generation([5, 6], max_tokens=4000, min_tokens=4000), running_log)
        engine.submit(make_generation([5, 7]), waiting_log)
        running_log.wait_for(Delta)
        engine.close(0)
        for log in (running_log, waiting_log):
            last = log.end()
            assert isinstance(last, Failed)
            assert (last.code, last.retryable) == ("shutting_down", True)
        assert engine.state == "closed"


class DyingScheduler(PoisonedRunner):
    def step(self, spans: list[Span]) -> StepResult:
        raise KeyError("outside of every sequence")


def test_a_dead_thread_fails_its_streams_and_refuses_new_ones(parts: Parts) -> None:
    with running(replace(parts, runner=DyingScheduler(parts.runner, "step"))) as engine:
        log = WaitableLog()
        engine.submit(make_generation([5, 6]), log)
        last = log.end()
        assert isinstance(last, Failed)
        assert last.code == "engine_down"
        assert engine.state == "failed"
        with pytest.raises(EngineDown):
            engine.submit(make_generation([5, 6]), WaitableLog())


def test_min_tokens_keeps_the_end_out_of_reach(engine: TorchEngine) -> None:
    end = engine._worker._sampler.end_tokens[0]
    biased = Sampling(logit_bias=((end, 100.0),))
    soon, late = run_all(
        engine,
        [
            make_generation([5, 6], sampling=biased),
            make_generation([5, 6], sampling=biased, min_tokens=10),
        ],
    )
    assert (soon.end().usage.completion_tokens, soon.end().finish_reason) == (1, "stop")  # type: ignore[union-attr]
    assert (late.end().usage.completion_tokens, late.end().finish_reason) == (11, "stop")  # type: ignore[union-attr]


def test_stop_strings_end_the_text_before_them(engine: TorchEngine) -> None:
    whole = run_all(engine, [make_generation([40, 41], max_tokens=30)])[0].text
    stop = whole[8:11]
    log = run_all(engine, [make_generation([40, 41], max_tokens=30, stop=(stop,))])[0]
    assert log.text == whole[: whole.index(stop)]
    assert log.end().finish_reason == "stop"  # type: ignore[union-attr]


def test_confidence_is_the_mean_probability_of_the_tokens(engine: TorchEngine) -> None:
    log = run_all(engine, [make_generation([40, 41], wants_confidence=True, logprobs=2)])[0]
    shown = [one for event in log.events if isinstance(event, Delta) for one in event.logprobs]
    mean = torch.tensor([one.logprob for one in shown]).double().mean().exp()
    assert len(shown) == log.end().usage.completion_tokens  # type: ignore[union-attr]
    assert log.end().confidence == pytest.approx(float(mean))  # type: ignore[union-attr]
    assert all(one.top[0].logprob >= one.top[1].logprob for one in shown)
