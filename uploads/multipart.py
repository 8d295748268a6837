"""`multipart/form-data` as a stream of parts, each a stream of bytes. Nothing of a part is gathered but its head."""

from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeAlias

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from uploads.errors import BrokenMultipart, TooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_HEADERS = 8  # browsers send two
MAX_HEADER_BYTES = 4096
ESCAPES = {"%22": '"', "%0D": "\r", "%0A": "\n"}  # what browsers write for these in a name, and nothing else


class End:
    """Of a part, or of the whole body."""


Head: TypeAlias = dict[str, bytes]
Event: TypeAlias = Head | bytes | End


def is_multipart(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


class Multipart:
    """Iterate over it for the parts. Each is read before the next is asked for; what is left of it then is skipped.

    Raises `BrokenMultipart`, and whatever the body raises.
    """

    def __init__(self, body: AsyncIterator[bytes], content_type: str) -> None:
        self._body = body
        self._collector = Collector()
        self._parser = make_parser(content_type, self._collector)
        self._part: FormPart | None = None

    def __aiter__(self) -> "Multipart":
        return self

    async def __anext__(self) -> "FormPart":
        if self._part is not None:
            async for _ in self._part:
                pass
        event = await self.next_event()
        if not isinstance(event, dict):
            raise StopAsyncIteration
        self._part = FormPart(self, event)
        return self._part

    async def next_event(self) -> Event:
        """The rest of the body after its last boundary is read and dropped."""
        while not self._collector.events:
            piece = await anext(self._body, None)
            if piece is None:
                if not self._collector.has_ended:
                    raise BrokenMultipart("The multipart body ends before its last boundary.")
                return End()
            try:
                self._parser.write(piece)
            except FormParserError as error:
                raise BrokenMultipart("The multipart body cannot be read.") from error
        return self._collector.events.popleft()


class FormPart:
    """A field or a file of a form. Iterate over it for its bytes."""

    def __init__(self, parts: Multipart, head: Head) -> None:
        _, options = parse_options_header(head.get("content-disposition", b"").decode("latin-1"))
        self.name = text_of(options.get(b"name", b""))
        self.filename = text_of(options[b"filename"]) if b"filename" in options else None
        self.is_text = self.filename is None and "content-type" not in head
        self._parts = parts
        self._has_ended = False

    def __aiter__(self) -> "FormPart":
        return self

    async def __anext__(self) -> bytes:
        if not self._has_ended:
            event = await self._parts.next_event()
            if isinstance(event, bytes):
                return event
            self._has_ended = True
        raise StopAsyncIteration

    async def text(self, max_bytes: int) -> str:
        """The value of a field. Raises `TooLarge`, and `BrokenMultipart` if it is not UTF-8."""
        value = b""
        async for piece in self:
            value += piece
            if len(value) > max_bytes:
                raise TooLarge(f"A field of the form has at most {max_bytes} bytes.")
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise BrokenMultipart("A field of the form is not UTF-8.") from error


class Collector:
    """What the parser found and nobody has taken yet: at most what one piece of the body holds."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self.has_ended = False
        self._head: Head = {}
        self._name = b""
        self._value = b""

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": lambda: self.events.append(self._head),
            "on_part_data": lambda data, start, end: self.events.append(data[start:end]),
            "on_part_end": lambda: self.events.append(End()),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._head = {}

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._head.setdefault(self._name.decode("latin-1").lower(), self._value)
        self._name = self._value = b""

    def _end(self) -> None:
        self.has_ended = True


def make_parser(content_type: str, collector: Collector) -> MultipartParser:
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise BrokenMultipart("The Content-Type names no boundary.")
    try:
        return MultipartParser(
            boundary, collector.callbacks(), max_header_count=MAX_HEADERS, max_header_size=MAX_HEADER_BYTES
        )
    except FormParserError as error:
        raise BrokenMultipart("The boundary is too long.") from error


def text_of(name: bytes) -> str:
    """Names are UTF-8 from today's clients; bytes that are not are taken one by one, so that none is lost."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = name.decode("latin-1")
    for escaped, char in ESCAPES.items():
        text = text.replace(escaped, char)
    return text
