"""A short way through FastAPI for the plain case of a route, in which most of its requests come.

FastAPI solves dependencies, query and body for a route in general, which takes longer than a small model. A body that
is what most clients send is answered without that. Whatever else comes goes the long way, which also says what is
wrong with it, so that there is one wording for each error. The route's dependencies are not asked on the short way:
what every request has to pass stands in the middleware.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import orjson
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service.auth import authenticate
from service.routes.asking import Asking, asking_of

JSON = "application/json"
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Answer = Callable[[Asking, str, Mapping[str, Any]], Coroutine[Any, Any, Response | None]]


def short_way(answer: Answer) -> type[APIRoute]:
    """`answer` gets what is asked, the owner and the body; it gives None for what is not its plain case."""

    class ShortWay(APIRoute):
        def get_route_handler(self) -> Handler:
            long_way = super().get_route_handler()

            async def handle(request: Request) -> Response:
                await authenticate(request)
                record = await plain_record(request)
                answered = None
                if record is not None:
                    answered = await answer(await asking_of(request), request.state.owner, record)
                return await long_way(request) if answered is None else answered

            return handle

    return ShortWay


async def plain_record(request: Request) -> dict[str, Any] | None:
    """None for everything but an object in JSON that says so, without a query string."""
    if request.scope["query_string"] or request.headers.get("content-type") != JSON:
        return None
    try:
        record = orjson.loads(await request.body())  # the request keeps its body for the long way
    except (orjson.JSONDecodeError, ClientDisconnect):
        return None
    return record if isinstance(record, dict) else None
