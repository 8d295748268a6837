"""What a connection may cost before a request of it is understood, and which names the service answers to."""

import json
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode


def as_names(value: Any) -> Any:
    """A JSON list or a comma-separated one."""
    if not isinstance(value, str):
        return value
    if value.strip().startswith("["):
        return json.loads(value)
    return [one.strip() for one in value.split(",") if one.strip()]


Names: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(as_names)]


class EdgeSettings(BaseModel):
    """Connections and the heads of requests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_connections: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Connections at once; one more is told 503 and closed."
    )
    max_head_bytes: int = Field(
        default=32_768, ge=1024, le=1_048_576, description="The largest head of a request: its target and all headers."
    )
    max_headers: int = Field(default=100, ge=10, le=10_000, description="Headers in one request.")
    head_timeout_s: float = Field(
        default=8.0, gt=0, description="How long the head of a request may take, from its connection or its first byte."
    )
    body_timeout_s: float = Field(
        default=8.0, gt=0, description="In each span this long a body must end or bring `body_min_bytes`."
    )
    body_min_bytes: int = Field(
        default=4096, ge=1, description="The least that a body that goes on brings in each `body_timeout_s`."
    )
    keep_alive_s: int = Field(
        default=65, ge=1, le=86_400, description="How long a connection stays open without a request."
    )
