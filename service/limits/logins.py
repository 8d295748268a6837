"""How often one may try to log in: from one address, and with one name wherever from.

On by default, unlike the other limits: a password is guessed by trying, and no honest caller logs in this often. Right
passwords count as well: whoever has one account could otherwise wipe out what was counted of guesses at another.
"""

import hashlib
import math
import time
from collections.abc import Callable

from limits.aio.storage import Storage
from limits.aio.strategies import MovingWindowRateLimiter

from service.limits.limiter import Rule, open_windows, rules_of
from service.limits.settings import LimitSettings


class LoginLimits:
    """`windows` given in tests; else as the settings say. Used on the event loop."""

    def __init__(
        self, settings: LimitSettings, windows: Storage | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._strategy = MovingWindowRateLimiter(windows or open_windows(settings, clock))
        self._clock = clock
        self._of_address = rules_of("route", settings.login_per_address, "login-address")
        self._of_name = rules_of("route", settings.login_per_name, "login-name")

    async def wait_s(self, address: str, name: str) -> int:
        """Takes one attempt and answers 0; else the seconds until one is free again.

        The address comes first: whoever has no more attempts cannot use up those of a name.
        """
        digest = hashlib.sha256(name.encode()).hexdigest()  # names are long as clients like, and may be secrets
        asked = [(rule, address) for rule in self._of_address] + [(rule, digest) for rule in self._of_name]
        for rule, key in asked:
            if not await self._strategy.hit(rule.item, key):
                return await self._left_s(rule, key)
        return 0

    async def _left_s(self, rule: Rule, key: str) -> int:
        stats = await self._strategy.get_window_stats(rule.item, key)
        return max(math.ceil(round(stats.reset_time - self._clock(), 3)), 1)
