"""Which pieces of files an answer may quote: those in which the words of one of its sentences really stand.

Nothing here knows a language. A sentence is looked at for its telling words, numbers and longer words; what the
question has said already tells nothing, and a sentence that says that something is not known has little else.
"""

import re
from collections.abc import Iterator, Sequence

from streaming.events import Citation

SHARE_IN_PIECE = 0.6  # of a sentence's telling words
SHARE_OF_NEW = 0.5  # of those that the question had not
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])|\n+")
TELLING_WORD = re.compile(r"\w*\d\w*|\w{4,}")
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]{2,}")
"""Scripts that put no space between words: there each two characters count as one."""


def supporting(found: Sequence[Citation], question: str, answer: str) -> list[Citation]:
    """In their order."""
    asked = telling_words(question)
    sentences = [telling_words(sentence) for sentence in SENTENCE_END.split(answer)]
    return [one for one in found if any(stands_in(said, asked, telling_words(one.text)) for said in sentences)]


def stands_in(said: set[str], asked: set[str], words: set[str]) -> bool:
    new = said - asked
    if not new:
        return False
    return len(said & words) >= SHARE_IN_PIECE * len(said) and len(new & words) >= SHARE_OF_NEW * len(new)


def telling_words(text: str) -> set[str]:
    return set(_words(text.lower()))


def _words(text: str) -> Iterator[str]:
    """Without the `s` at its end a word is the same in its plural."""
    for run in UNSPACED.findall(text):
        yield from (run[place : place + 2] for place in range(len(run) - 1))
    for word in TELLING_WORD.findall(UNSPACED.sub(" ", text)):
        yield word.rstrip("s") or word
