"""The streaming routes. Who includes the router puts a `Backend` and the caller's `owner` into the request's state.

A `principal` there is kept with a ticket, so that whoever checks the ticket can ask whether that one may still read.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse, Response

from streaming.accept import Format, choose_format
from streaming.backend import Backend
from streaming.errors import InvalidTicket, UnknownStream
from streaming.intake import ChatAsked, Excess, chat_request, excesses, logprob_excesses, upload_ids_of
from streaming.responses import answer
from streaming.resume import MESSAGES, GoOn, Resumption, resume
from streaming.schemas import ChatBody, ChatQuery, EventsQuery, NoQuery, Options, StreamState, StreamTicket
from streaming.state import state_of
from streaming.streams import Stream

WRONG_TICKET = "The ticket is wrong, or too old to open a stream."
GET_GRACE_S = 15.0  # EventSource reconnects by itself, so an answer waits for it
POST_GRACE_S = 0.0

EVENTS_EXAMPLE = (
    'retry: 1500\nid: s7f3c….0\nevent: start\ndata: {"stream_id":"s7f3c…",…}\n\nid: s7f3c….1\ndata: {"text":" The"}\n\n'
)
EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer"},
    },
}
LINE = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "object"}},
}
STREAM_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The events of the answer, in the format that `Accept` asks for; see docs/wire.md.",
        "content": {
            "text/event-stream": {"itemSchema": EVENT, "example": EVENTS_EXAMPLE},
            "application/x-ndjson": {"itemSchema": LINE},
            "text/plain": {"schema": {"type": "string"}},
        },
    },
    204: {"description": "Everything up to the end was sent before: do not reconnect."},
}

router = APIRouter(tags=["streaming"])


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and how the answer is to look."""

    backend: Backend
    owner: str
    wanted: Format
    last_event_id: str

    def answer(self, resumption: Resumption) -> Response:
        return answer(self.backend.streams, resumption, self.wanted, self.backend.pace)

    def resume(self, last_event_id: str, find: Callable[[str], Stream | None]) -> Response:
        resumption = resume(last_event_id, find)
        if isinstance(resumption, GoOn):
            self.backend.on_resume()
        return self.answer(resumption)

    def find(self, stream_id: str) -> Stream | None:
        return self.backend.streams.find(stream_id, self.owner)

    def by_ticket(self, ticket: str) -> Callable[[str], Stream | None]:
        return lambda _: self.backend.streams.redeem(ticket, is_reconnect=True)


async def backend_of(request: Request) -> Backend:
    backend: Backend = request.state.backend
    return backend


async def owner_of(request: Request) -> str:
    owner: str = request.state.owner
    return owner


async def caller_of(request: Request) -> Caller:
    """An empty `Last-Event-ID` is none."""
    wanted = choose_format(request.headers.get("accept", ""))
    return Caller(await backend_of(request), await owner_of(request), wanted, request.headers.get("last-event-id", ""))


async def holder_of(request: Request) -> object:
    return getattr(request.state, "principal", None)


TheBackend = Annotated[Backend, Depends(backend_of)]
TheOwner = Annotated[str, Depends(owner_of)]
TheHolder = Annotated[Any, Depends(holder_of)]
TheCaller = Annotated[Caller, Depends(caller_of)]
PromptQuery = Annotated[ChatQuery, Query()]
OptionalBody = Annotated[ChatBody | None, Body()]


@router.get("/chat/stream", response_class=Response, responses=STREAM_ANSWERS)
async def stream_of_prompt(caller: TheCaller, query: PromptQuery) -> Response:
    """Answers a prompt as a stream; with `Last-Event-ID` the rest of an earlier answer."""
    return await open_or_resume(caller, query, query.ticket, GET_GRACE_S)


@router.post("/chat/stream", response_class=Response, responses=STREAM_ANSWERS)
async def stream_of_conversation(caller: TheCaller, query: PromptQuery, body: OptionalBody = None) -> Response:
    """Answers a conversation as a stream. A prompt may also stand in the query string, then without a body."""
    return await open_or_resume(caller, one_of(body, query), query.ticket, POST_GRACE_S)


@router.post("/chat/streams", status_code=201, response_model=StreamTicket)
async def create_stream(
    backend: TheBackend, owner: TheOwner, holder: TheHolder, query: PromptQuery, body: OptionalBody = None
) -> Response:
    """Starts an answer and gives a url that `EventSource`, which can send no header, may open for a while."""
    stream = await start(backend, owner, one_of(body, query), POST_GRACE_S)
    ticket, expires_at = backend.streams.issue_ticket(stream, holder)
    url = f"/chat/streams/{stream.id}"
    made = StreamTicket(stream_id=stream.id, url=f"{url}/events?ticket={ticket}", expires_at=int(expires_at))
    return JSONResponse(made.model_dump(), status_code=201, headers={"Location": url, "Cache-Control": "no-store"})


@router.get("/chat/streams/{stream_id}")
async def stream_state(
    stream_id: str, backend: TheBackend, owner: TheOwner, _: Annotated[NoQuery, Query()]
) -> StreamState:
    """Where the answer is. Known as long as its log is kept."""
    return await state_of(known(backend.streams.find(stream_id, owner)))


@router.delete("/chat/streams/{stream_id}", status_code=204)
async def cancel_stream(stream_id: str, backend: TheBackend, owner: TheOwner, _: Annotated[NoQuery, Query()]) -> None:
    """Ends the answer, also in the queue and during prefill. Doing it twice is no error."""
    backend.streams.cancel(known(backend.streams.find(stream_id, owner)))


@router.get("/chat/streams/{stream_id}/events", response_class=Response, responses=STREAM_ANSWERS)
async def stream_events(stream_id: str, caller: TheCaller, query: Annotated[EventsQuery, Query()]) -> Response:
    """Reads the answer from its start, or from after `Last-Event-ID`; anyone who holds its ticket may."""
    last_event_id = caller.last_event_id or query.last_event_id
    if last_event_id:
        find = caller.find if query.ticket is None else caller.by_ticket(query.ticket)
        return caller.resume(last_event_id, lambda asked: find(asked) if asked == stream_id else None)
    if query.ticket is not None:
        return open_by_ticket(caller, query.ticket, stream_id)
    return caller.answer(GoOn(known(caller.find(stream_id)), -1))


async def open_or_resume(caller: Caller, asked: ChatBody | ChatQuery, ticket: str | None, grace_s: float) -> Response:
    if caller.last_event_id:
        find = caller.find if ticket is None else caller.by_ticket(ticket)
        return caller.resume(caller.last_event_id, find)
    if ticket is not None:
        if asked.prompt is not None:
            raise refused("ticket", "Give either a prompt or a ticket, not both", "value_error")
        return open_by_ticket(caller, ticket)
    stream = await start(caller.backend, caller.owner, asked, grace_s)
    return caller.answer(GoOn(stream, -1))


def open_by_ticket(caller: Caller, ticket: str, stream_id: str | None = None) -> Response:
    stream = caller.backend.streams.redeem(ticket, is_reconnect=False)
    if stream is None or stream_id not in (None, stream.id):
        raise InvalidTicket(WRONG_TICKET)
    return caller.answer(GoOn(stream, -1))


async def start(backend: Backend, owner: str, asked: ChatAsked, default_grace_s: float) -> Stream:
    """Raises whatever is known before the first token, so that it still gets a status of its own."""
    if isinstance(asked, ChatQuery) and asked.prompt is None:
        raise refused("prompt", "Field required", "missing")
    refuse_excess(asked, excesses(asked, backend.limits))
    request = chat_request(asked, backend.limits)
    starter, generation = await backend.prepare(request, owner, upload_ids_of(asked))
    refuse_excess(asked, logprob_excesses(generation, backend.limits))
    grace_s = default_grace_s if asked.grace_s is None else asked.grace_s
    return backend.streams.open(starter, generation, min(grace_s, backend.limits.max_grace_s))


def one_of(body: ChatBody | None, query: ChatQuery) -> ChatBody | ChatQuery:
    if body is None:
        return query
    if extra := sorted(query.model_fields_set - {"ticket"}):
        raise refused(extra[0], "Give either a JSON body or a query string, not both", "value_error")
    return body


def refuse_excess(asked: Options, found: Iterable[Excess]) -> None:
    for excess in found:
        where = "query" if isinstance(asked, ChatQuery) else "body"
        raise refused(excess.field, excess.message, excess.type, where)


def refused(field: str, message: str, kind: str, where: str = "query") -> RequestValidationError:
    return RequestValidationError([{"loc": (where, field), "msg": message, "type": kind}])


def known(stream: Stream | None) -> Stream:
    if stream is None:
        raise UnknownStream(MESSAGES["unknown"])
    return stream
