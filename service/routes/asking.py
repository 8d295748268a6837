"""What the routes of predictions share: a model by its name or kind, an answer to a record, and how it is told."""

from collections.abc import Hashable, Mapping
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from service.answers import Answered, Answers
from service.drain import Drain
from service.models.fleet import Fleet
from service.models.layout import ModelKind
from service.prediction_settings import PredictionSettings
from service.predictors.errors import InvalidRecord, WrongKind
from service.predictors.predictor import OneShot
from streaming.errors import ShuttingDown, UnknownModel

Schema = TypeVar("Schema", bound=BaseModel)
USED, VERSION = "X-Model-Used", "X-Model-Version"


class Asking:
    """Lives as long as its request."""

    def __init__(self, fleet: Fleet, answers: Answers, drain: Drain, limits: PredictionSettings) -> None:
        self.limits = limits
        self._fleet = fleet
        self._answers = answers
        self._drain = drain

    def kind_of(self, name: str) -> ModelKind:
        """Raises `UnknownModel`."""
        return self._fleet.registry.find(name).kind

    def named_one_shot(self, body: Any) -> str | None:
        """The model that a body names, where it is no language model. Raises `UnknownModel`."""
        name = body.get("model_name") if isinstance(body, Mapping) else None
        return name if isinstance(name, str) and self.kind_of(name) != "language" else None

    def first_of(self, kind: ModelKind) -> str | None:
        try:
            return self._fleet.name_of_kind(kind)
        except UnknownModel:
            return None

    async def one_shot(self, name: str | None, kind: ModelKind) -> OneShot:
        """The named one, which has to be of this kind, or the first of it. Raises also `EngineUnavailable`."""
        model = await self.any_one_shot(name or self._fleet.name_of_kind(kind))
        if model.kind != kind:
            raise WrongKind(f"The model {model.name} is of kind {model.kind}; this asks one of kind {kind}.")
        return model

    async def any_one_shot(self, name: str) -> OneShot:
        if self._drain.is_started:
            raise ShuttingDown("The service is shutting down and takes no new work.")
        return await self._fleet.one_shot(name)

    async def answer(self, model: OneShot, record: Any, owner: str, *where: str | int) -> Answered:
        """`where` the record stood, for the client whose record is wrong. Raises `PredictionError`."""
        try:
            return await self.answer_read(model, self.read(model, record), owner)
        except InvalidRecord as error:
            raise error.within(*where) from None

    def read(self, model: OneShot, record: Any, *where: str | int) -> Hashable:
        if not isinstance(record, Mapping):
            raise InvalidRecord(where, "Input should be a valid dictionary or object", "dict_type")
        try:
            return model.read(record)
        except InvalidRecord as error:
            raise error.within(*where) from None

    async def answer_read(self, model: OneShot, record_input: Hashable, owner: str) -> Answered:
        return await self._answers.answer(model, record_input, owner)


async def asking_of(request: Request) -> Asking:
    state = request.state
    return Asking(state.fleet, state.answers, request.app.state.drain, request.app.state.settings.predictions)


TheAsking = Annotated[Asking, Depends(asking_of)]


def told(content: Any, model: OneShot | None, answered: Answered | None = None) -> Response:
    """Whatever the body has room for, the headers say which version answered."""
    headers = {} if model is None else {USED: model.name, VERSION: model.version}
    if answered is not None:
        headers["Cache-Status"] = answered.cache_status
    return Response(orjson.dumps(content), media_type="application/json", headers=headers)


def checked(schema: type[Schema], body: Any) -> Schema:
    """For bodies of several forms, whose schema is known only when one has looked at them."""
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None


def one_source(query: BaseModel, body: Any) -> str:
    """Where the record stands: in the body or in the query string, never in both."""
    if body is None:
        return "query"
    if query.model_fields_set:
        raise refused(("body",), "Give either a JSON body or a query string, not both", "value_error")
    return "body"


def refused(loc: tuple[str | int, ...], message: str, kind: str) -> RequestValidationError:
    return RequestValidationError([{"loc": loc, "msg": message, "type": kind}])
