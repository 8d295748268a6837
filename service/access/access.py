"""From the headers of a request to its principal. That waits for nothing: keys are in memory, tokens are arithmetic."""

import time
from collections.abc import Callable

from starlette.datastructures import Headers

from service.access.errors import (
    CredentialExpired,
    CredentialInvalid,
    CredentialMissing,
    LoginFailed,
    LoginNotConfigured,
)
from service.access.keys import PREFIX, is_secret_of, read_key
from service.access.passwords import Passwords
from service.access.principal import Principal, anonymous
from service.access.ring import Ring
from service.access.settings import AccessSettings
from service.access.tokens import Tokens
from service.access.users import User

KEY_HEADER = "x-api-key"
TOKEN_HEADER = "authorization"  # noqa: S105  a header's name
BEARER = "bearer"
FOREIGN_PREFIX = "jwt:"  # with a colon, which no name of a key or user has: another issuer's Ann is not ours


class Access:
    """Who is who, once the store is open."""

    def __init__(
        self,
        settings: AccessSettings,
        ring: Ring,
        tokens: Tokens,
        *,
        is_local: bool,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`is_local`: only this machine reaches the service, so whoever does may also administer an open one."""
        self.tokens = tokens
        self.passwords = Passwords()
        self._settings = settings
        self._ring = ring
        self._anonymous = anonymous(may_administer=is_local)
        self._wall_clock = wall_clock
        self._configured = {
            name: User(name, one.scopes, one.password_hash.get_secret_value(), 0.0)
            for name, one in settings.users.items()
        }

    @property
    def is_open(self) -> bool:
        """Whether anybody may use the service without saying who asks."""
        return not (self._settings.closes or self._ring.has_ever_had_any)

    def identify(self, headers: Headers) -> Principal:
        """Raises `NotIdentified` and `AccessUnavailable`. While the service is open everybody is the same one."""
        if self.is_open:
            return self._anonymous
        return self.known(headers)

    def known(self, headers: Headers) -> Principal:
        """The same, but nobody is anonymous."""
        text = credential_in(headers)
        return self._of_key(text) if text.startswith(PREFIX) else self._of_token(text)

    def still_knows(self, principal: Principal) -> bool:
        """Whether what it showed then would be taken now. Another issuer's tokens only end by time.

        Raises `AccessUnavailable`.
        """
        match principal.credential:
            case "key":
                key = self._ring.key(principal.key_id)
                return key is not None and not key.is_revoked and not key.is_expired(self._wall_clock())
            case "token" if principal.id.startswith(FOREIGN_PREFIX):
                return True
            case "token":
                user = self.user(principal.id)
                return user is not None and principal.issued_at >= user.changed_at
            case "none":
                return self.is_open
            case "ticket":
                return False

    async def log_in(self, name: str, password: str) -> str:
        """A token. Raises `LoginFailed`, `LoginNotConfigured`, `LoginsBusy` and `AccessUnavailable`."""
        if not self.tokens.can_issue:
            raise LoginNotConfigured
        user = self.user(name)
        if not await self.passwords.is_right(password, user.password_hash if user else None) or user is None:
            raise LoginFailed
        return self.tokens.issue(user.name)

    def user(self, name: str) -> User | None:
        """Of the settings, else of the store."""
        return self._configured.get(name) or self._ring.user(name)

    def _of_key(self, text: str) -> Principal:
        parts = read_key(text)
        if parts is None:
            raise CredentialInvalid
        key = self._ring.key(parts[0])
        if not is_secret_of(key, parts[1]) or key is None or key.is_revoked:
            raise CredentialInvalid
        if key.is_expired(self._wall_clock()):
            raise CredentialExpired
        self._ring.note_use(key)
        return Principal(key.name, key.name, key.scopes, "key", key_id=key.id)

    def _of_token(self, text: str) -> Principal:
        claims = self.tokens.check(text)
        if not claims.is_own:
            return Principal(FOREIGN_PREFIX + claims.subject, claims.subject, claims.scopes, "token")
        user = self.user(claims.subject)
        if user is None or claims.issued_at < user.changed_at:
            raise CredentialInvalid
        return Principal(user.name, user.name, user.scopes, "token", issued_at=claims.issued_at)


def credential_in(headers: Headers) -> str:
    """Exactly one: of two it would not be clear which one counts. Other schemes than Bearer are a proxy's own."""
    found = headers.getlist(KEY_HEADER)
    for value in headers.getlist(TOKEN_HEADER):
        scheme, _, text = value.strip().partition(" ")
        if scheme.lower() == BEARER:
            found.append(text)
    if not found:
        raise CredentialMissing
    if len(found) > 1:
        raise CredentialInvalid("Send one key or token, not several.")
    return found[0].strip()
