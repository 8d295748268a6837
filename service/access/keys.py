"""An API key: `hw_<id>_<secret>`. The id is public and finds the row; of the secret only its SHA-256 is kept."""

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass, field

from service.access.principal import Scope

PREFIX = "hw_"
ID_BYTES = 8
SECRET_BYTES = 32
_TEXT = re.compile(r"hw_([0-9a-f]{16})_([A-Za-z0-9_-]{43})", re.ASCII)
NOBODYS_DIGEST = hashlib.sha256(secrets.token_bytes(SECRET_BYTES)).hexdigest()
"""Compared with when there is no such key, so that an unknown id costs the same work as a wrong secret."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Times are Unix time. Keys of one name belong to one principal: a new one takes over what an old one made."""

    id: str
    name: str
    scopes: frozenset[Scope]
    digest: str = field(repr=False)
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None

    def is_expired(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now


def mint(name: str, scopes: frozenset[Scope], expires_at: float | None = None) -> tuple[str, ApiKey]:
    """The text, which is shown once, and what is kept of it."""
    key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    key = ApiKey(key_id, name, scopes, digest_of(secret), round(time.time(), 3), expires_at)
    return f"{PREFIX}{key_id}_{secret}", key


def read_key(text: str) -> tuple[str, str] | None:
    """The id and the secret; None for what was never a key."""
    found = _TEXT.fullmatch(text)
    return None if found is None else (found[1], found[2])


def is_secret_of(key: ApiKey | None, secret: str) -> bool:
    """The same work whether or not there is a key."""
    is_right = hmac.compare_digest(NOBODYS_DIGEST if key is None else key.digest, digest_of(secret))
    return is_right and key is not None


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
