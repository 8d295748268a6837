"""`POST /predict-batch`: many texts or records in one request, answered in their order. One that fails, fails alone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Body, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from service.predictors.errors import InvalidRecord, PredictionError
from service.predictors.predictor import OneShot, Output
from service.routes.asking import Asking, TheAsking, checked, refused, told
from service.routes.predict import CLIENT_CLOSED_REQUEST, disconnect_of
from service.routes.predict_docs import BATCH_BODY
from service.routes.predict_schemas import BatchAnswer, BatchBody, BatchQuery
from streaming.backend import Backend
from streaming.collect import collect, unless
from streaming.errors import StreamingError
from streaming.intake import excesses, predict_request, refuse_long, upload_ids_of
from streaming.predictor import DEFAULT_MODEL
from streaming.routes import TheBackend, TheOwner, refuse_excess
from streaming.schemas import Options, PredictBody
from uploads.errors import UploadsError

Failure: TypeAlias = PredictionError | StreamingError | UploadsError
FAILURES = (PredictionError, StreamingError, UploadsError)
Outcome: TypeAlias = Any | Failure
Ask: TypeAlias = Callable[[Any], Awaitable[Any]]
Place: TypeAlias = tuple[str | int, ...]
OWN_FIELDS = ("texts", "records", "model_name")

router = APIRouter(tags=["prediction"])


@router.post("/predict-batch", response_model=BatchAnswer, openapi_extra=BATCH_BODY)
async def predict_batch(
    *,
    request: Request,
    backend: TheBackend,
    asking: TheAsking,
    owner: TheOwner,
    query: Annotated[BatchQuery, Query()],
    body: Annotated[Any, Body()] = None,
) -> Any:
    """Answers a list of texts, or of records for models that want other fields, in the order they came."""
    asked, place = batch_of(body)
    refuse_excess_of_batch(asked, query, asking, place)
    name = asked.model_name or DEFAULT_MODEL
    if asking.kind_of(name) == "language":
        model = None
        ask, items = language_batch(asked, backend, owner, place)
    else:
        model = await asking.any_one_shot(name)
        ask, items = one_shot_batch(asked, asking, owner, model, place)
    outcomes = await unless(outcomes_of(ask, items, query.batch_size), disconnect_of(request))
    if outcomes is None:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return told(answer_of(outcomes), model)


def batch_of(body: Any) -> tuple[BatchBody, Place]:
    """The batch, and the place of its items, as the client wrote them."""
    if not isinstance(body, list):
        asked = checked(BatchBody, body)
        if (asked.texts is None) == (asked.records is None):
            raise refused(("body",), "give either texts or records", "value_error")
        return asked, ("body", "texts" if asked.records is None else "records")
    field = "records" if body and isinstance(body[0], dict) else "texts"
    try:
        return checked(BatchBody, {field: body}), ("body",)
    except RequestValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"][2:])} for one in error.errors()]) from None


def refuse_excess_of_batch(asked: BatchBody, query: BatchQuery, asking: Asking, place: Place) -> None:
    if query.batch_size > (most := asking.limits.max_batch_size):
        message = f"Input should be less than or equal to {most}"
        raise refused(("query", "batch_size"), message, "less_than_equal")
    if len(asked.texts or asked.records or ()) > (most := asking.limits.max_batch_items):
        raise refused(place, f"List should have at most {most} items", "too_long")


def language_batch(asked: BatchBody, backend: Backend, owner: str, place: Place) -> tuple[Ask, Sequence[Any]]:
    """All are looked at before anything is spent on the first."""
    if asked.records is not None:
        raise refused(place, "This model takes texts", "value_error")
    options = {name: getattr(asked, name) for name in Options.model_fields}
    refuse_excess(asked, excesses(asked, backend.limits))
    bodies = [
        PredictBody.model_construct(text=text, model_name=asked.model_name, **options) for text in asked.texts or ()
    ]
    for one in bodies:
        refuse_long(len(one.text), backend.limits)
    backend.find_predictor(asked.model_name or DEFAULT_MODEL)

    async def ask(one: PredictBody) -> str:
        wanted = predict_request(one, backend.limits)
        starter, generation = await backend.prepare(wanted, owner, upload_ids_of(one))
        stream = backend.streams.open(starter, generation, grace_s=0)
        with backend.streams.reading(stream):
            return (await collect(stream.log)).text

    return ask, bodies


def one_shot_batch(
    asked: BatchBody, asking: Asking, owner: str, model: OneShot, place: Place
) -> tuple[Ask, Sequence[Any]]:
    if options := asked.model_fields_set - set(OWN_FIELDS):
        message = "This option is for language models"
        raise RequestValidationError(
            [{"loc": ("body", name), "msg": message, "type": "extra_forbidden"} for name in sorted(options)]
        )
    if asked.records is None:
        records: list[Any] = [{"text": text} for text in asked.texts or ()]
    else:
        records = list(asked.records)
    inputs = [asking.read(model, record, *place, number) for number, record in enumerate(records)]

    async def ask(one: Any) -> Any:
        return value_of((await asking.answer_read(model, one, owner)).output)

    return ask, inputs


def value_of(output: Output) -> Any:
    """What the model was asked for, without what it says besides."""
    return next(output[name] for name in ("prediction", "embedding", "entities") if name in output)


async def outcomes_of(ask: Ask, items: Sequence[Any], batch_size: int) -> list[Outcome]:
    turns = asyncio.Semaphore(batch_size)

    async def outcome(item: Any) -> Outcome:
        async with turns:
            try:
                return await ask(item)
            except FAILURES as error:
                return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(outcome(item)) for item in items]
    return [task.result() for task in tasks]


def answer_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Raises the first failure when there is nothing else."""
    failures = [(place, one) for place, one in enumerate(outcomes) if isinstance(one, FAILURES)]
    if failures and len(failures) == len(outcomes):
        raise within_batch(failures[0][1], failures[0][0])
    told_failures = [{"index": place, "code": one.code, "message": one.message} for place, one in failures]
    failed = {place for place, _ in failures}
    predictions = [None if place in failed else one for place, one in enumerate(outcomes)]
    answer = {"predictions": predictions, "count": len(outcomes)}
    return {**answer, "errors": told_failures} if failures else answer


def within_batch(error: Failure, place: int) -> Failure:
    return error.within("body", place) if isinstance(error, InvalidRecord) else error
