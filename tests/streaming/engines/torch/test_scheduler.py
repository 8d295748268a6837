"""Order, fairness and shares of a step. No model."""

from dataclasses import replace

from streaming.engines.torch.scheduler import BURST_TOKENS, IDLE_PREFILL_FACTOR, Scheduler
from streaming.engines.torch.sequence import Clock, Sequence
from streaming.engines.torch.waiting import BACKGROUND_TURN
from streaming.logs.discard import DiscardLog
from tests.streaming.engines.torch.support import make_generation

CHUNK = 128


def make_sequence(prompt: int, owner: str = "somebody", name: str = "") -> Sequence:
    generation = make_generation([5] * prompt, owner=owner)
    if name:
        generation = make_generation([5] * prompt, owner=owner, stream_id=name)
    return Sequence(generation, DiscardLog(), Clock(0.0))


def make_scheduler(*sequences: Sequence, max_running: int = 8) -> Scheduler:
    scheduler = Scheduler(max_running, CHUNK, background_share=0.25)
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


def background(prompt: int, name: str = "", owner: str = "somebody") -> Sequence:
    sequence = make_sequence(prompt, owner, name)
    return Sequence(replace(sequence.generation, priority="background"), DiscardLog(), Clock(0.0))


def test_people_are_admitted_before_background_work_that_came_first() -> None:
    scheduler = Scheduler(2, CHUNK)
    work, chat = background(3), make_sequence(3)
    scheduler.add(work)
    scheduler.add(chat)
    assert scheduler.admit(lambda _: True) == [chat, work]


def test_background_work_leaves_slots_to_people() -> None:
    scheduler = Scheduler(4, CHUNK, max_background=2)
    for _ in range(4):
        scheduler.add(background(3))
    assert len(scheduler.admit(lambda _: True)) == 2
    chats = [make_sequence(3) for _ in range(3)]
    for chat in chats:
        scheduler.add(chat)
    assert scheduler.admit(lambda _: True) == chats[:2]


def test_one_slot_is_left_to_people_whatever_the_setting_says() -> None:
    scheduler = Scheduler(3, CHUNK, max_background=16)
    for _ in range(3):
        scheduler.add(background(3))
    assert len(scheduler.admit(lambda _: True)) == 2


def test_background_work_is_admitted_now_and_then_although_people_never_stop_waiting() -> None:
    scheduler = Scheduler(2, CHUNK, max_background=1)
    scheduler.add(background(3, "work"))
    for number in range(2 * BACKGROUND_TURN):
        scheduler.add(make_sequence(3, name=f"chat{number}"))
    order: list[str] = []
    while "work" not in order:
        for sequence in scheduler.admit(lambda _: True):
            order.append(sequence.stream_id)
            scheduler.remove(sequence)
    assert order.index("work") == BACKGROUND_TURN - 1


def test_background_work_alone_runs_as_fast_as_it_goes() -> None:
    workers = [background(4) for _ in range(3)]
    scheduler = make_scheduler(*workers, background(5000))
    for worker in workers:
        start_decoding(worker)
    assert shares(scheduler) == [1, 1, 1, CHUNK]


def planned_tokens(scheduler: Scheduler, steps: int) -> tuple[int, int, int]:
    """Tokens for people, for background work, and the most for background work in one step."""
    people = work = most = 0
    for _ in range(steps):
        spans = scheduler.plan()
        for span in spans:
            span.sequence.computed = span.end
            if span.wants_logits:
                span.sequence.tokens.append(9)
        beside = sum(span.end - span.start for span in spans if span.sequence.is_background)
        people += sum(span.end - span.start for span in spans) - beside
        work, most = work + beside, max(most, beside)
    return people, work, most


def test_beside_people_background_work_gets_its_share_of_tokens() -> None:
    chats, workers = [make_sequence(4) for _ in range(4)], [background(4) for _ in range(8)]
    scheduler = make_scheduler(*chats, *workers, max_running=16)
    for sequence in [*chats, *workers]:
        start_decoding(sequence)
    people, work, most = planned_tokens(scheduler, steps=400)
    assert people == 1600
    assert work == 400, "a quarter of what people get"
    assert most == BURST_TOKENS


def test_beside_people_a_background_prompt_is_read_in_blocks_now_and_then() -> None:
    chat, worker = make_sequence(4), background(320)
    scheduler = make_scheduler(chat, worker)
    start_decoding(chat)
    people, work, most = planned_tokens(scheduler, steps=1280)
    assert (people, work, most) == (1280, 320, 32)


def test_many_people_earn_more_than_a_burst_in_a_step() -> None:
    chats, workers = [make_sequence(4) for _ in range(24)], [background(4) for _ in range(8)]
    scheduler = make_scheduler(*chats, *workers, max_running=32)
    for sequence in [*chats, *workers]:
        start_decoding(sequence)
    assert planned_tokens(scheduler, steps=100) == (2400, 600, 6)


def test_background_prompts_are_read_until_there_is_a_burst_to_decode() -> None:
    chat, workers = make_sequence(4), [background(32) for _ in range(6)]
    scheduler = make_scheduler(chat, *workers)
    start_decoding(chat)
    planned_tokens(scheduler, steps=128 * BURST_TOKENS)
    assert [worker.is_decoding for worker in workers] == [True] * BURST_TOKENS + [False] * 2
    assert [worker.completion_tokens for worker in workers] == [1] * BURST_TOKENS + [0] * 2
    planned_tokens(scheduler, steps=16)
    assert [worker.completion_tokens for worker in workers] == [2] * BURST_TOKENS + [0] * 2


def test_background_work_that_computes_the_oldest_first_leaves_nobody_behind() -> None:
    chat, workers = make_sequence(4), [background(4) for _ in range(3)]
    scheduler = make_scheduler(chat, *workers)
    for sequence in [chat, *workers]:
        start_decoding(sequence)
    done = []
    for _ in range(1000):
        planned_tokens(scheduler, steps=1)
        for worker in [one for one in scheduler.running if one.is_background and one.completion_tokens > 20]:
            scheduler.remove(worker)
            done.append(worker)
    assert done == workers


def test_credit_does_not_pile_up_while_nobody_uses_it() -> None:
    chat, workers = make_sequence(4), [background(4) for _ in range(12)]
    scheduler = make_scheduler(chat, max_running=32)
    start_decoding(chat)
    planned_tokens(scheduler, steps=1000)
    for worker in workers:
        scheduler.add(worker)
    scheduler.admit(lambda _: True)
    for worker in workers:
        start_decoding(worker)
    assert len(scheduler.plan()) == 1
