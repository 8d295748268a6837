"""One connection, as uvicorn's protocol with the bounds that it lacks: on the size, shape and time of a request's head,
on how slowly a body may come, on how many connections and waiting requests there are, and on readers that stick.

A connection that breaks a bound is told so as a problem, after what is still being answered on it, and then closed:
first our side, the other when the client has seen it, since a reset would overtake the answer.
"""

import asyncio
import socket
import sys
from dataclasses import dataclass
from enum import Enum
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.border import SAFE_HEADERS
from service.errors import problem
from service.middleware import new_request_id
from service.request_head import Fault, fault_in
from streaming.responses import CONNECTION_EXTENSION

WRITE_BUFFER_BYTES = 32 * 1024  # unsent bytes for a slow reader, here and in the kernel each; then its stream waits
MAX_PIPELINED = 32  # requests that came before the answer to the one ahead of them
LINGER_S = 1.0
END_OF_HEAD = b"\r\n\r\n"
RETRY_AFTER_S = 5


class Phase(Enum):
    BETWEEN = "between requests"
    HEAD = "in a head"
    BODY = "in a body"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    max_connections: int
    max_head_bytes: int
    max_headers: int
    head_timeout_s: float
    body_timeout_s: float
    body_min_bytes: int
    stuck_after_s: float


class Refused(Exception):
    """Carries a fault through the parser, which stops there."""


class Connection(HttpToolsProtocol):
    """Gives the application its transport's `close` and `abort`, keeps little for slow readers and drops stuck ones."""

    # beside the attributes of uvicorn, which as a dictionary of more than 30 would take a kilobyte more each
    __slots__ = ("_body_bytes", "_fault", "_head_bytes", "_is_refused", "_limits", "_open", "_phase", "_timer")

    def __init__(self, *args: Any, limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._phase = Phase.BETWEEN
        self._head_bytes = self._body_bytes = 0
        self._timer: asyncio.TimerHandle | None = None  # one for the head, then for the body
        self._fault: Fault | None = None
        self._is_refused = False
        self._open: list[RequestResponseCycle] = []  # requests without a whole answer, the oldest first
        self.access_log = False  # it writes query strings, and asks global logging state whether to

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        connected = transport.get_extra_info("socket")
        if connected is not None and sys.platform == "linux":
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, WRITE_BUFFER_BYTES)
            # also ends a connection whose answer is complete, but whose last bytes nobody takes
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._limits.stuck_after_s * 1000))
        if len(self.connections) > self._limits.max_connections:
            self._refuse(Fault(503, "There are too many connections.", "too_many_connections", RETRY_AFTER_S))
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        for cycle in self._open:  # uvicorn tells only the newest
            hang_up(cycle)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        if self._is_refused:
            return
        if self._phase is Phase.HEAD:
            self._head_bytes += len(data) - (data.rfind(END_OF_HEAD) + 1)  # without those that came before it
            if self._head_bytes > self._limits.max_head_bytes:
                self._refuse(self._too_large())
        if self._timer is None:
            self._watch()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase, self._head_bytes = Phase.HEAD, 0
        self.scope["extensions"] = {CONNECTION_EXTENSION: self.transport}  # type: ignore[dict-item]  # ours

    def on_header(self, name: bytes, value: bytes) -> None:
        """What comes after the body is no header: it would get past whatever has looked at them."""
        if self._phase is Phase.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._fault = self._fault_in_head()
        if self._fault is not None:
            raise Refused
        # White space behind a value is no part of it (RFC 9110, 5.5), but the parser leaves it there.
        self.headers[:] = [(name, value.rstrip(b" \t")) for name, value in self.headers]
        super().on_headers_complete()
        self._phase, self._body_bytes = Phase.BODY, 0
        self._open.append(self.cycle)
        if self.scope["http_version"] == "1.0":
            send_unchunked(self.cycle)
        if self.parser.should_upgrade():  # the parser reads nothing after it
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_timer()
        self._phase = Phase.BETWEEN
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._open.pop(0)
        super().on_response_complete()
        if self._fault is not None and not self._open and not self.transport.is_closing():
            self._tell(self._fault)

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._fault or Fault(400, msg))

    def _unsupported_upgrade_warning(self) -> None:
        """Not a word: whoever asks for another protocol is answered in this one."""

    def _fault_in_head(self) -> Fault | None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self._limits.max_head_bytes or len(self.headers) > self._limits.max_headers:
            return self._too_large()
        if len(self.pipeline) >= MAX_PIPELINED:
            return Fault(400, "Too many requests at once on one connection.")
        return fault_in(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)

    def _too_large(self) -> Fault:
        if len(self.url) > self._limits.max_head_bytes // 2:
            return Fault(414, f"Target and headers may have {self._limits.max_head_bytes} bytes.")
        words = f"At most {self._limits.max_headers} headers and {self._limits.max_head_bytes} bytes of them are taken."
        return Fault(431, words)

    def _watch(self) -> None:
        if self._phase is Phase.BODY:
            self._timer = self.loop.call_later(self._limits.body_timeout_s, self._check_body, self._body_bytes)
        elif self._phase is Phase.HEAD or not self._open:
            self._await_head()

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self._limits.head_timeout_s, self._give_up_head)

    def _give_up_head(self) -> None:
        self._timer = None
        if self.flow.read_paused:  # it is we who do not read
            self._await_head()
        elif self._phase is Phase.HEAD:
            self._refuse(Fault(408, "The head of the request took too long.", "head_stalled"))
        else:
            self.transport.close()

    def _check_body(self, bytes_before: int) -> None:
        self._timer = None
        is_ours = self.flow.read_paused or self.cycle.waiting_for_100_continue
        if is_ours or self._body_bytes - bytes_before >= self._limits.body_min_bytes:
            self._watch()
        else:
            self._refuse(Fault(408, "The body comes too slowly.", "body_stalled"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, fault: Fault) -> None:
        self._stop_timer()
        self._is_refused = True
        self._fault = fault
        if self._phase is Phase.BODY and self._open and self._open[-1] is self.cycle:
            self._break_off(self.cycle)
        if self._open:
            return  # `on_response_complete` goes on
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()
        else:
            self._tell(fault)

    def _break_off(self, cycle: RequestResponseCycle) -> None:
        """The newest request is at fault, in the middle of its body: it is not answered, or no further."""
        if self.pipeline:
            self.pipeline.popleft()
        self._open.pop()
        hang_up(cycle)

    def _tell(self, fault: Fault) -> None:
        """What cannot be read as HTTP has no scope to answer in; the answer looks like every other error."""
        request_id = new_request_id()
        headers = {"Connection": "close", "X-Request-ID": request_id}
        if fault.retry_after_s is not None:
            headers["Retry-After"] = str(fault.retry_after_s)
        state = {"state": {"request_id": request_id}}
        answer = problem(state, fault.status, fault.detail, fault.code, headers=headers)
        head = (*self.server_state.default_headers, *answer.raw_headers, *SAFE_HEADERS)
        lines = [b"%b: %b\r\n" % header for header in head]
        self.transport.write(b"".join([STATUS_LINE[fault.status], *lines, b"\r\n", answer.body]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._timer = self.loop.call_later(LINGER_S, self.transport.close)
        else:
            self.transport.close()


def hang_up(cycle: RequestResponseCycle) -> None:
    cycle.disconnected = True
    cycle.message_event.set()


def send_unchunked(cycle: RequestResponseCycle) -> None:
    """HTTP/1.0 knows no chunks, though uvicorn sends them: a body without a length ends with its connection."""
    send = cycle.send
    cycle.chunked_encoding = False

    async def send_plain(message: ASGISendEvent) -> None:
        if message["type"] == "http.response.body":
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = send_plain  # type: ignore[method-assign]  # a cycle is made inside uvicorn, without a say in its class
