"""What one caller may have. All but logins is off until it is set: overload has bounds of its own, for all together."""

import difflib
from typing import Annotated, TypeAlias

from limits import RateLimitItem, parse_many
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from service.access.policies import POLICIES

EXAMPLE = "100/minute"
REDIS = ("redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster")
FREE = ("/livez", "/readyz", "/health", "/ping", "/metrics", "/openapi.json", "/docs", "/redoc", "/worker.js", "/")
FREE_UNDER = ("/ui/", "/docs/")


def are_rates(text: str) -> str:
    try:
        rates(text)
    except ValueError:
        raise ValueError(f"{text!r} is no rate: write it as {EXAMPLE}, or several as 10/second;1000/hour") from None
    return text


def rates(text: str) -> list[RateLimitItem]:
    return list(parse_many(text)) if text.strip() else []


def is_free(path: str) -> bool:
    """What watches the service, and what people read, is never limited."""
    return path in FREE or path.startswith(FREE_UNDER)


def are_routes(given: dict[str, str]) -> dict[str, str]:
    """A limit on what nobody asks would be none, and nobody would notice."""
    known = [line for line in POLICIES if len(line.split()) == 2]
    for route in given:
        if route not in known:
            nearest = difflib.get_close_matches(route, known, n=1)
            raise ValueError(f"{route} is no route{f'; did you mean {nearest[0]}?' if nearest else ''}")
        if is_free(route.split()[1]):
            raise ValueError(f"{route} is never limited")
    return given


def is_redis(url: SecretStr) -> SecretStr:
    """Not with the address: it may hold a password."""
    if url.get_secret_value().partition("://")[0] not in REDIS:
        raise ValueError("no address of a Redis: write it as redis://host:6379/0")
    return url


Rates: TypeAlias = Annotated[str, AfterValidator(are_rates)]


class LimitSettings(BaseModel):
    """Of each caller, in windows that move: a key or a user, else an address."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: Rates = Field(default="", description=f"Requests, such as `{EXAMPLE}` or `10/second;1000/hour`.")
    routes: Annotated[dict[str, Rates], AfterValidator(are_routes)] = Field(
        default={},
        description='Requests of single routes besides, by method and path: `{"POST /search": "10/minute"}`.',
    )
    login_per_address: Rates = Field(
        default="30/minute",
        description="Attempts to log in, right ones too, from one address (of IPv6 its /64); empty is no limit.",
    )
    login_per_name: Rates = Field(
        default="10/minute;100/hour",
        description="Attempts to log in with one name, right ones too, wherever they come from; empty is no limit.",
    )
    tokens: Rates = Field(
        default="", description="Tokens that models write; who has used them up waits, what has begun is finished."
    )
    upload_bytes: Rates = Field(default="", description="Bytes of bodies sent to routes that take files.")
    streams: int = Field(default=0, ge=0, description="Streams open at once in each process; 0 is no limit.")
    redis_url: Annotated[SecretStr, AfterValidator(is_redis)] | None = Field(
        default=None, description="`redis://host:6379/0`: windows that all processes share; else each has its own."
    )
    max_entries: int = Field(
        default=1_000_000,
        ge=1000,
        description="Requests that are remembered in this process; beyond it whoever was silent longest is forgotten.",
    )

    @property
    def is_on(self) -> bool:
        return bool(self.requests or self.routes or self.tokens or self.upload_bytes or self.streams)
