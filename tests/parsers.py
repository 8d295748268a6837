"""Three readers of Server-Sent Events: the algorithm of the standard, httpx-sse, and what people write by hand."""

import codecs
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from httpx_sse import EventSource


@dataclass(frozen=True)
class SseEvent:
    name: str
    data: str
    last_event_id: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class EventStream:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation, fed byte by byte."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._line = ""
        self._after_cr = False
        self._data: list[str] = []
        self._name = ""
        self._id = ""
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self.comments = 0

    def feed(self, content: bytes) -> list[SseEvent]:
        events: list[SseEvent] = []
        for character in self._decoder.decode(content):
            if character == "\n" and self._after_cr:
                self._after_cr = False
                continue
            self._after_cr = character == "\r"
            if character in "\r\n":
                line, self._line = self._line, ""
                events.extend(self._take(line))
            else:
                self._line += character
        return events

    def _take(self, line: str) -> Iterator[SseEvent]:
        if not line:
            yield from self._dispatch()
            return
        field, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if not field and colon:
            self.comments += 1
        elif field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)

    def _dispatch(self) -> Iterator[SseEvent]:
        self.last_event_id = self._id
        if self._data:
            yield SseEvent(self._name or "message", "\n".join(self._data), self._id)
        self._data, self._name = [], ""


def parse(content: bytes) -> list[SseEvent]:
    return EventStream().feed(content)


def text_of(events: list[SseEvent]) -> str:
    return "".join(event.json["text"] for event in events if event.name == "message")


def standard_text(content: bytes) -> str:
    return text_of(parse(content))


def httpx_sse_text(content: bytes) -> str:
    response = httpx.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, content=content)
    events = EventSource(response).iter_sse()
    return "".join(event.json()["text"] for event in events if event.event == "message")


def naive_text(content: bytes) -> str:
    """Splits as Python splits, at every line end that Unicode has."""
    data = [json.loads(line[6:]) for line in content.decode().splitlines() if line.startswith("data: ")]
    return "".join(one["text"] for one in data if "text" in one)


PARSERS: dict[str, Callable[[bytes], str]] = {
    "standard": standard_text,
    "httpx-sse": httpx_sse_text,
    "naive": naive_text,
}
