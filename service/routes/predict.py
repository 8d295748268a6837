"""`POST /predict`: a whole answer from the engine that also streams, cancelled when nobody waits for it any more."""

import time
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from streaming.backend import Backend
from streaming.collect import Answer, collect_unless
from streaming.encode import usage_payload
from streaming.intake import excesses, predict_request, upload_ids_of
from streaming.routes import TheBackend, TheOwner, refuse_excess
from streaming.schemas import (
    CitationAnswer,
    NoQuery,
    PredictAnswer,
    PredictBody,
    PredictQuery,
    PredictText,
    UsageAnswer,
)
from streaming.streams import Stream

CLIENT_CLOSED_REQUEST = 499  # never sent: there is nobody to send it to

router = APIRouter(tags=["prediction"])


@router.post("/predict", response_model=PredictAnswer)
async def predict(
    request: Request, backend: TheBackend, owner: TheOwner, body: PredictBody, _: Annotated[NoQuery, Query()]
) -> Any:
    """Answers a text in one piece."""
    return await answer_whole(request, backend, owner, body)


@router.post("/predict/{model_name}", response_model=PredictAnswer)
async def predict_with(
    *,
    model_name: str,
    request: Request,
    backend: TheBackend,
    owner: TheOwner,
    query: Annotated[PredictQuery, Query()],
    body: Annotated[PredictText | None, Body()] = None,
) -> Any:
    """The same from a model of the client's choice; the text may stand in the query string instead."""
    asked = body or query
    if body is not None and query.model_fields_set:
        raise refused_text("Give either a JSON body or a query string, not both", "value_error")
    if asked.text is None:
        raise refused_text("Field required", "missing")
    whole = PredictBody.model_construct(**{**asked.model_dump(), "model_name": model_name})
    return await answer_whole(request, backend, owner, whole)


async def answer_whole(request: Request, backend: Backend, owner: str, asked: PredictBody) -> PredictAnswer | Response:
    started = time.monotonic()
    refuse_excess(asked, excesses(asked, backend.limits))
    wanted = predict_request(asked, backend.limits)
    starter, generation = await backend.prepare(wanted, owner, upload_ids_of(asked))
    stream = backend.streams.open(starter, generation, grace_s=0)
    with backend.streams.reading(stream):
        answer = await collect_unless(stream.log, disconnect_of(request))
    if answer is None:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
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


def refused_text(message: str, kind: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("body", "text"), "msg": message, "type": kind}])
