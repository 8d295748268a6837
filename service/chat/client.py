"""One answer over the public wire: open a stream, read its events, pick the thread up again when it is cut.

The server makes the answer whether or not this reader is there; `Last-Event-ID` says how much has arrived.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from time import sleep
from typing import Any

import httpx
from httpx_sse import EventSource, SSEError

HEARTBEAT_S = 15
TIMEOUT = httpx.Timeout(10, read=3 * HEARTBEAT_S)
RECONNECT_PAUSES_S = (0.1, 0.3, 1.0, 2.0, 4.0, 4.0)
GRACE_S = 15  # how long the server goes on while we reconnect
LOADING_PAUSE_S = 1
LOADING_TRIES = 120


class ChatError(Exception):
    """What went wrong, in words for the person at the terminal."""


class Unreachable(ChatError):
    """Nobody answers at this address."""


@dataclass(frozen=True, slots=True)
class Question:
    messages: list[dict[str, str]]
    options: dict[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """An event of the wire; text is called "message". `loading` and `reconnecting` are the client's own."""

    name: str
    data: dict[str, Any]


class ChatClient:
    def __init__(self, url: str, api_key: str | None = None) -> None:
        headers = {} if api_key is None else {"X-API-Key": api_key}
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT, headers=headers)
        self._url = url
        self._stream_id: str | None = None

    def close(self) -> None:
        self._http.close()

    def ask(self, question: Question) -> Iterator[ServerEvent]:
        """Yields the answer's events up to and including its last one. Raises `ChatError`."""
        for tried in range(LOADING_TRIES):
            response = self._open(question)
            if not is_loading(response) or tried == LOADING_TRIES - 1:
                break
            yield ServerEvent("loading", {"detail": problem(response)})
            sleep(LOADING_PAUSE_S)
        if response.status_code != HTTPStatus.CREATED:
            raise ChatError(problem(response))
        self._stream_id = response.json()["stream_id"]
        yield from self._read(response.json()["url"])
        self._stream_id = None

    def cancel(self) -> None:
        """Stops the answer that is being made, if there is one. The server then frees its slot."""
        stream_id, self._stream_id = self._stream_id, None
        if stream_id is None:
            return
        try:
            self._http.delete(f"/chat/streams/{stream_id}")
        except httpx.TransportError as error:
            raise Unreachable(f"The connection to {self._url} is gone ({type(error).__name__}).") from error

    def _open(self, question: Question) -> httpx.Response:
        try:
            body = {"messages": question.messages, "grace_s": GRACE_S, **question.options}
            return self._http.post("/chat/streams", json=body)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            hint = "Start it with `make serve`, or name another with --url."
            raise Unreachable(f"No Headwater answers at {self._url}. {hint}") from error

    def _read(self, url: str) -> Iterator[ServerEvent]:
        last_id, failures = "", 0
        while failures < len(RECONNECT_PAUSES_S):
            try:
                for event_id, event in self._events(url, last_id):
                    last_id, failures = event_id or last_id, 0
                    yield event
                    if event.name in {"end", "failed", "gap"}:
                        return
            except httpx.TransportError:
                pass  # the loop below reconnects; what arrived is known by `last_id`
            yield ServerEvent("reconnecting", {})
            sleep(RECONNECT_PAUSES_S[failures])
            failures += 1
        raise Unreachable(f"The connection to {self._url} was lost and did not come back.")

    def _events(self, url: str, last_id: str) -> Iterator[tuple[str, ServerEvent]]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        with self._http.stream("GET", url, headers=headers) as response:
            if response.status_code == HTTPStatus.NO_CONTENT:
                yield "", ServerEvent("end", {})
                return
            if response.status_code != HTTPStatus.OK:
                response.read()
                raise ChatError(problem(response))
            try:
                for event in EventSource(response).iter_sse():
                    if event.data:
                        yield event.id, ServerEvent(event.event, event.json())
            except SSEError as error:
                raise ChatError(f"{self._url} does not answer as Headwater does: {error}") from error


def is_loading(response: httpx.Response) -> bool:
    return response.status_code == HTTPStatus.SERVICE_UNAVAILABLE and problem_code(response) == "engine_loading"


def problem_code(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return ""
    return str(body.get("code", "")) if isinstance(body, dict) else ""


def problem(response: httpx.Response) -> str:
    """The server's own words from a problem document, or the status when it sent none."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return f"The server answered {response.status_code} {response.reason_phrase}."
    fields = [f"{'.'.join(map(str, one.get('loc', ())))}: {one.get('msg', '')}" for one in body.get("errors", [])]
    if fields:  # `detail` repeats the first of them
        return "; ".join(fields)
    return str(body.get("detail") or body.get("title") or f"The server answered {response.status_code}.")
