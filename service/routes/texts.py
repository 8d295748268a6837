"""`POST /classify` and `POST /embed`: texts to labels and to vectors, from JSON or from a query string."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import ValidationError
from starlette.responses import Response

from service.routes.asking import Asking, TheAsking, one_source, refused, told
from service.routes.predict_schemas import (
    ClassifyAnswer,
    ClassifyBody,
    ClassifyQuery,
    EmbedAnswer,
    EmbedBody,
    EmbedQuery,
)
from service.routes.short_way import short_way
from streaming.routes import TheOwner

NO_QUERY = EmbedQuery()
router = APIRouter(tags=["prediction"])


@router.post("/classify", response_model=ClassifyAnswer)
async def classify(
    asking: TheAsking,
    owner: TheOwner,
    query: Annotated[ClassifyQuery, Query()],
    body: Annotated[ClassifyBody | None, Body()] = None,
) -> Any:
    """Chooses a label for a text: one of the model's own, or of any that are given."""
    where, asked = one_source(query, body), body or query
    record = asked.model_dump(include={"text", "labels"}, exclude_none=True)
    refuse_no_text(asked.text, where)
    model = await asking.one_shot(asked.model_name, "classifier")
    answered = await asking.answer(model, record, owner, where)
    output = answered.output
    return told({"text": asked.text, "category": output["prediction"], "scores": output["scores"]}, model, answered)


async def embed(
    asking: TheAsking,
    owner: TheOwner,
    query: Annotated[EmbedQuery, Query()],
    body: Annotated[EmbedBody | None, Body()] = None,
) -> Any:
    """Turns a text into a vector, and remembers it. Texts of like meaning have vectors that are near each other."""
    return await embedded(asking, owner, query, body)


async def embedded(asking: Asking, owner: str, query: EmbedQuery, body: EmbedBody | None) -> Response:
    where, asked = one_source(query, body), body or query
    refuse_no_text(asked.text, where)
    model = await asking.one_shot(asked.model_name, "embedding")
    answered = await asking.answer(model, {"text": asked.text}, owner, where)
    content = {**answered.output, "model_used": model.name, "cached": answered.is_cached}
    return told(content, model, answered)


async def embed_plain(asking: Asking, owner: str, record: Mapping[str, Any]) -> Response | None:
    try:
        body = EmbedBody.model_validate(record)
    except ValidationError:
        return None
    return await embedded(asking, owner, NO_QUERY, body)


for path in ("/embed", "/embed-cached"):
    way = short_way(embed_plain)
    router.add_api_route(path, embed, methods=["POST"], response_model=EmbedAnswer, route_class_override=way)


def refuse_no_text(text: str | None, where: str) -> None:
    if text is None:
        raise refused((where, "text"), "Field required", "missing")
