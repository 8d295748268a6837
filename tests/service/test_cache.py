"""The cache against the plainest list that does the same, and what its size counts."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service.cache import AnswerCache, Key, size_of
from service.predictors.predictor import Output

MAX_BYTES = 3_000
TTL_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def key(number: int = 1, principal_id: str = "a", version: str = "1") -> Key:
    return Key("model", version, f"input {number}", principal_id)


def test_a_kept_answer_is_given_to_the_same_question_only() -> None:
    cache = AnswerCache(MAX_BYTES, TTL_S)
    assert cache.put(key(), {"embedding": [0.1, -2.5e-8]})
    assert cache.get(key()) == {"embedding": [0.1, -2.5e-8]}
    for other in (key(2), key(principal_id="b"), key(version="2")):
        assert cache.get(other) is None


def test_what_one_does_with_an_answer_does_not_change_the_next() -> None:
    cache = AnswerCache(MAX_BYTES, TTL_S)
    given: dict[str, list[int]] = {"scores": [1]}
    cache.put(key(), given)
    given["scores"].append(2)
    first = cache.get(key())
    assert first == {"scores": [1]}
    first["scores"].append(3)
    assert cache.get(key()) == {"scores": [1]}


def test_an_answer_larger_than_the_cache_is_not_kept_and_drives_nothing_out() -> None:
    cache = AnswerCache(MAX_BYTES, TTL_S)
    cache.put(key(1), {"text": "small"})
    assert not cache.put(key(2), {"text": "x" * MAX_BYTES})
    assert cache.get(key(1)) is not None


def test_a_cache_without_memory_or_time_keeps_nothing() -> None:
    for cache in (AnswerCache(0, TTL_S), AnswerCache(MAX_BYTES, 0)):
        assert not cache.put(key(), {})
        assert cache.get(key()) is None


@dataclass(frozen=True)
class Point:
    name: str
    values: tuple[float, ...]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_the_size_of_an_input_grows_with_what_it_holds(length: int) -> None:
    assert size_of("x" * length) >= length
    assert size_of(("x" * length, None)) >= length
    assert size_of(frozenset({"x" * length})) >= length
    assert size_of({"k": "x" * length}) >= length
    assert size_of(Point("x" * length, (1.0,) * 100)) >= length + 100 * 24


def bytes_of(asked: Key, output: Output) -> int:
    alone = AnswerCache(1_000_000, TTL_S)
    assert alone.put(asked, output)
    return alone.n_bytes


class AsAList(RuleBasedStateMachine):
    """The model: what was put or asked for the longest ago stands first, and goes first."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cache = AnswerCache(MAX_BYTES, TTL_S, self.clock)
        self.kept: list[tuple[Key, Output, float, int]] = []

    @rule(number=st.integers(0, 9), size=st.integers(0, 1_500))
    def put(self, number: int, size: int) -> None:
        asked, output = key(number), {"text": "x" * size}
        n_bytes = bytes_of(asked, output)
        self.kept = [entry for entry in self.kept if entry[0] != asked]
        while sum(entry[3] for entry in self.kept) + n_bytes > MAX_BYTES:
            self.kept.pop(0)
        self.kept.append((asked, output, self.clock.now_s + TTL_S, n_bytes))
        assert self.cache.put(asked, output)

    @rule(number=st.integers(0, 9))
    def get(self, number: int) -> None:
        found = [entry for entry in self.kept if entry[0] == key(number)]
        output = self.cache.get(key(number))
        self.kept = [entry for entry in self.kept if entry[0] != key(number)]
        if found and found[0][2] > self.clock.now_s:
            self.kept.append(found[0])
            assert output == found[0][1]
        else:
            assert output is None

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.cache) == len(self.kept)
        assert self.cache.n_bytes == sum(entry[3] for entry in self.kept) <= MAX_BYTES


TestAsAList = AsAList.TestCase
