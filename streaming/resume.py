"""What `Last-Event-ID` asks for: a place to go on from, nothing more to send, or a gap that has to be said."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from streaming.streams import Stream

GAP_ID = "gap.0"  # the id of every gap event: whoever reconnects with it has been told, and gets 204
_ID = re.compile(r"(s[0-9a-f]{32})\.(0|[1-9][0-9]{0,30})", re.ASCII)

GapReason: TypeAlias = Literal["unknown", "future"]

MESSAGES: dict[GapReason, str] = {
    "unknown": "This answer is not here: it was never made, is no longer kept, or belongs to somebody else.",
    "future": "This answer has no such event yet: the id is not one that was sent.",
}


@dataclass(frozen=True, slots=True)
class EventId:
    stream_id: str
    position: int


@dataclass(frozen=True, slots=True)
class GoOn:
    stream: Stream
    after: int


@dataclass(frozen=True, slots=True)
class AllSent: ...


@dataclass(frozen=True, slots=True)
class Gap:
    reason: GapReason


Resumption: TypeAlias = GoOn | AllSent | Gap


def write_event_id(stream_id: str, position: int) -> str:
    return f"{stream_id}.{position}"


def read_event_id(text: str) -> EventId | None:
    match = _ID.fullmatch(text)
    return None if match is None else EventId(match[1], int(match[2]))


def resume(last_event_id: str, find: Callable[[str], Stream | None]) -> Resumption:
    """`find` gives the stream of an id if this client may read it: unknown and foreign ids get the same answer."""
    if last_event_id == GAP_ID:
        return AllSent()
    event_id = read_event_id(last_event_id)
    stream = find(event_id.stream_id) if event_id else None
    if event_id is None or stream is None or stream.id != event_id.stream_id:
        return Gap("unknown")
    last = stream.log.last_position
    if event_id.position > last:
        return Gap("future")
    if event_id.position == last and stream.log.is_closed:
        return AllSent()
    return GoOn(stream, event_id.position)
