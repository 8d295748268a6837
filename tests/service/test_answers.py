"""Cache, flights and batches as one thing: what is computed, what is counted, what the header says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.answers import Answered, Answers
from service.batching import Batches, BatchLimits
from service.cache import AnswerCache
from service.metrics.metrics import Metrics
from service.predictors.errors import PredictionFailed
from tests.service.one_shots import Reversing, Watched

WITHIN_S = 30


class Opened:
    def __init__(self, *, max_bytes: int = 100_000, is_shared: bool = False, max_items: int = 8) -> None:
        self.counted = Metrics()
        limits = BatchLimits(wait_s=0.001, max_items=max_items, max_waiting=2000, timeout_s=WITHIN_S)
        self.answers = Answers(
            Batches(limits),
            AnswerCache(max_bytes, 3600),
            self.counted,
            max_items=max_items,
            is_shared=is_shared,
        )

    async def ask(self, predictor: Any, text: str, principal_id: str = "p") -> Answered:
        return await self.answers.answer(predictor, text, principal_id)

    def count(self, name: str) -> float:
        return self.counted.registry.get_sample_value(f"headwater_{name}_total") or 0


@asynccontextmanager
async def opened(**given: Any) -> AsyncIterator[Opened]:
    one = Opened(**given)
    try:
        yield one
    finally:
        await one.answers.close(grace_s=0)


async def test_the_second_time_it_comes_from_the_cache() -> None:
    predictor = Watched()
    async with opened() as service:
        first, second = await service.ask(predictor, "ab"), await service.ask(predictor, "ab")
    assert first.output == second.output == {"text": "ba", "version": "1"}
    assert (first.is_cached, first.cache_status) == (False, "headwater; fwd=miss; stored")
    assert (second.is_cached, second.cache_status) == (True, "headwater; hit")
    assert (service.count("cache_hits"), service.count("cache_misses")) == (1, 1)
    assert predictor.batches == [["ab"]]


async def test_a_thousand_equal_requests_at_one_time_are_one_computation() -> None:
    predictor = Watched(is_held=True)
    async with opened() as service:
        tasks = [asyncio.create_task(service.ask(predictor, "ab")) for _ in range(1000)]
        assert await asyncio.to_thread(predictor.entered.acquire, timeout=WITHIN_S)
        predictor.gate.set()
        answers = await asyncio.gather(*tasks)
    assert {answer.output["text"] for answer in answers} == {"ba"}
    assert predictor.batches == [["ab"]]
    assert [answer.cache_status for answer in answers].count("headwater; fwd=miss; collapsed") == 999
    assert not any(answer.is_cached for answer in answers)


async def test_principals_do_not_learn_what_others_asked() -> None:
    predictor = Watched()
    async with opened() as service:
        answers = [await service.ask(predictor, "ab", one) for one in ("p", "q", "q")]
    assert [answer.is_cached for answer in answers] == [False, False, True]


async def test_principals_share_their_answers_where_that_is_set() -> None:
    async with opened(is_shared=True) as service:
        answers = [await service.ask(Reversing(), "ab", one) for one in ("p", "q")]
    assert [answer.is_cached for answer in answers] == [False, True]


async def test_a_new_version_begins_with_nothing() -> None:
    async with opened() as service:
        answers = [await service.ask(Reversing(version=one), "ab") for one in ("1", "2", "1")]
    assert [(answer.output["version"], answer.is_cached) for answer in answers] == [
        ("1", False),
        ("2", False),
        ("1", True),
    ]


async def test_a_failure_is_not_kept() -> None:
    predictor = Watched()
    async with opened() as service:
        for _ in range(2):
            with pytest.raises(PredictionFailed):
                await service.ask(predictor, "poison")
    assert len(predictor.batches) == 2


async def test_what_the_cache_cannot_hold_is_computed_each_time() -> None:
    async with opened(max_bytes=0) as service:
        answers = [await service.ask(Reversing(), "ab") for _ in range(2)]
    assert [answer.cache_status for answer in answers] == ["headwater; fwd=miss"] * 2


async def test_a_quick_model_answers_at_once_past_cache_and_queue() -> None:
    predictor = Watched(Reversing(kind="linear"))
    async with opened() as service:
        answer = service.ask(predictor, "ab")
        with pytest.raises(StopIteration) as done:
            answer.send(None)
    assert done.value.value == Answered({"text": "ba", "version": "1"}, "bypass")
    assert predictor.threads == {"MainThread"}


async def test_a_quick_model_fails_like_any_other() -> None:
    async with opened() as service:
        with pytest.raises(PredictionFailed):
            await service.ask(Reversing(kind="linear"), "poison")


async def test_who_leaves_while_equal_ones_wait_takes_nothing_from_them() -> None:
    predictor = Watched(is_held=True)
    async with opened() as service:
        first, other = (asyncio.create_task(service.ask(predictor, "ab")) for _ in range(2))
        assert await asyncio.to_thread(predictor.entered.acquire, timeout=WITHIN_S)
        first.cancel()
        predictor.gate.set()
        assert (await other).output["text"] == "ba"


async def test_many_inputs_of_one_request_keep_their_order_and_run_in_pieces() -> None:
    predictor = Watched()
    texts = [str(number) for number in range(20)]
    async with opened() as service:
        answers = await service.answers.answer_all(predictor, texts, "p")
    assert [answer.output["text"] for answer in answers] == [text[::-1] for text in texts]
    assert [len(batch) for batch in predictor.batches] == [8, 8, 4]


async def test_one_bad_input_of_many_fails_the_request() -> None:
    async with opened() as service:
        with pytest.raises(PredictionFailed):
            await service.answers.answer_all(Reversing(), ["a", "poison", "b"], "p")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["1", "2"]), st.sampled_from(["ab", "cd", "poison"]), st.sampled_from("pq"), st.booleans()
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_cache_and_company_change_no_answer(asked: list[tuple[str, str, str, bool]], is_shared: bool) -> None:
    """A plain loop gives the same, and each pair of version, input and principal is computed at most once."""
    asyncio.run(ask_all(asked, is_shared))


async def ask_all(asked: list[tuple[str, str, str, bool]], is_shared: bool) -> None:
    predictors = {version: Watched(Reversing(version=version)) for version in ("1", "2")}
    async with opened(is_shared=is_shared) as service:
        tasks = []
        for version, text, principal_id, pauses in asked:
            tasks.append(asyncio.create_task(service.ask(predictors[version], text, principal_id)))
            if pauses:
                await asyncio.gather(*tasks, return_exceptions=True)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for (version, text, _, _), outcome in zip(asked, outcomes, strict=True):
        if text == "poison":
            assert isinstance(outcome, PredictionFailed)
        else:
            assert isinstance(outcome, Answered)
            assert outcome.output == {"text": text[::-1], "version": version}
    for version, predictor in predictors.items():
        computed = [text for batch in predictor.batches for text in batch if text != "poison"]
        wanted = {(text, "" if is_shared else who) for v, text, who, _ in asked if v == version and text != "poison"}
        reruns = sum(len(batch) - 1 for batch in predictor.batches if "poison" in batch and len(batch) > 1)
        assert len(wanted) <= len(computed) <= len(wanted) + reruns
