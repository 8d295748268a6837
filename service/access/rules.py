"""The policies of an application's routes, found in the same order and by the same patterns as its router finds it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette._utils import get_route_path  # as both routers read the path of a scope
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import Scope

from service.access.policies import Policy

ANY_METHOD = "ANY"


class UndeclaredRoute(Exception):
    """The service is not built: a route has no policy, or a policy no route."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A route and what each of its methods needs. `pattern` None: the route is asked whether it fits."""

    route: BaseRoute
    path: str
    endpoint: object
    policies: Mapping[str, Policy]
    pattern: re.Pattern[str] | None

    def match(self, scope: Scope, path: str) -> Match:
        if self.pattern is None:
            return self.route.matches(scope)[0]
        if self.pattern.match(path) is None:
            return Match.NONE
        return Match.FULL if scope["method"] in self.policies else Match.PARTIAL

    def policy(self, method: str) -> Policy:
        return self.policies[ANY_METHOD if ANY_METHOD in self.policies else method]


@dataclass(frozen=True, slots=True)
class Decision:
    """`is_whole` is False where the path has a route, but not for this method."""

    policy: Policy
    rule: Rule
    is_whole: bool


class Rules:
    """Raises `UndeclaredRoute` when a route is not in the table, or a line of the table has no route."""

    def __init__(self, routes: Sequence[BaseRoute], policies: Mapping[str, Policy]) -> None:
        self._rules = list(rules_of(routes, policies))
        used = {line for context in iter_route_contexts(routes) for line in lines_of(context)}
        if idle := sorted(set(policies) - used - {with_get(line) for line in used}):
            raise UndeclaredRoute(f"service/access/policies.py has lines without a route: {', '.join(idle)}")
        self._plain = plain_paths(self._rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def decide(self, scope: Scope) -> Decision | None:
        """What the router will do: the first route that fits, else the first whose path fits. None: there is none."""
        path = get_route_path(scope)
        known = self._plain.get((scope["method"], path))
        return known or first_of(self._rules, scope, path)


def first_of(rules: Sequence[Rule], scope: Scope, path: str) -> Decision | None:
    partial: Rule | None = None
    for rule in rules:
        match = rule.match(scope, path)
        if match is Match.FULL:
            return Decision(rule.policy(scope["method"]), rule, is_whole=True)
        if match is Match.PARTIAL and partial is None:
            partial = rule
    return None if partial is None else Decision(next(iter(partial.policies.values())), partial, is_whole=False)


def rules_of(routes: Sequence[BaseRoute], policies: Mapping[str, Policy]) -> Iterator[Rule]:
    for context in iter_route_contexts(routes):
        found: dict[str, Policy] = {}
        for line in lines_of(context):
            policy = policies.get(line) or policies.get(with_get(line))
            if policy is None:
                raise UndeclaredRoute(f"{line} has no policy: say in service/access/policies.py who may use it")
            found[line.partition(" ")[0]] = policy
        is_own = any(route is context.original_route for route in routes)
        pattern = None if is_choosy(context, is_own=is_own) else context.path_regex
        yield Rule(context.original_route, str(context.path), context.endpoint, found, pattern)


def lines_of(context: RouteContext) -> list[str]:
    """As they stand in the table."""
    route = context.original_route
    if not isinstance(route, Route | Mount):
        raise UndeclaredRoute(f"{type(route).__name__} is no kind of route that can have a policy")
    suffix = getattr(route, "policy_suffix", "")
    return [f"{method} {context.path}{suffix}" for method in sorted(context.methods or (ANY_METHOD,))]


def with_get(line: str) -> str:
    method, _, rest = line.partition(" ")
    return f"GET {rest}" if method == "HEAD" else line


def is_choosy(context: RouteContext, *, is_own: bool) -> bool:
    """Whether it looks at more than path and method; then it stands in the application itself, to be asked."""
    route = context.original_route
    is_so = not isinstance(route, Route) or type(route).matches not in (APIRoute.matches, Route.matches)
    if is_so and not is_own:
        raise UndeclaredRoute(f"{context.path} chooses its requests: add it to the application itself")
    return is_so


def plain_paths(rules: Sequence[Rule]) -> dict[tuple[str, str], Decision]:
    """For paths without parameters the answer is found beforehand, unless it hangs on more than path and method."""
    choosy = {rule.path for rule in rules if rule.pattern is None}
    found: dict[tuple[str, str], Decision] = {}
    for rule in rules:
        if "{" in rule.path or rule.path in choosy:
            continue
        for method in rule.policies:
            scope = {"type": "http", "method": method, "path": rule.path, "headers": []}
            decision = first_of(rules, scope, rule.path)
            if decision is not None:
                found[method, rule.path] = decision
    return found
