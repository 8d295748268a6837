"""Every kind of model at once, from threads and coroutines, while versions take each other's place: each answer is what
the version that it names gives alone.

Its seconds go into fitting and writing the small models, each in two versions, and into two thousand answers.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from service.answers import Answers
from service.batching import Batches, BatchLimits
from service.cache import AnswerCache
from service.metrics.metrics import Metrics
from service.models.registry import LoadedLanguage, LoadedOneShot, Model, Registry
from service.predictors.classifier import load_text_classifier
from service.predictors.embedding import load_embedding
from service.predictors.limits import RecordLimits
from service.predictors.linear import LinearModel
from service.predictors.predictor import OneShot, Output, Record
from service.predictors.sklearn_estimator import load_skops
from service.predictors.tabular import TabularModel
from service.predictors.tagger import load_tagger
from streaming.collect import collect
from streaming.engines.echo import EchoEngine, EchoPredictor, EchoSpeed
from streaming.logs.memory import MemoryLog, Waker
from streaming.predictor import Message, TextRequest
from tests.service.predictors.tiny_encoder import write_encoder
from tests.service.predictors.tiny_texts import write_tagger, write_text_classifier

THREADS = COROUTINES = 64
QUESTIONS = 16  # of each of them
RECORDS = 12  # of each kind, so that equal questions meet
RELOAD_EVERY = 5  # questions of a coroutine
WITHIN_S = 120
VERSIONS = ("1", "2")
LANGUAGE = "echo"

Make = Callable[[str, Path], OneShot]


def linear(version: str, folder: Path) -> OneShot:
    return LinearModel("linear", version, (0.25, -0.5, 1.25, float(version)))


def tabular(estimator: Any) -> Make:
    """Each version was fitted to another question."""
    name = type(estimator).__name__

    def make(version: str, folder: Path) -> OneShot:
        rows = np.random.default_rng(1).normal(size=(60, 2))
        path = folder / f"{name}-{version}.skops"
        skops.io.dump(estimator.fit(rows, (rows[:, int(version) - 1] > 0).astype(int)), path)
        trusted = skops.io.get_untrusted_types(file=path)
        return TabularModel(name, version, load_skops(path, name, trusted, None))

    return make


def embedding(version: str, folder: Path) -> OneShot:
    """The versions join their tokens in another way."""
    place = folder / f"encoder-{version}"
    place.mkdir()
    write_encoder(place, "mean_tokens" if version == "1" else "cls_token")
    return load_embedding(place, name="embedding", version=version)


def classifier(version: str, folder: Path) -> OneShot:
    """The versions name their labels in another order."""
    labels = ("bad", "fair", "good") if version == "1" else ("good", "fair", "bad")
    written = write_text_classifier(folder / f"classifier-{version}", labels)
    return load_text_classifier(written, name="classifier", version=version, limits=RecordLimits())


def tagger(version: str, folder: Path) -> OneShot:
    """The versions know other words."""
    words = ("pump", "seal") if version == "1" else ("valve", "price")
    written = write_tagger(folder / f"tagger-{version}", dict.fromkeys(words, "B-PART"), ["O", "B-PART"])
    return load_tagger(written, name="tagger", version=version, limits=RecordLimits())


@dataclass(frozen=True)
class Kind:
    """One model in two versions, and what is asked of it."""

    name: str
    versions: Mapping[str, OneShot]
    records: Sequence[Record]
    alone: Mapping[tuple[str, int], Output]


def numbers(count: int) -> list[list[float]]:
    given = random.Random(count)
    return [[given.uniform(-9, 9) for _ in range(count)] for _ in range(RECORDS)]


def kind_of(make: Make, folder: Path, records: Sequence[Record]) -> Kind:
    versions = {version: make(version, folder) for version in VERSIONS}
    alone = {
        (version, place): model.predict([model.read(record)])[0]
        for version, model in versions.items()
        for place, record in enumerate(records)
    }
    return Kind(versions["1"].name, versions, records, alone)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> list[Kind]:
    folder = tmp_path_factory.mktemp("models")
    words = ("pump", "seal", "valve", "price")
    texts = [{"text": " ".join(random.Random(place).choices(words, k=place + 1))} for place in range(RECORDS)]
    return [
        kind_of(linear, folder, [{"features": one} for one in numbers(4)]),
        kind_of(tabular(DecisionTreeClassifier()), folder, [{"features": one} for one in numbers(2)]),
        kind_of(tabular(LogisticRegression()), folder, [{"features": one} for one in numbers(2)]),
        kind_of(embedding, folder, texts),
        kind_of(classifier, folder, texts),
        kind_of(tagger, folder, texts),
    ]


def test_the_versions_answer_differently(kinds: list[Kind]) -> None:
    """Else a mixed-up version would not be seen."""
    for kind in kinds:
        answers = [[kind.alone[version, place] for place in range(RECORDS)] for version in VERSIONS]
        assert answers[0] != answers[1], kind.name


class Place:
    """A service without its routes."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self.kinds = kinds
        self.loop = asyncio.get_running_loop()
        limits = BatchLimits(wait_s=0.002, max_items=16, max_waiting=1000, timeout_s=WITHIN_S)
        cache = AnswerCache(20_000, 3600)  # small, so that answers are driven out as well
        self.answers = Answers(Batches(limits), cache, Metrics(), max_items=16, is_shared=False)
        self.registry = Registry(
            [*(Model(kind.name, kind.versions["1"].kind) for kind in kinds), Model(LANGUAGE, "language")]
        )
        self.engine = EchoEngine(EchoSpeed(tokens_per_second=0, max_running=16, max_waiting=500, max_background=1))
        self.waker = Waker(self.loop)
        self.wrong: list[str] = []
        self.answered: dict[tuple[str, str], int] = {}
        for kind in kinds:
            self.reload(kind, "1")
        self.reload_language("1")

    def reload(self, kind: Kind, version: str) -> None:
        found = self.registry.find(kind.name)
        self.registry.put(replace(found, loaded=LoadedOneShot(kind.versions[version], 0, 0)))

    def reload_language(self, version: str) -> None:
        predictor = EchoPredictor(self.engine, name=LANGUAGE, version=version)
        self.registry.put(replace(self.registry.find(LANGUAGE), loaded=LoadedLanguage(predictor, 0, 0)))

    def reload_something(self, given: random.Random) -> None:
        kind, version = given.choice([*self.kinds, None]), given.choice(VERSIONS)
        if kind is None:
            self.reload_language(version)
        else:
            self.reload(kind, version)

    async def ask(self, given: random.Random) -> None:
        kind = given.choice([*self.kinds, None])
        if kind is None:
            await self.ask_language(f"a b {given.random()}")
            return
        model, place = self.registry.one_shot(kind.name), given.randrange(RECORDS)
        principal_id = given.choice("pq")
        answered = await self.answers.answer(model, model.read(kind.records[place]), principal_id)
        self.check(kind, model, place, answered.output)

    async def ask_language(self, text: str) -> None:
        predictor = self.registry.language(LANGUAGE)
        generation = await predictor.prepare(TextRequest([Message("user", text)], is_chat=False), "p")
        log = MemoryLog(self.waker)
        predictor.engine.submit(generation, log)
        answer = await collect(log)
        self.note(LANGUAGE, predictor.version, answer.text == text and generation.model_version == predictor.version)

    def ask_directly(self, given: random.Random) -> None:
        """From a thread of its own, past queue and cache."""
        kind, place = given.choice(self.kinds), given.randrange(RECORDS)
        model = self.registry.one_shot(kind.name)
        self.check(kind, model, place, model.predict([model.read(kind.records[place])])[0])

    def check(self, kind: Kind, model: OneShot, place: int, output: Output) -> None:
        self.note(kind.name, model.version, is_same(output, kind.alone[model.version, place], model.batch_tolerance))

    def note(self, name: str, version: str, is_right: bool) -> None:
        self.answered[name, version] = self.answered.get((name, version), 0) + 1
        if not is_right:
            self.wrong.append(f"{name}, version {version}")


def is_same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(is_same(one[key], other[key], tolerance) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(is_same(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and tolerance:
        return bool(abs(one - other) <= tolerance)
    return type(one) is type(other) and bool(one == other)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


async def test_each_answer_is_that_of_its_version_alone(kinds: list[Kind], threads: ThreadPoolExecutor) -> None:
    place = Place(kinds)

    async def as_coroutine(number: int) -> None:
        given = random.Random(number)
        for turn in range(QUESTIONS):
            if turn % RELOAD_EVERY == 0:
                place.reload_something(given)
            await place.ask(given)

    def as_thread(number: int) -> None:
        given = random.Random(-1 - number)
        for turn in range(QUESTIONS):
            if turn % 2:
                place.ask_directly(given)
            else:
                asyncio.run_coroutine_threadsafe(place.ask(given), place.loop).result(WITHIN_S)

    async with asyncio.timeout(WITHIN_S):
        await asyncio.gather(
            *(as_coroutine(number) for number in range(COROUTINES)),
            *(place.loop.run_in_executor(threads, as_thread, number) for number in range(THREADS)),
        )
    await place.answers.close(grace_s=WITHIN_S)
    await asyncio.to_thread(place.engine.close, 0)
    assert not place.wrong
    names = [*(kind.name for kind in kinds), LANGUAGE]
    assert set(place.answered) == {(name, version) for name in names for version in VERSIONS}
