"""Preflights: Starlette's, with a family of headers allowed and refusals as problems."""

import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.errors import problem
from service.origins import Origins

ASKED = "access-control-request-headers"
FAMILY = re.compile(r"x-stainless-[a-z0-9-]{1,64}", re.ASCII)  # generated clients add new ones with every version


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Starlette's middleware wants an application; ours is asked for preflights only."""


class Preflight(CORSMiddleware):
    def __init__(
        self,
        origins: Origins,
        *,
        allow_credentials: bool,
        allow_methods: Collection[str],
        allow_headers: Collection[str],
        expose_headers: Collection[str],
    ) -> None:
        super().__init__(
            nothing,
            allow_origins=("*",) if origins.has_every else (),
            allow_credentials=allow_credentials,
            allow_methods=allow_methods,
            allow_headers=allow_headers,
        )
        self._origins = origins
        self.expose_headers = expose_headers

    def is_allowed_origin(self, origin: str) -> bool:
        return self._origins.is_listed(origin)

    def response(self, scope: Scope) -> Response:
        request_headers = Headers(scope=scope)
        asked = [name.strip().lower() for name in request_headers.get(ASKED, "").split(",")]
        family = [name for name in asked if FAMILY.fullmatch(name)]
        rest = [name for name in asked if name and name not in family]
        others = [(name, value) for name, value in request_headers.raw if name != ASKED.encode()]
        others += [(ASKED.encode(), ", ".join(rest).encode("latin-1"))] if rest else []
        response = self.preflight_response(Headers(raw=others))
        if response.status_code >= 400:
            return refusal(scope, response)
        response.headers["Access-Control-Allow-Headers"] = ", ".join(
            [response.headers["Access-Control-Allow-Headers"], *family]
        )
        return response


def refusal(scope: Scope, response: Response) -> Response:
    kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    return problem(scope, response.status_code, f"{bytes(response.body).decode()}.", headers=kept)
