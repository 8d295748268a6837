"""Who is calling. Everybody is the same anonymous principal until keys are configured."""

from dataclasses import dataclass

from fastapi import Request


@dataclass(frozen=True, slots=True)
class Principal:
    id: str


ANONYMOUS = Principal("anonymous")


def authenticate(request: Request) -> Principal:
    """Runs before every route that does work; what is made belongs to the principal."""
    request.state.owner = ANONYMOUS.id
    return ANONYMOUS
