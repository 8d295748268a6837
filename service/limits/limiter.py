"""What each caller has left, in moving windows of `limits`.

Requests are counted one by one. Tokens and bytes are counted in parts of their limit, a thousand each, so that a window
is never longer; what is less than a part waits for the rest.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from limits import RateLimitItem
from limits.aio.storage import Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.limits import RateLimitItemPerSecond
from limits.storage import storage_from_string

from service.limits.memory import BoundedWindows
from service.limits.settings import LimitSettings, rates

Kind: TypeAlias = Literal["requests", "route", "tokens", "upload_bytes", "streams"]
PARTS = 1000
MAX_REMAINDERS = 10_000
STREAM_RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy: `quota` of `kind` in each `window_s`; the item counts parts of `part` each."""

    kind: Kind
    quota: int
    window_s: int
    part: int
    item: RateLimitItem
    name: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands with one rule."""

    rule: Rule
    remaining: int
    reset_s: int
    is_refused: bool = False


def rules_of(kind: Kind, text: str, name: str) -> list[Rule]:
    found = []
    for rate in rates(text):
        counts = kind in ("requests", "route")
        part = 1 if counts else max(rate.amount // PARTS, 1)
        item = RateLimitItemPerSecond(rate.amount // part, rate.get_expiry(), namespace=f"headwater:{name}")
        found.append(Rule(kind, rate.amount, rate.get_expiry(), part, item, name))
    return found


class Limiter:
    """`windows` given in tests; else as the settings say. Used on the event loop."""

    def __init__(
        self, settings: LimitSettings, windows: Storage | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._strategy = MovingWindowRateLimiter(windows or open_windows(settings, clock))
        self._clock = clock
        self._requests = rules_of("requests", settings.requests, "requests")
        self._routes = {route: rules_of("route", text, route) for route, text in settings.routes.items()}
        self._amounts: Mapping[Kind, list[Rule]] = {
            "tokens": rules_of("tokens", settings.tokens, "tokens"),
            "upload_bytes": rules_of("upload_bytes", settings.upload_bytes, "upload-bytes"),
        }
        self._max_streams = settings.streams
        self._streams: dict[str, int] = {}
        self._remainders: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def ask(self, caller: str, route: str) -> list[Standing]:
        """Takes one request, unless a rule refuses it; the refusal is the last one then."""
        standings = []
        for rule in (*self._requests, *self._routes.get(route, ())):
            taken = await self._strategy.hit(rule.item, caller)
            standings.append(await self._standing(rule, caller, is_refused=not taken))
            if not taken:
                break
        return standings

    async def has_room(self, kind: Kind, caller: str, amount: int = 1) -> Standing | None:
        """None when there is room for so much; else the rule that has none."""
        for rule in self._amounts[kind]:
            parts = max(-(-min(amount, rule.quota) // rule.part), 1)
            if not await self._strategy.test(rule.item, caller, cost=min(parts, rule.item.amount)):
                return await self._standing(rule, caller, is_refused=True)
        return None

    async def spend(self, kind: Kind, caller: str, amount: int) -> None:
        """What has been used already; more than was left counts as all that was left."""
        for rule in self._amounts[kind]:
            key = (rule.name + str(rule.window_s), caller)
            parts, rest = divmod(self._remainders.pop(key, 0) + amount, rule.part)
            if rest:
                self._remainders[key] = rest
            while len(self._remainders) > MAX_REMAINDERS:
                self._remainders.popitem(last=False)
            if parts:
                stats = await self._strategy.get_window_stats(rule.item, caller)
                if stats.remaining:
                    await self._strategy.hit(rule.item, caller, cost=min(parts, stats.remaining))

    def open_stream(self, caller: str) -> bool:
        """False when the caller has as many as one may; else `close_stream` has to follow."""
        count = self._streams.get(caller, 0)
        if self._max_streams and count >= self._max_streams:
            return False
        self._streams[caller] = count + 1
        return True

    def close_stream(self, caller: str) -> None:
        count = self._streams.pop(caller) - 1
        if count:
            self._streams[caller] = count

    @property
    def callers_with_streams(self) -> int:
        return len(self._streams)

    async def _standing(self, rule: Rule, caller: str, *, is_refused: bool) -> Standing:
        stats = await self._strategy.get_window_stats(rule.item, caller)
        left_s = round(stats.reset_time - self._clock(), 3)  # what floats add is no second more
        reset_s = max(math.ceil(left_s), 1 if is_refused else 0)
        return Standing(rule, stats.remaining * rule.part, reset_s, is_refused)


def open_windows(settings: LimitSettings, clock: Callable[[], float]) -> Storage:
    """Redis is connected to at its first use."""
    if settings.redis_url is None:
        return BoundedWindows(settings.max_entries, clock)
    url = settings.redis_url.get_secret_value()
    return cast(Storage, storage_from_string(f"async+{url}", implementation="redispy", wrap_exceptions=True))
