"""Pages of other origins: Starlette's middleware, with a family of headers allowed and refusals as problems."""

import re

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from service.errors import problem
from service.middleware import REQUEST

ASKED = "access-control-request-headers"
FAMILY = re.compile(r"x-stainless-[a-z0-9-]{1,64}", re.ASCII)  # generated clients add new ones with every version


class Cors(CORSMiddleware):
    def preflight_response(self, request_headers: Headers) -> Response:
        asked = [name.strip().lower() for name in request_headers.get(ASKED, "").split(",")]
        family = [name for name in asked if FAMILY.fullmatch(name)]
        rest = [name for name in asked if name and name not in family]
        others = [(name, value) for name, value in request_headers.raw if name != ASKED.encode()]
        others += [(ASKED.encode(), ", ".join(rest).encode("latin-1"))] if rest else []
        response = super().preflight_response(Headers(raw=others))
        if response.status_code >= 400:
            return refusal(response)
        response.headers["Access-Control-Allow-Headers"] = ", ".join(
            [response.headers["Access-Control-Allow-Headers"], *family]
        )
        return response


def refusal(response: Response) -> Response:
    scope = {"state": REQUEST.get()}
    kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    return problem(scope, response.status_code, f"{bytes(response.body).decode()}.", headers=kept)
