"""An engine whose thread hangs or dies, of each kind: seen, told, replaced, and never more often than said."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest

from streaming.engines.echo import EchoEngine, EchoSpeed
from streaming.engines.torch.engine import TorchEngine
from streaming.engines.torch.load import EngineStarter, open_parts
from streaming.engines.torch.runner import Runner, StepResult
from streaming.engines.torch.scheduler import Span
from streaming.errors import EngineDown
from streaming.events import Delta, Failed, Finished
from streaming.generation import Generation
from streaming.supervisor import SupervisedEngine, Watchable
from streaming.vigil import Patience
from tests.contract.harness import EchoHarness, TorchHarness, tiny_folder
from tests.server import wait_until
from tests.streaming.engines.torch.support import EXACT, POISON, PoisonedRunner, WaitableLog, is_poisoned

WITHIN_S = 60
QUICK = Patience(hang_s=1.0, interval_s=0.05, restart_pause_s=0.01)


class BreakingRunner(PoisonedRunner):
    """At the poisoned sequence it never comes back, or takes the thread along."""

    def __init__(self, runner: Runner, fault: str, released: threading.Event) -> None:
        super().__init__(runner, fault)
        self._released = released

    def step(self, spans: list[Span]) -> StepResult:
        if any(is_poisoned(span.sequence) and span.is_decode for span in spans):
            if self._fault == "crash":
                raise ThreadBroken
            self._released.wait()
        return self._runner.step(spans)


class ThreadBroken(Exception):
    """Raised past the runner's own care for single sequences."""


class Case:
    """An engine to break: `start` as the supervisor wants it, a healthy prompt and one that breaks the thread."""

    def __init__(self, kind: str, fault: str) -> None:
        self.released = threading.Event()
        self.starts = 0
        if kind == "echo":
            word = "crash_at" if fault == "crash" else "freeze_at"
            self.harness: EchoHarness | TorchHarness = EchoHarness()
            self._make: Callable[[], Watchable] = partial(EchoEngine, EchoSpeed(2000.0, 4, 4, may_break=True))
            self.bad = self.harness.generation(f"one two three [[echo {word}=2]]")
        else:
            self.harness = TorchHarness()
            self._make = self._torch(fault)
            self.bad = self.harness.generation(token_ids=(POISON, 30, 31))

    def start(self) -> Watchable:
        self.starts += 1
        return self._make()

    def good(self) -> Generation:
        return self.harness.generation()

    def _torch(self, fault: str) -> Callable[[], TorchEngine]:
        parts = open_parts(tiny_folder(), EXACT)

        def broken(make: Callable[[], Runner]) -> Callable[[], Runner]:
            return lambda: BreakingRunner(make(), fault, self.released)

        spoiled = replace(parts, runner=broken(lambda: parts.runner)(), make_runner=broken(parts.make_runner))
        return EngineStarter(spoiled, EXACT, "tiny")


@contextmanager
def supervised(case: Case, patience: Patience = QUICK) -> Iterator[SupervisedEngine]:
    engine = SupervisedEngine(case.start, "default", patience)
    try:
        yield engine
    finally:
        case.released.set()
        engine.close(0)


def run(engine: SupervisedEngine, generation: Generation) -> WaitableLog:
    log = WaitableLog()
    engine.submit(generation, log)
    return log


CASES = pytest.mark.parametrize(("kind", "fault"), [(k, f) for k in ("echo", "torch") for f in ("hang", "crash")])


@CASES
def test_its_streams_fail_as_retryable_and_another_engine_answers(kind: str, fault: str) -> None:
    case = Case(kind, fault)
    with supervised(case) as engine:
        before = run(engine, case.good())
        assert isinstance(before.end(), Finished)
        broken = [run(engine, case.bad), run(engine, replace(case.good(), max_tokens=20, min_tokens=20))]
        for log in broken:
            last = log.end()
            if log is broken[0] or isinstance(last, Failed):
                assert isinstance(last, Failed)
                assert (last.code, last.retryable) == ("engine_down", True)
        wait_until(lambda: engine.state == "ready" and engine.restarts == 1, WITHIN_S, "it works again")
        after = run(engine, replace(case.good(), stream_id="again"))
        assert isinstance(after.end(), Finished)
        assert after.text == before.text


@CASES
def test_while_it_is_down_it_says_why_and_takes_nothing(kind: str, fault: str) -> None:
    case = Case(kind, fault)
    with supervised(case, replace(QUICK, max_restarts=0)) as engine:
        run(engine, case.bad).end()
        wait_until(lambda: "given up" in (engine.trouble or ""), WITHIN_S, "it gave up")
        assert engine.state == "failed"
        assert ("hangs" if fault == "hang" else "died") in str(engine.trouble)
        assert (engine.load.running, engine.load.waiting) == (0, 0)
        with pytest.raises(EngineDown):
            run(engine, case.good())


def test_what_a_hung_thread_says_later_reaches_nobody() -> None:
    case = Case("torch", "hang")
    with supervised(case) as engine:
        log = run(engine, case.bad)
        log.end()
        seen = len(log.events)
        hung = [thread for thread in threading.enumerate() if thread.name == "headwater-tiny"]
        case.released.set()
        wait_until(lambda: sum(thread.is_alive() for thread in hung) <= 1, WITHIN_S, "the old thread has ended")
        assert len(log.events) == seen


def test_restarts_are_bounded_and_counted() -> None:
    case = Case("echo", "crash")
    with supervised(case, replace(QUICK, max_restarts=2)) as engine:
        for number in range(3):
            wait_until(lambda: engine.state == "ready", WITHIN_S, "it works")
            run(engine, replace(case.bad, stream_id=f"s{number}")).end()
            wait_until(lambda: engine.trouble is None or "given up" in engine.trouble, WITHIN_S, "it is decided")
        wait_until(lambda: "given up" in (engine.trouble or ""), WITHIN_S, "no third restart")
        assert (case.starts, engine.restarts) == (3, 2)


def test_a_start_that_fails_is_tried_again() -> None:
    case = Case("echo", "crash")
    failing = iter([False, True, False])

    def start() -> Watchable:
        if next(failing):
            raise MemoryError
        return case.start()

    engine = SupervisedEngine(start, "default", QUICK)
    run(engine, case.bad).end()
    wait_until(lambda: engine.restarts == 1, WITHIN_S, "the second try works")
    engine.close(0)


def test_closing_does_not_wait_for_a_hung_thread() -> None:
    case = Case("torch", "hang")
    engine = SupervisedEngine(case.start, "default", replace(QUICK, hang_s=2.0))
    log = run(engine, case.bad)
    log.wait_for(Delta)
    closing = threading.Thread(target=engine.close, args=(WITHIN_S * 10,))
    closing.start()
    closing.join(WITHIN_S)
    assert not closing.is_alive()
    assert isinstance(log.end(), Failed)
    case.released.set()


def test_a_slow_engine_is_left_alone() -> None:
    """The pauses between two of its steps are longer than the patience with a thread that hangs."""
    case = Case("echo", "crash")
    with supervised(case) as engine:
        assert isinstance(run(engine, case.harness.generation("a b c [[echo prefill_ms=6000]]")).end(), Finished)
        assert (engine.restarts, engine.trouble) == (0, None)
