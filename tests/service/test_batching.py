"""Together as alone: what a batch answers, who shares it, who leaves it, and what never waits."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batching import Batches, BatchLimits
from service.predictors.errors import InvalidRecord, PredictionBusy, PredictionFailed, PredictionTimedOut
from service.predictors.predictor import Output
from streaming.errors import ShuttingDown
from tests.service.one_shots import Breaking, Reversing, Watched

WITHIN_S = 30
LIMITS = BatchLimits(wait_s=0.002, max_items=8, max_waiting=100, timeout_s=WITHIN_S)


@asynccontextmanager
async def batching(limits: BatchLimits = LIMITS) -> AsyncIterator[Batches]:
    batches = Batches(limits)
    try:
        yield batches
    finally:
        await batches.close(grace_s=0)


def start(batches: Batches, predictor: Any, *inputs: str) -> "list[asyncio.Task[Output]]":
    return [asyncio.create_task(batches.predict(predictor, one)) for one in inputs]


async def entered(predictor: Watched) -> None:
    """The predictor is in the middle of a batch."""
    assert await asyncio.to_thread(predictor.entered.acquire, timeout=WITHIN_S)


def held() -> Watched:
    return Watched(is_held=True)


async def test_what_comes_at_one_time_runs_in_one_batch_in_order() -> None:
    predictor = Watched()
    async with batching() as batches:
        outputs = await asyncio.gather(*start(batches, predictor, "ab", "cd", "ef"))
    assert [output["text"] for output in outputs] == ["ba", "dc", "fe"]
    assert predictor.batches == [["ab", "cd", "ef"]]


async def test_what_comes_while_a_batch_runs_is_the_next_one() -> None:
    predictor = held()
    async with batching() as batches:
        first = start(batches, predictor, "a")
        await entered(predictor)
        rest = start(batches, predictor, "b", "c")
        await asyncio.sleep(0)
        predictor.gate.set()
        await asyncio.gather(*first, *rest)
    assert predictor.batches == [["a"], ["b", "c"]]


async def test_no_batch_is_larger_than_its_limit() -> None:
    predictor = Watched()
    texts = [str(number) for number in range(20)]
    async with batching() as batches:
        outputs = await asyncio.gather(*start(batches, predictor, *texts))
    assert [len(batch) for batch in predictor.batches] == [8, 8, 4]
    assert [output["text"] for output in outputs] == [text[::-1] for text in texts]


async def test_who_comes_alone_waits_for_nobody() -> None:
    """With a wait of an hour these would not end within the deadline."""
    patient = BatchLimits(wait_s=3600, max_items=8, max_waiting=8, timeout_s=WITHIN_S)
    predictor = Watched()
    async with batching(patient) as batches:
        for text in ("a", "b"):
            await batches.predict(predictor, text)
    assert predictor.batches == [["a"], ["b"]]


async def test_those_who_were_answered_together_run_together_again() -> None:
    """The second round's requests come one after the other: its batch waits until all are there."""
    patient = BatchLimits(wait_s=3600, max_items=8, max_waiting=8, timeout_s=WITHIN_S)
    predictor = Watched()
    async with batching(patient) as batches:
        await asyncio.gather(*start(batches, predictor, "a", "b"))
        third = start(batches, predictor, "c")
        await asyncio.sleep(0.01)
        await asyncio.gather(*third, *start(batches, predictor, "d"))
    assert predictor.batches == [["a", "b"], ["c", "d"]]


async def test_the_wait_for_company_ends() -> None:
    predictor = Watched()
    async with batching() as batches:
        await asyncio.gather(*start(batches, predictor, "a", "b"))
        await batches.predict(predictor, "c")
        await batches.wait_until_idle(WITHIN_S)
    assert predictor.batches == [["a", "b"], ["c"]]


async def test_a_bad_input_fails_alone_and_its_words_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with batching() as batches:
            tasks = start(batches, Reversing(), "ab", "the secret poison", "ef")
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[0] == {"text": "ba", "version": "1"}
    assert outcomes[2] == {"text": "fe", "version": "1"}
    assert isinstance(outcomes[1], PredictionFailed)
    assert "secret" not in outcomes[1].message + caplog.text
    assert "Poisonous at" in caplog.text


@pytest.mark.parametrize("amount", [1, 3])
async def test_a_typed_error_of_the_model_reaches_the_caller(amount: int) -> None:
    def refuse(inputs: Sequence[Any]) -> Sequence[Output]:
        raise InvalidRecord(("text",), "too long")

    async with batching() as batches:
        outcomes = await asyncio.gather(*start(batches, Breaking(refuse), *"abc"[:amount]), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [InvalidRecord] * amount


def leave_the_process(inputs: Sequence[Any]) -> Sequence[Output]:
    raise SystemExit(1)


@pytest.mark.parametrize(
    "act", [lambda inputs: [{}] * (len(inputs) - 1), lambda inputs: [{}] * (len(inputs) + 1), leave_the_process]
)
async def test_what_a_model_must_not_do_is_a_failure_of_its_requests(act: Any) -> None:
    async with batching() as batches:
        outcomes = await asyncio.gather(*start(batches, Breaking(act), "a", "b"), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [PredictionFailed] * 2
        assert await batches.predict(Reversing(), "ab") == {"text": "ba", "version": "1"}


async def test_beyond_the_queue_it_is_told_to_come_back() -> None:
    predictor = held()
    async with batching(BatchLimits(wait_s=0, max_items=2, max_waiting=3, timeout_s=WITHIN_S)) as batches:
        first = start(batches, predictor, "a")
        await entered(predictor)
        waiting = start(batches, predictor, "b", "c", "d")
        await asyncio.sleep(0)
        with pytest.raises(PredictionBusy) as busy:
            await batches.predict(predictor, "e")
        assert busy.value.retry_after_s >= 1
        predictor.gate.set()
        outputs = await asyncio.gather(*first, *waiting)
    assert [output["text"] for output in outputs] == ["a", "b", "c", "d"]


async def test_who_leaves_takes_the_input_out_of_the_queue() -> None:
    predictor = held()
    async with batching() as batches:
        first = start(batches, predictor, "a")
        await entered(predictor)
        waiting = start(batches, predictor, "b", "c", "d")
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.gather(waiting[1], return_exceptions=True)
        predictor.gate.set()
        await asyncio.gather(*first, waiting[0], waiting[2])
    assert predictor.batches == [["a"], ["b", "d"]]


async def test_who_leaves_a_running_batch_harms_nobody() -> None:
    predictor = held()
    async with batching() as batches:
        one, other = start(batches, predictor, "ab", "cd")
        await entered(predictor)
        one.cancel()
        predictor.gate.set()
        assert (await other)["text"] == "dc"
        assert one.cancelled() or one.cancelling()


async def test_a_model_that_hangs_is_not_waited_for() -> None:
    predictor = held()
    async with batching(BatchLimits(wait_s=0, max_items=2, max_waiting=3, timeout_s=0.05)) as batches:
        with pytest.raises(PredictionTimedOut):
            await batches.predict(predictor, "a")
        predictor.gate.set()


async def test_a_new_object_has_batches_of_its_own_and_the_old_one_finishes() -> None:
    old, new = Watched(Reversing(version="1"), is_held=True), Watched(Reversing(version="2"))
    async with batching() as batches:
        begun = start(batches, old, "a")
        await entered(old)
        tasks = [*start(batches, old, "b"), *start(batches, new, "b"), *start(batches, old, "c")]
        await asyncio.sleep(0)
        old.gate.set()
        outputs = await asyncio.gather(*begun, *tasks)
    assert [output["version"] for output in outputs] == ["1", "1", "2", "1"]
    assert (old.batches, new.batches) == ([["a"], ["b", "c"]], [["b"]])
    assert old.threads == new.threads, "a model has one thread, whatever its version"


async def test_no_old_model_is_kept_when_nothing_waits_for_it() -> None:
    predictor = Watched()
    async with batching() as batches:
        await batches.predict(predictor, "a")
        await batches.wait_until_idle(WITHIN_S)
        assert batches.predictors == []


async def test_a_held_model_holds_no_other_one_up() -> None:
    predictor = held()
    async with batching() as batches:
        tasks = start(batches, predictor, "a")
        await entered(predictor)
        assert await batches.predict(Reversing(name="other"), "ab") == {"text": "ba", "version": "1"}
        predictor.gate.set()
        await asyncio.gather(*tasks)


async def test_closing_answers_what_waits() -> None:
    predictor = held()
    batches = Batches(LIMITS)
    first = start(batches, predictor, "a")
    await entered(predictor)
    rest = start(batches, predictor, "b", "c")
    await asyncio.sleep(0)
    closing = asyncio.create_task(batches.close(grace_s=WITHIN_S))
    await asyncio.sleep(0)
    with pytest.raises(ShuttingDown):
        await batches.predict(predictor, "d")
    predictor.gate.set()
    outputs = await asyncio.gather(*first, *rest)
    assert [output["text"] for output in outputs] == ["a", "b", "c"]
    await closing


async def test_closing_without_grace_leaves_nobody_without_an_outcome() -> None:
    predictor = held()
    batches = Batches(LIMITS)
    first = start(batches, predictor, "a")
    await entered(predictor)
    rest = start(batches, predictor, "b", "c")
    await asyncio.sleep(0)
    await batches.close(grace_s=0)
    outcomes = await asyncio.gather(*first, *rest, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ShuttingDown] * 3
    predictor.gate.set()


TEXTS = st.text(st.sampled_from("abc"), max_size=3) | st.just("poison")
Asked = tuple[int, str, int, bool]
ASKED: st.SearchStrategy[list[Asked]] = st.lists(
    st.tuples(st.integers(1, 3), TEXTS, st.integers(0, 3), st.booleans()), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(ASKED, st.integers(1, 5))
def test_company_changes_nothing(asked: list[Asked], max_items: int) -> None:
    """Three versions, arrivals spread over turns of the loop, some leave: each outcome is that of a plain loop."""
    asyncio.run(ask_in_company(asked, max_items))


async def ask_in_company(asked: list[Asked], max_items: int) -> None:
    versions = {number: Watched(Reversing(version=str(number))) for number in (1, 2, 3)}
    limits = BatchLimits(wait_s=0.001, max_items=max_items, max_waiting=100, timeout_s=WITHIN_S)
    tasks = []
    async with batching(limits) as batches:
        for version, text, turns, leaves in asked:
            tasks += start(batches, versions[version], text)
            for _ in range(turns):
                await asyncio.sleep(0)
            if leaves:
                tasks[-1].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for (version, text, _, leaves), outcome in zip(asked, outcomes, strict=True):
        if leaves and isinstance(outcome, asyncio.CancelledError):
            continue
        assert alone(version, text) == (type(outcome) if isinstance(outcome, BaseException) else outcome)
    assert all(len(batch) <= max_items for watched in versions.values() for batch in watched.batches)


def alone(version: int, text: str) -> object:
    return PredictionFailed if "poison" in text else {"text": text[::-1], "version": str(version)}
