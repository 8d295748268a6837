"""The last look before a route runs: it is the one that the gate has judged. Who is calling is in `service.access`."""

from fastapi import Request

from service.access.gate import JUDGED


async def authenticate(request: Request) -> None:
    """A gate and a router that disagree must not let anybody in."""
    if getattr(request.state, JUDGED, None) is not request.scope["endpoint"]:
        raise RuntimeError("the gate has judged another route than the router has chosen")
