"""`/models`: which models there are and how they are asked, and loading another version of one while it answers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from service.errors import documented
from service.models.fleet import Fleet
from service.models.layout import ModelKind
from service.models.registry import LoadedOneShot, Model, ModelState
from service.models.store import PreparedModel
from streaming.schemas import NoQuery, PredictAnswer, PredictText

router = APIRouter(tags=["models"])

LANGUAGE_INPUT: Mapping[str, Any] = PredictText.model_json_schema()
LANGUAGE_OUTPUT: Mapping[str, Any] = PredictAnswer.model_json_schema()


class FailureAnswer(BaseModel):
    code: str
    message: str
    at: datetime
    version: str | None = Field(description="The version that did not load, where it was known.")


class ModelSummary(BaseModel):
    name: str
    task: ModelKind = Field(description="The kind of model.")
    state: ModelState = Field(description="`unloaded` is loaded when somebody asks for it.")
    version: str | None = Field(description="The version that answers.")
    is_loading: bool = Field(description="Whether a version is being loaded, beside the one that answers.")
    failure: FailureAnswer | None = Field(description="Why the last load went wrong; an older version may answer.")
    loaded_at: datetime | None
    size_bytes: int | None = Field(description="Memory that it takes, about.")
    ask_by: str


class VersionAnswer(BaseModel):
    version: str
    prepared_at: datetime
    source: str
    size_bytes: int = Field(description="On the disk.")


class ModelAnswer(ModelSummary):
    previous_version: str | None
    pinned_version: str | None = Field(description="Kept until a reload without a version.")
    versions: list[VersionAnswer] = Field(description="Prepared versions, the newest last; any may be reloaded.")
    input_schema: dict[str, Any] | None = Field(description="Of one record; null while the model is not loaded.")
    output_schema: dict[str, Any] | None


class ModelList(BaseModel):
    models: list[ModelSummary]


class ReloadBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: str | None = Field(
        None, pattern="^[0-9a-f]{12}$", description="Loads and pins this version; without one the newest, unpinned."
    )


class ReloadAccepted(BaseModel):
    model: str
    status: str = "loading"
    url: str = Field(description="Where the outcome is to be seen: `is_loading`, `version` and `failure`.")


async def fleet_of(request: Request) -> Fleet:
    fleet: Fleet = request.state.fleet
    return fleet


TheFleet = Annotated[Fleet, Depends(fleet_of)]
Nothing = Annotated[NoQuery, Query()]


@router.get("/models")
async def list_models(fleet: TheFleet, _: Nothing) -> ModelList:
    """Every model that is served, of whatever kind."""
    return ModelList(models=[ModelSummary(**summary_of(model)) for model in fleet.registry.models.values()])


@router.get("/models/{name}")
async def one_model(name: str, fleet: TheFleet, _: Nothing) -> ModelAnswer:
    """What it takes and gives, its versions, and how its last load went."""
    versions = await fleet.versions(name)
    model = fleet.registry.find(name)
    taken, given = schemas_of(model)
    return ModelAnswer(
        **summary_of(model),
        previous_version=model.previous_version,
        pinned_version=model.pinned_version,
        versions=[version_of(version, one) for version, one in versions.items()],
        input_schema=taken,
        output_schema=given,
    )


@router.post("/models/{name}/reload", status_code=202, responses=documented(409))
async def reload_model(
    name: str, fleet: TheFleet, _: Nothing, body: Annotated[ReloadBody | None, Body()] = None
) -> ReloadAccepted:
    """Loads another version beside the one that answers, tests it, and switches. What goes wrong changes nothing.

    With a `version`, one of those that are prepared, that one is loaded and pinned: also the way back. Without, the
    newest of the source is fetched, and the pin is taken away.
    """
    await fleet.reload(name, None if body is None else body.version)
    return ReloadAccepted(model=name, url=f"/models/{name}")


def summary_of(model: Model) -> dict[str, Any]:
    loaded, failure = model.loaded, model.failure
    return {
        "name": model.name,
        "task": model.kind,
        "state": model.state,
        "version": loaded and loaded.version,
        "is_loading": model.is_loading,
        "failure": failure
        and FailureAnswer(code=failure.code, message=failure.message, at=time_of(failure.at), version=failure.version),
        "loaded_at": loaded and time_of(loaded.loaded_at),
        "size_bytes": loaded and loaded.size_bytes,
        "ask_by": model.how_to_ask,
    }


def version_of(version: str, prepared: PreparedModel) -> VersionAnswer:
    manifest = prepared.manifest
    return VersionAnswer(
        version=version,
        prepared_at=datetime.fromisoformat(manifest.created),
        source=manifest.source,
        size_bytes=manifest.size_bytes,
    )


def schemas_of(model: Model) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if model.kind == "language":
        return dict(LANGUAGE_INPUT), dict(LANGUAGE_OUTPUT)
    if not isinstance(model.loaded, LoadedOneShot):
        return None, None
    return dict(model.loaded.model.input_schema), dict(model.loaded.model.output_schema)


def time_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
