"""Every request comes through here: who asks is found out, and what its route needs is asked for.

That happens before the body is read and before anything is done. A path without a route is for nobody but those who are
known, so a stranger does not learn which ones there are.
"""

from typing import Any
from urllib.parse import parse_qsl

from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.access import Access
from service.access.errors import AccessError, CredentialInvalid, ScopeMissing
from service.access.policies import Policy
from service.access.principal import STRANGER, Principal
from service.access.rules import Decision, Rules
from service.errors import DomainError, domain_problem, shaped
from streaming.errors import InvalidTicket
from streaming.routes import WRONG_TICKET
from streaming.streams import Streams

JUDGED = "judged_endpoint"
TICKET = "ticket"
TICKET_CHARS_MAX = 256


class Gate:
    """Finds its `Rules` and its `Access` in the state of the application, which has them from its start on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            admit(scope)
        except (AccessError, InvalidTicket) as error:
            await refusal_of(scope, error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def refusal_of(scope: Scope, error: DomainError) -> Response:
    """A problem, unless the route has failures of a shape of its own."""
    return shaped(scope, domain_problem(scope, error))


def admit(scope: Scope) -> None:
    """Puts `principal` and `owner` into the request's state. Raises `AccessError` and `InvalidTicket`."""
    found: Any = scope["app"].state
    rules: Rules = found.rules
    access: Access = found.access
    state: dict[str, Any] = scope["state"]
    decision = rules.decide(scope)
    if decision is not None:
        if isinstance(decision.rule.route, APIRoute):
            scope["route"] = decision.rule.route  # for the count of requests, also of refused ones
        state[JUDGED] = decision.rule.endpoint
    principal = principal_of(scope, decision, access)
    state["principal"], state["owner"] = principal, principal.id


def principal_of(scope: Scope, decision: Decision | None, access: Access) -> Principal:
    headers = Headers(scope=scope)
    if decision is None:
        return access.identify(headers)
    policy = decision.policy
    if policy.is_public:
        return recognised(headers, access)
    if policy.takes_tickets and scope["method"] == "GET" and not access.is_open:
        ticket = ticket_in(scope)
        if ticket is not None:
            return holder_of(ticket, scope, access)
    principal = access.known(headers) if policy.needs_name else access.identify(headers)
    return allowed(principal, policy)


def allowed(principal: Principal, policy: Policy) -> Principal:
    if missing := principal.lacks(policy.scopes):
        raise ScopeMissing(missing=missing)
    return principal


def recognised(headers: Headers, access: Access) -> Principal:
    """On a public route a wrong credential is as good as none."""
    try:
        return access.identify(headers)
    except AccessError:
        return STRANGER


def ticket_in(scope: Scope) -> str | None:
    """Raises `CredentialInvalid` for several: it must be the one that the route will read."""
    try:
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        raise CredentialInvalid from None
    found = [value for name, value in pairs if name == TICKET]
    if len(found) > 1:
        raise CredentialInvalid("Send one ticket, not several.")
    return found[0] if found else None


def holder_of(ticket: str, scope: Scope, access: Access) -> Principal:
    """Who holds a ticket reads that one stream for its owner, and may do nothing else, and only while the owner may."""
    streams: Streams = scope["state"]["backend"].streams
    is_reconnect = bool(Headers(scope=scope).get("last-event-id"))
    stream = streams.redeem(ticket[:TICKET_CHARS_MAX], is_reconnect=is_reconnect)
    if stream is None or not (isinstance(stream.ticket.holder, Principal) and access.still_knows(stream.ticket.holder)):
        raise InvalidTicket(WRONG_TICKET)
    return Principal(stream.owner, stream.owner, frozenset(), "ticket")
