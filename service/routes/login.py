"""`POST /login` and `GET /protected`: a token for a name and a password, and what it is good for at the least."""

import logging
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from limits.errors import StorageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.responses import JSONResponse, Response

from service.access.access import Access
from service.access.principal import Principal
from service.errors import documented, problem
from service.limits.logins import LoginLimits
from service.limits.middleware import UNCHECKED, address_of
from streaming.schemas import NoQuery, Plain

BODY_BYTES_MAX = 8192
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
FORM_FIELDS_MAX = 16
IGNORED_FIELDS = ("grant_type", "scope", "client_id", "client_secret")  # of OAuth 2.0, as /docs sends them

router = APIRouter(tags=["access"])
_log = logging.getLogger("headwater.limits")


class Login(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    username: Annotated[Plain, Field(min_length=1, max_length=255)]
    password: Annotated[Plain, Field(min_length=1, max_length=1024)]


class LoginQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    username: Annotated[Plain, Field(min_length=1, max_length=255)] | None = None
    password: Annotated[Plain, Field(min_length=1, max_length=1024)] | None = Field(
        None, description="Works, but query strings are kept in many places: send a body instead."
    )


class Token(BaseModel):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  the word of RFC 6750
    expires_in: int = Field(description="Seconds.")


class Greeting(BaseModel):
    message: str


SCHEMA = Login.model_json_schema()
BODY = {
    "requestBody": {
        "content": {kind: {"schema": SCHEMA} for kind in ("application/json", "application/x-www-form-urlencoded")}
    }
}


@router.post(
    "/login", response_model=Token, openapi_extra=BODY, responses=documented(400, 401, 404, 413, 415, 422, 429, 503)
)
async def login(request: Request, query: Annotated[LoginQuery, Query()]) -> Response:
    """A token for `Authorization: Bearer`. Takes JSON, a form, or a query string."""
    access: Access = request.app.state.access
    given = await body_of(request)
    if given and query.model_fields_set:
        raise refused("Give either a body or a query string, not both")
    asked = validated(given or query.model_dump(exclude_none=True), "body" if given else "query")
    if (refusal := await too_many(request, asked.username)) is not None:
        return refusal
    token = await access.log_in(asked.username, asked.password)
    answer = Token(access_token=token, expires_in=request.app.state.settings.access.token_ttl_s)
    return JSONResponse(answer.model_dump(), headers={"Cache-Control": "no-store"})


@router.get("/protected", responses=documented(401, 422, 429, 503))
async def protected(request: Request, _: Annotated[NoQuery, Query()]) -> Greeting:
    """Greets whoever has a valid key or token."""
    principal: Principal = request.state.principal
    return Greeting(message=f"Hello {principal.name}")


async def too_many(request: Request, name: str) -> Response | None:
    """Before the password is looked at: what is refused costs no hash, and tells nothing of a guess."""
    limits: LoginLimits = request.app.state.login_limits
    try:
        wait_s = await limits.wait_s(address_of(request.scope), name)
    except StorageError as error:
        _log.error("limits cannot be checked: %s", type(error).__name__)
        return problem(request.scope, 503, UNCHECKED, "limits_unavailable", {"Retry-After": "5"})
    if not wait_s:
        return None
    request.app.state.metrics.rate_limited.inc()
    words = f"There were too many attempts to log in. Wait {wait_s} s."
    return problem(request.scope, 429, words, headers={"Retry-After": str(wait_s)})


async def body_of(request: Request) -> dict[str, Any]:
    """The fields of a small body, empty when there is none. A password is never left in a message."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413, f"The body is larger than {BODY_BYTES_MAX} bytes.")
    if not body:
        return {}
    if media_type in FORM_TYPES:
        return await form_of(request, bytes(body))
    if media_type != "application/json":
        raise HTTPException(415, "Send JSON with the header `Content-Type: application/json`, or a form.")
    try:
        given = orjson.loads(body)
    except ValueError:
        raise refused("The body is not JSON", "json_invalid") from None
    if not isinstance(given, dict):
        raise refused("Input should be an object", "dict_type")
    return given


async def form_of(request: Request, body: bytes) -> dict[str, Any]:
    async def again() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    asked = Request(request.scope, again)
    try:
        async with asked.form(max_files=0, max_fields=FORM_FIELDS_MAX, max_part_size=BODY_BYTES_MAX) as form:
            fields = [(name, value) for name, value in form.multi_items() if name not in IGNORED_FIELDS]
    except (MultiPartException, HTTPException):
        raise HTTPException(400, "The form cannot be read.") from None
    if len(dict(fields)) < len(fields):
        raise refused("Give each field once")
    return dict(fields)


def validated(given: dict[str, Any], where: str) -> Login:
    try:
        return Login.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError([{**one, "loc": (where, *one["loc"])} for one in found]) from None


def refused(message: str, kind: str = "value_error") -> RequestValidationError:
    return RequestValidationError([{"loc": ("body",), "msg": message, "type": kind}])
