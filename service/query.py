"""Query strings are UTF-8 or refused: the server's own decoder would quietly replace what is not."""

from urllib.parse import unquote_to_bytes

from fastapi import Request
from fastapi.exceptions import RequestValidationError


async def refuse_broken_query(request: Request) -> None:
    raw: bytes = request.scope.get("query_string", b"")
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        message = "The query string is not UTF-8"
        raise RequestValidationError([{"loc": ("query",), "msg": message, "type": "string_unicode"}]) from None
