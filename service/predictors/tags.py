"""From a tag for each word to entities: the schemes BIO, BILOU, BIOES, and bare labels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BEGINS = ("B", "U", "S")
ENDS = ("L", "E", "U", "S")
PREFIXES = ("B", "I", "L", "U", "S", "E")
OUTSIDE = "O"


@dataclass(frozen=True, slots=True)
class Word:
    """`start` and `end` are places in the text, in characters."""

    start: int
    end: int
    tag: str
    score: float


@dataclass(frozen=True, slots=True)
class Entity:
    start: int
    end: int
    label: str
    score: float


def entities_of(words: Iterable[Word]) -> list[Entity]:
    return [joined(run) for run in runs(words)]


def runs(words: Iterable[Word]) -> Iterator[list[Word]]:
    """The words of each entity. A tag that goes on with what never began begins it: models do make that mistake."""
    run: list[Word] = []
    for word in words:
        prefix, label = parts_of(word.tag)
        if run and (label is None or prefix in BEGINS or label != parts_of(run[-1].tag)[1] or is_over(run)):
            yield run
            run = []
        if label is not None:
            run.append(word)
    if run:
        yield run


def is_over(run: list[Word]) -> bool:
    return parts_of(run[-1].tag)[0] in ENDS


def parts_of(tag: str) -> tuple[str, str | None]:
    """`B-PER` is ("B", "PER"), `PER` is ("I", "PER"), `O` has no label."""
    prefix, separator, label = tag.partition("-") if "-" in tag else tag.partition("_")
    if tag == OUTSIDE:
        return "", None
    return (prefix, label) if separator and prefix in PREFIXES else ("I", tag)


def joined(run: list[Word]) -> Entity:
    """Its score is the mean of its words'."""
    label = parts_of(run[0].tag)[1] or ""
    return Entity(run[0].start, run[-1].end, label, sum(word.score for word in run) / len(run))
