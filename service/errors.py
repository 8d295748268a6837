"""Every error as RFC 9457 `application/problem+json`: one table from domain errors to statuses, one shape for all."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPMethod, HTTPStatus
from typing import Any, TypeAlias

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from service.access import errors as access
from service.models import errors as models
from service.predictors import errors as predictions
from streaming import errors as text
from uploads import errors as files
from uploads.documents import errors as documents

MEDIA_TYPE = "application/problem+json"
FIELD_ERRORS_MAX = 20
LOCATION_CHARS_MAX = 100

DomainError: TypeAlias = (
    text.StreamingError | files.UploadsError | predictions.PredictionError | access.AccessError | models.ReloadRefused
)

STATUSES: Mapping[type[DomainError], int] = {
    text.StreamingError: 500,
    text.InvalidGeneration: 422,
    text.PromptTooLong: 413,
    text.NoChatTemplate: 422,
    text.RequestRefused: 400,
    text.UnknownModel: 404,
    text.UnknownStream: 404,
    text.InvalidTicket: 401,
    text.NotAcceptable: 406,
    text.Overloaded: 503,  # the whole service is full; 429 is for one client that asks too often
    text.EngineUnavailable: 503,
    text.EngineLoading: 503,
    text.EngineDown: 503,
    text.ShuttingDown: 503,
    text.GenerationFailed: 500,
    text.Cancelled: 409,
    text.NonFiniteLogits: 500,
    text.OutOfMemory: 503,
    text.StepFailed: 500,
    text.GroundingFailed: 500,
    text.GroundingTimedOut: 503,
    files.UploadsError: 500,
    files.UploadRefused: 400,
    files.InvalidFilename: 422,
    files.BrokenMultipart: 400,
    files.NoFile: 400,
    files.NotAnImage: 400,
    files.BodyIncomplete: 400,
    files.TooLarge: 413,
    files.FileTooLarge: 413,
    files.TooManyFiles: 413,
    files.BodyStalled: 408,
    files.UnknownUpload: 404,
    files.ContentUnavailable: 500,
    files.TooManyUploads: 503,
    files.UploadsClosing: 503,
    files.QuotaExceeded: 507,
    files.StoreFailed: 500,
    files.StoreUnavailable: 503,
    files.StoreFull: 507,
    files.ModelUnavailable: 503,
    files.TusRefused: 400,
    files.TusVersion: 412,
    files.TusContentType: 415,
    files.OffsetMismatch: 409,
    files.ChecksumMismatch: 460,
    files.PartLocked: 423,
    files.PartExpired: 410,
    files.UnknownPart: 404,
    files.ProcessingFailed: 422,
    files.ProcessingTimedOut: 422,
    files.ProcessingOutOfMemory: 422,
    files.ProcessingCrashed: 422,
    files.JobRefused: 400,
    files.UnknownJob: 404,
    files.JobNotDone: 409,
    files.JobEnded: 409,
    files.NoResult: 404,
    files.InvalidBatch: 422,
    files.TooManyJobs: 503,
    predictions.PredictionError: 500,
    predictions.InvalidRecord: 422,
    predictions.WrongLength: 400,
    predictions.WrongKind: 422,
    predictions.PredictionBusy: 503,
    predictions.PredictionTimedOut: 503,
    predictions.PredictionFailed: 500,
    models.ReloadRefused: 409,
    models.UnknownVersion: 404,
    models.ReloadRunning: 409,
    documents.DocumentError: 422,
    documents.UnsupportedDocument: 415,
    documents.BrokenDocument: 422,
    documents.EncryptedDocument: 422,
    documents.EmptyDocument: 422,
    documents.DocumentTooLarge: 413,
    access.AccessError: 500,
    access.NotIdentified: 401,
    access.CredentialMissing: 401,
    access.CredentialInvalid: 401,
    access.CredentialExpired: 401,
    access.LoginFailed: 401,
    access.ScopeMissing: 403,
    access.LoginNotConfigured: 404,
    access.LoginsBusy: 503,
    access.AccessUnavailable: 503,
}
STATUS_OF_CODE = {kind.code: status for kind, status in STATUSES.items()}
PHRASES = {460: "Checksum Mismatch"}  # of the tus protocol, which took numbers that HTTP does not know
BEARER = 'Bearer realm="headwater"'
RETRY_AFTER_S: Mapping[type[Exception], int] = {text.EngineDown: 30}
RETRY_AFTER_DEFAULT_S = 5
CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "invalid_request",
    429: "too_many_requests",
    431: "headers_too_large",
    500: "internal_error",
}
BORDER_CODES = {  # what is refused before a route is looked for
    "host_not_allowed": 400,
    "origin_not_allowed": 403,
    "head_stalled": 408,
    "too_many_connections": 503,
    "limits_unavailable": 503,
}


class FieldError(BaseModel):
    loc: list[str | int]
    msg: str
    type: str


class Problem(BaseModel):
    """RFC 9457. `code` is the stable word to program against."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldError] | None = Field(
        None, description="For 422 and `wrong_length`: what is wrong with which field."
    )
    reasons: list[str] | None = Field(None, description="For /readyz: why the service is not ready.")


def problem(
    scope: Scope,
    status: int,
    detail: str,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> Response:
    body = Problem(
        title=PHRASES.get(status) or HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code or CODES.get(status) or HTTPStatus(status).name.lower(),
        request_id=scope.get("state", {}).get("request_id", ""),
        **extra,
    )
    content = orjson.dumps(body.model_dump(exclude_none=True))
    return Response(content, status, headers=headers, media_type=MEDIA_TYPE)


def shaped(scope: Scope, answer: Response) -> Response:
    """A problem, unless the route has failures of a shape of its own: for refusals before the route is reached."""
    reshaped = getattr(scope.get("route"), "failure_of", None)
    return answer if reshaped is None else reshaped(answer)


def domain_problem(scope: Scope, error: DomainError) -> Response:
    status = STATUS_OF_CODE[error.code]  # of an answer's files it is the code that says what went wrong
    headers = {}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(retry_after_s(error))
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        headers["WWW-Authenticate"] = challenge(error)
    if isinstance(error, predictions.InvalidRecord):
        return record_problem(scope, status, error)
    return problem(scope, status, error.message, error.code, headers)


def record_problem(scope: Scope, status: int, error: predictions.InvalidRecord) -> Response:
    told = (error, *error.others)[:FIELD_ERRORS_MAX]
    found = [field_error({"loc": one.field, "msg": one.message, "type": one.kind}) for one in told]
    return problem(scope, status, told_as(found[0]), error.code, errors=found)


def challenge(error: DomainError) -> str:
    """As RFC 6750 has it; a ticket is got from `POST /chat/streams`."""
    if isinstance(error, text.InvalidTicket):
        return "Ticket"
    if isinstance(error, access.ScopeMissing):
        return f'{BEARER}, error="insufficient_scope", scope="{" ".join(error.missing)}"'
    is_wrong = isinstance(error, access.CredentialInvalid | access.CredentialExpired)
    return f'{BEARER}, error="invalid_token"' if is_wrong else BEARER


def retry_after_s(error: DomainError) -> int:
    if isinstance(error, text.Overloaded | predictions.PredictionBusy):
        return error.retry_after_s
    return RETRY_AFTER_S.get(type(error), RETRY_AFTER_DEFAULT_S)


async def on_domain_error(request: Request, error: DomainError) -> Response:
    return domain_problem(request.scope, error)


async def on_http_exception(request: Request, error: HTTPException) -> Response:
    detail = error.detail if isinstance(error.detail, str) else HTTPStatus(error.status_code).phrase
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(allowed_methods(request))
    return problem(request.scope, error.status_code, detail, headers=headers)


def allowed_methods(request: Request) -> list[str]:
    """Several routes share a path, and the one that refused knows only its own methods."""
    asking = [(method.value, {**request.scope, "method": method.value}) for method in HTTPMethod]
    routes = request.app.router.routes
    return [method for method, scope in asking if any(route.matches(scope)[0] is Match.FULL for route in routes)]


async def on_invalid_request(request: Request, error: RequestValidationError) -> Response:
    found = [field_error(one) for one in error.errors()[:FIELD_ERRORS_MAX]]
    detail = told_as(found[0]) if found else "The request is not valid."
    return problem(request.scope, 422, detail, errors=found)


def told_as(error: FieldError) -> str:
    return f"{'.'.join(str(part) for part in error.loc)}: {error.msg}"


def field_error(error: Mapping[str, Any]) -> FieldError:
    words = error["msg"].removeprefix("Value error, ")  # pydantic's, before what our validators say
    return FieldError(loc=[location(part) for part in error["loc"]], msg=printable(words), type=error["type"])


def location(part: Any) -> str | int:
    return part if isinstance(part, int) else printable(str(part))[:LOCATION_CHARS_MAX]


def printable(words: str) -> str:
    """A field's name comes from the client and may hold lone surrogates, which no UTF-8 can carry."""
    return words.encode(errors="replace").decode()


def install(app: FastAPI) -> None:
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        text.StreamingError: on_domain_error,
        files.UploadsError: on_domain_error,
        predictions.PredictionError: on_domain_error,
        models.ReloadRefused: on_domain_error,
        access.AccessError: on_domain_error,
        HTTPException: on_http_exception,
        RequestValidationError: on_invalid_request,
    }
    app.exception_handlers.update(handlers)


PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: these statuses come as problems. `service.openapi` adds the schema."""
    return {status: {"description": HTTPStatus(status).phrase, "content": PROBLEM} for status in statuses}
