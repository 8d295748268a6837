"""Order, fairness and shares of a step. No model."""

from streaming.engines.torch.scheduler import IDLE_PREFILL_FACTOR, Scheduler
from streaming.engines.torch.sequence import Clock, Sequence
from streaming.logs.discard import DiscardLog
from tests.streaming.engines.torch.support import make_generation

CHUNK = 128


def make_sequence(prompt: int, owner: str = "somebody", name: str = "") -> Sequence:
    generation = make_generation([5] * prompt, owner=owner)
    if name:
        generation = make_generation([5] * prompt, owner=owner, stream_id=name)
    return Sequence(generation, DiscardLog(), Clock(0.0))


def make_scheduler(*sequences: Sequence, max_running: int = 8) -> Scheduler:
    scheduler = Scheduler(max_running, CHUNK)
    for sequence in sequences:
        scheduler.add(sequence)
    scheduler.admit(lambda _: True)
    return scheduler


def start_decoding(sequence: Sequence) -> None:
    sequence.computed = len(sequence.tokens)
    sequence.tokens.append(9)


def shares(scheduler: Scheduler) -> list[int]:
    return [span.end - span.start for span in scheduler.plan()]


def test_owners_take_turns() -> None:
    greedy = [make_sequence(3, "ann", f"a{n}") for n in range(5)]
    modest = [make_sequence(3, "bob", f"b{n}") for n in range(2)]
    scheduler = Scheduler(4, CHUNK)
    for sequence in [*greedy, *modest]:
        scheduler.add(sequence)
    assert [s.stream_id for s in scheduler.waiting()] == ["a0", "b0", "a1", "b1", "a2", "a3", "a4"]
    assert [s.stream_id for s in scheduler.admit(lambda _: True)] == ["a0", "b0", "a1", "b1"]


def test_nobody_overtakes_the_one_that_waits_for_memory() -> None:
    big, small = make_sequence(500), make_sequence(3)
    scheduler = Scheduler(4, CHUNK)
    scheduler.add(big)
    scheduler.add(small)
    assert scheduler.admit(lambda sequence: sequence is small) == []
    assert list(scheduler.waiting()) == [big, small]


def test_every_decoding_sequence_gets_one_token() -> None:
    sequences = [make_sequence(4) for _ in range(3)]
    scheduler = make_scheduler(*sequences)
    for sequence in sequences:
        start_decoding(sequence)
    assert [(s.start, s.end) for s in scheduler.plan()] == [(4, 5)] * 3


def test_a_prompt_reads_faster_while_nobody_waits_for_a_token() -> None:
    reading, chatting = make_sequence(5000), make_sequence(4)
    scheduler = make_scheduler(reading)
    assert shares(scheduler) == [CHUNK * IDLE_PREFILL_FACTOR]
    scheduler.add(chatting)
    scheduler.admit(lambda _: True)
    start_decoding(chatting)
    assert shares(scheduler) == [1, CHUNK]


def test_a_short_prompt_is_not_held_up_by_a_long_one() -> None:
    scheduler = make_scheduler(make_sequence(5000), make_sequence(20))
    assert shares(scheduler) == [256, 20]


def test_the_oldest_prompt_moves_however_many_join() -> None:
    oldest = make_sequence(5000)
    scheduler = make_scheduler(oldest, *[make_sequence(20) for _ in range(31)], max_running=32)
    chatting = scheduler.running[-1]
    start_decoding(chatting)
    assert [s.end - s.start for s in scheduler.plan() if s.sequence is oldest] == [32]


def test_chunks_end_on_block_borders() -> None:
    scheduler = make_scheduler(*[make_sequence(700) for _ in range(3)])
    assert all(share % 32 == 0 for share in shares(scheduler))


def test_removing_forgets_waiting_and_running_ones() -> None:
    running, waiting = make_sequence(3), make_sequence(3)
    scheduler = Scheduler(1, CHUNK)
    scheduler.add(running)
    scheduler.add(waiting)
    scheduler.admit(lambda _: True)
    scheduler.remove(waiting)
    scheduler.remove(running)
    assert scheduler.is_idle
