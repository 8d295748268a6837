"""What a supervisor asks: is the process alive, may it get work, and what is loaded. Answers also while loading."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from service.access.principal import STRANGER
from service.drain import Drain
from service.errors import RETRY_AFTER_DEFAULT_S, documented, problem
from service.models.fleet import Fleet
from service.models.registry import ModelState, Registry

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"
    notes: list[str] | None = Field(None, description="What went wrong and keeps no work away: a model not reloaded.")


class Health(BaseModel):
    status: Literal["healthy"] = "healthy"
    engine: Literal["FastAPI-ML"] = "FastAPI-ML"
    models: dict[str, ModelState]


async def registry_of(request: Request) -> Registry:
    fleet: Fleet = request.state.fleet
    return fleet.registry


async def drain_of(request: Request) -> Drain:
    drain: Drain = request.app.state.drain
    return drain


TheRegistry = Annotated[Registry, Depends(registry_of)]
TheDrain = Annotated[Drain, Depends(drain_of)]


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def health(request: Request, registry: TheRegistry) -> Health:
    """The service answers; `models` says which of them do. Strangers of a service that asks for keys get no names."""
    if request.state.principal is STRANGER:
        return Health(models={})
    return Health(models={name: model.state for name, model in registry.models.items()})


@router.head("/livez", include_in_schema=False)
@router.get("/livez")
async def livez() -> Alive:
    """The process is alive. Restart it when this does not answer."""
    return Alive()


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", response_model=Ready, responses=documented(503))
async def readyz(request: Request, registry: TheRegistry, drain: TheDrain) -> Response:
    """Work may be sent here. Not while models load, when one failed, or when the service leaves."""
    reasons = reasons_against(registry, drain)
    if not reasons:
        notes = [note for model in registry.models.values() if (note := model.note) is not None]
        return JSONResponse(Ready(notes=notes or None).model_dump(exclude_none=True))
    headers = {"Retry-After": str(RETRY_AFTER_DEFAULT_S)}
    is_stranger = request.state.principal is STRANGER  # a reason may name a model
    words = sorted({code for code, _ in reasons}) if is_stranger else [reason for _, reason in reasons]
    return problem(request.scope, 503, "; ".join(words), reasons[0][0], headers, reasons=words)


def reasons_against(registry: Registry, drain: Drain) -> list[tuple[str, str]]:
    """Codes with their reasons, the one that matters most first."""
    draining = [("draining", "the service is shutting down")] if drain.is_started else []
    awaited = [model for model in registry.models.values() if model.is_awaited]
    states = [(f"model_{model.state}", model.reason) for model in awaited]
    return draining + sorted((code, reason) for code, reason in states if reason is not None)
