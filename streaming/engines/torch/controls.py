"""Keeps what people write from becoming control tokens: `<|im_end|>` in a message is ten characters and ends nothing.

A chat template writes its marks and the messages into one text, and a tokenizer cannot tell the ones from the others.
So a mark in a message is broken before: behind its first character comes one that no request may hold, and that is
taken out again after tokenising. A text without marks is left alone and gives the tokens that it always gave.
"""

import copy
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any

from tokenizers import AddedToken, Tokenizer

from streaming.predictor import Message

BREAK = "\0"


class Controls:
    """`tokenizer` is one of transformers, with a chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer: Tokenizer = tokenizer.backend_tokenizer
        template = str(tokenizer.chat_template)
        added = self._tokenizer.get_added_tokens_decoder().items()
        special = {number: token for number, token in added if token.special}
        written = {token.content for _, token in added if is_mark(token.content) and token.content in template}
        names = {token.content for token in special.values()}
        self._special, self._all = Marks(names), Marks(names | written)
        # Tokens that are looked for in the normalised text may look different in the message.
        self._disguised = {number for number, token in special.items() if token.normalized}
        self._disguised.discard(tokenizer.unk_token_id)

    def defuse(self, message: Message) -> Message:
        """The message with its marks broken. An assistant's keeps those that the template reads, as `<think>`."""
        marks = self._special if message.role == "assistant" else self._all
        places = {*marks.places(message.content), *self._disguised_places(message.content)}
        if not places:
            return message
        ends = [0, *(place + 1 for place in sorted(places)), len(message.content)]
        pieces = (message.content[start:end] for start, end in pairwise(ends))
        return Message(message.role, BREAK.join(pieces))

    def encode(self, text: str) -> list[int]:
        """Tokens of a text that the template made of defused messages."""
        if BREAK not in text:
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        tokenizer = self._breakable
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        return [number for number in ids if number != tokenizer.token_to_id(BREAK)]

    @cached_property
    def _breakable(self) -> Tokenizer:
        """A copy, since the tokenizer itself is in use by other threads."""
        tokenizer = copy.deepcopy(self._tokenizer)
        tokenizer.add_tokens([AddedToken(BREAK, normalized=False)])
        return tokenizer

    def _disguised_places(self, text: str) -> Iterator[int]:
        if not self._disguised:
            return
        found = self._tokenizer.encode(text, add_special_tokens=False)
        for number, (start, end) in zip(found.ids, found.offsets, strict=True):
            if number in self._disguised:
                span = text[start:end]
                yield start + len(span) - len(span.lstrip())


class Marks:
    """Finds where any of thousands of strings begins, also within another, in time that only the text decides."""

    def __init__(self, marks: set[str]) -> None:
        self._marks = marks
        self._lengths = sorted({len(mark) for mark in self._marks})
        self._firsts = {mark[0] for mark in self._marks}

    def places(self, text: str) -> Iterator[int]:
        for first in self._firsts:
            place = text.find(first)
            while place >= 0:
                if any(text[place : place + length] in self._marks for length in self._lengths):
                    yield place
                place = text.find(first, place + 1)


def is_mark(content: str) -> bool:
    """Tokens that are added for words or for white space are text, though a template may hold them too."""
    return bool(content.strip()) and not content[0].isalnum()
