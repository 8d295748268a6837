"""`POST /predict`: an answer in one piece, from a language model or from any other, by what the body holds.

The engine that also streams is cancelled when nobody waits for its answer any more.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from starlette.responses import Response

from service.routes.asking import Asking, TheAsking, checked, one_source, refused, told
from service.routes.predict_docs import NAMED_BODY, PREDICT_BODY
from service.routes.predict_schemas import FeaturesAnswer, OneShotAnswer, TextQuery
from service.routes.short_way import short_way
from service.server_timing import TIMINGS
from streaming.backend import Backend
from streaming.collect import Answer, collect, unless
from streaming.encode import usage_payload
from streaming.intake import excesses, predict_request, upload_ids_of
from streaming.routes import TheBackend, TheOwner, refuse_excess
from streaming.schemas import (
    CitationAnswer,
    PredictAnswer,
    PredictBody,
    PredictQuery,
    PredictText,
    UsageAnswer,
)
from streaming.streams import Stream

CLIENT_CLOSED_REQUEST = 499  # never sent: there is nobody to send it to

router = APIRouter(tags=["prediction"])


async def predict(
    *,
    request: Request,
    backend: TheBackend,
    asking: TheAsking,
    owner: TheOwner,
    query: Annotated[TextQuery, Query()],
    body: Annotated[Any, Body()] = None,
) -> Any:
    """Answers a text, a list of features, named features where there is a tabular model, or what `model_name` reads."""
    where = one_source(query, body)
    if where == "query":
        refuse_no_text(query, where)
        return await answer_text(request, backend, asking, owner, query)
    if (name := asking.named_one_shot(body)) is not None:
        record = {field: value for field, value in body.items() if field != "model_name"}
        return await answer_record(asking, name, record, owner, where)
    if (name := model_of_features(asking, body)) is not None:
        return await answer_features(asking, name, body, owner)
    return await answer_whole(request, backend, owner, checked(PredictBody, body))


async def answer_features(asking: Asking, name: str, body: Any, owner: str) -> Response:
    """Bare, as those know it who had such a service before; the headers name the model."""
    model = await asking.any_one_shot(name)
    answered = await asking.answer(model, body, owner, "body")
    return told(answered.output, model, answered)


async def answer_plain_features(asking: Asking, owner: str, record: Mapping[str, Any]) -> Response | None:
    if "features" not in record or not record.keys().isdisjoint(("text", "model_name")):
        return None
    name = asking.first_of("linear")
    return None if name is None else await answer_features(asking, name, record, owner)


def add_predict(router: APIRouter, **given: Any) -> None:
    """`given` as for any route. It stands in the application itself: an included router looks twice at a request."""
    router.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        tags=["prediction"],
        response_model=PredictAnswer | FeaturesAnswer | OneShotAnswer,
        openapi_extra=PREDICT_BODY,
        route_class_override=short_way(answer_plain_features),
        **given,
    )


@router.post("/predict/{model_name}", response_model=PredictAnswer | OneShotAnswer, openapi_extra=NAMED_BODY)
async def predict_with(
    *,
    model_name: str,
    request: Request,
    backend: TheBackend,
    asking: TheAsking,
    owner: TheOwner,
    query: Annotated[PredictQuery, Query()],
    body: Annotated[Any, Body()] = None,
) -> Any:
    """The same from a model of the client's choice, whose schemas `GET /models/{name}` shows. A text may stand in the
    query string instead."""
    where = one_source(query, body)
    if asking.kind_of(model_name) == "language":
        asked = query if where == "query" else checked(PredictText, body)
        refuse_no_text(asked, where)
        whole = PredictBody.model_construct(**{**asked.model_dump(), "model_name": model_name})
        return await answer_whole(request, backend, owner, whole)
    record = query.model_dump(exclude_unset=True) if where == "query" else body
    return await answer_record(asking, model_name, record, owner, where)


async def answer_text(request: Request, backend: Backend, asking: Asking, owner: str, query: TextQuery) -> Any:
    given = query.model_dump(exclude_unset=True)
    if (name := asking.named_one_shot(given)) is not None:
        del given["model_name"]
        return await answer_record(asking, name, given, owner, "query")
    return await answer_whole(request, backend, owner, PredictBody.model_construct(**query.model_dump()))


async def answer_record(asking: Asking, name: str, record: Any, owner: str, where: str) -> Response:
    started = time.monotonic()
    model = await asking.any_one_shot(name)
    answered = await asking.answer(model, record, owner, where)
    took_ms = round((time.monotonic() - started) * 1000, 3)
    known = {"model_used": model.name, "model_version": model.version, "processing_time_ms": took_ms}
    return told({**answered.output, **known}, model, answered)


def model_of_features(asking: Asking, body: Any) -> str | None:
    """None for a text. Named features go to the first tabular model, a list of them to the linear one."""
    if not isinstance(body, dict) or "text" in body:
        return None
    return asking.first_of("linear" if "features" in body else "tabular")


def refuse_no_text(asked: PredictQuery, where: str) -> None:
    if asked.text is None:
        raise refused((where, "text"), "Field required", "missing")


async def answer_whole(request: Request, backend: Backend, owner: str, asked: PredictBody) -> PredictAnswer | Response:
    started = time.monotonic()
    refuse_excess(asked, excesses(asked, backend.limits))
    wanted = predict_request(asked, backend.limits)
    starter, generation = await backend.prepare(wanted, owner, upload_ids_of(asked))
    stream = backend.streams.open(starter, generation, grace_s=0)
    with backend.streams.reading(stream):
        answer = await unless(collect(stream.log), disconnect_of(request))
    if answer is None:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    setattr(request.state, TIMINGS, answer.finished.timings)
    return prediction_of(stream, answer, time.monotonic() - started)


def prediction_of(stream: Stream, answer: Answer, took_s: float) -> PredictAnswer:
    return PredictAnswer(
        prediction=answer.text,
        confidence=answer.finished.confidence,
        model_used=stream.model,
        model_version=stream.model_version,
        processing_time_ms=round(took_s * 1000, 3),
        usage=UsageAnswer(**usage_payload(answer.finished.usage)),
        documents=list(answer.documents),
        citations=[CitationAnswer(**asdict(citation)) for citation in answer.citations],
    )


async def disconnect_of(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
