"""Short-lived tickets: who holds one may read one stream. Only a digest of the secret is kept."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

SECRET_BYTES = 16
SEPARATOR = "~"  # may stand in a URL as it is, and in no stream id
NOBODYS_DIGEST = hashlib.sha256(secrets.token_bytes(SECRET_BYTES)).digest()


@dataclass(frozen=True, slots=True)
class Ticket:
    """`expires_at` is Unix time. After it the ticket opens nothing, but whoever reads already may reconnect.

    `holder` is who asked for it, in the words of whoever checks that; nothing here looks inside.
    """

    digest: bytes
    expires_at: float
    holder: object = None

    def is_for(self, secret: str) -> bool:
        return hmac.compare_digest(self.digest, digest_of(secret))


NO_TICKET = Ticket(NOBODYS_DIGEST, 0.0)


def write_ticket(stream_id: str, expires_at: float, holder: object) -> tuple[str, Ticket]:
    """The text for the client and what is kept of it."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return f"{stream_id}{SEPARATOR}{secret}", Ticket(digest_of(secret), expires_at, holder)


def read_ticket(text: str) -> tuple[str, str]:
    """The stream's id and the secret; empty strings for what is no ticket."""
    stream_id, _, secret = text.partition(SEPARATOR)
    return stream_id, secret


def digest_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()
