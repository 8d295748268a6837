"""`POST /invocations` and `GET /ping`: what containers for hosted models answer, for clients that know them so.

Failures are `{"error": …}` with their status, as such clients expect, and not problems.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from service.errors import RETRY_AFTER_DEFAULT_S, on_domain_error, on_http_exception, on_invalid_request
from service.health import TheDrain, TheRegistry, reasons_against
from service.predictors.errors import PredictionError
from service.routes.asking import Asking, TheAsking, checked, told
from service.routes.batch import value_of
from service.routes.predict import answer_whole, model_of_features
from service.routes.predict_docs import INVOCATIONS_BODY
from service.routes.predict_schemas import InvocationsAnswer, InvocationsFailure
from streaming.errors import StreamingError
from streaming.predictor import DEFAULT_MODEL
from streaming.routes import TheBackend, TheOwner
from streaming.schemas import NoQuery, PredictAnswer, PredictBody
from uploads.errors import UploadsError

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": InvocationsFailure} for status in (400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503)
}
KEPT_HEADERS = ("retry-after", "www-authenticate", "connection", "accept-encoding")


def failure_of(problem: Response) -> Response:
    headers = {name: problem.headers[name] for name in KEPT_HEADERS if name in problem.headers}
    detail = orjson.loads(problem.body)["detail"]
    return JSONResponse({"error": detail}, problem.status_code, headers)


class InvocationsRoute(APIRoute):
    failure_of = staticmethod(failure_of)  # also for refusals before the route is reached

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except (StreamingError, PredictionError, UploadsError) as error:
                return failure_of(await on_domain_error(request, error))
            except RequestValidationError as error:
                return failure_of(await on_invalid_request(request, error))
            except HTTPException as error:
                return failure_of(await on_http_exception(request, error))

        return answer


router = APIRouter(tags=["prediction"], route_class=InvocationsRoute)
ping_router = APIRouter(tags=["health"])


@router.post("/invocations", response_model=InvocationsAnswer, openapi_extra=INVOCATIONS_BODY, responses=FAILURES)
async def invocations(
    *,
    request: Request,
    backend: TheBackend,
    asking: TheAsking,
    owner: TheOwner,
    _: Annotated[NoQuery, Query()],
    body: Annotated[Any, Body()],
) -> Any:
    """One record of named features, or `{"text"}`; HEADWATER_PREDICTIONS__INVOCATIONS_MODEL says whose."""
    name = asking.limits.invocations_model or model_of_features(asking, body) or DEFAULT_MODEL
    if asking.kind_of(name) == "language":
        asked = checked(PredictBody, body).model_copy(update={"model_name": name})
        answer = await answer_whole(request, backend, owner, asked)
        return {"predictions": [answer.prediction]} if isinstance(answer, PredictAnswer) else answer
    return await one_shot_invocation(asking, name, body, owner)


async def one_shot_invocation(asking: Asking, name: str, body: Any, owner: str) -> Response:
    model = await asking.any_one_shot(name)
    answered = await asking.answer(model, body, owner, "body")
    return told({"predictions": [value_of(answered.output)]}, model, answered)


@ping_router.head("/ping", include_in_schema=False)
@ping_router.get("/ping", response_class=Response, responses={503: {"description": "Not ready", "content": {}}})
async def ping(registry: TheRegistry, drain: TheDrain) -> Response:
    """200 when work may be sent here, as `/readyz`."""
    if reasons_against(registry, drain):
        return Response(status_code=503, headers={"Retry-After": str(RETRY_AFTER_DEFAULT_S)})
    return Response(status_code=200)
