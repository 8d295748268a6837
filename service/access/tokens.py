"""Signed tokens (JWT): those that `POST /login` gives out, and those of another issuer whose public keys are known.

Each key has exactly one algorithm, ours HS256, so nothing in a token's header decides how it is checked: the header
only says which key, and a token that was made in any other way fails there.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from service.access.errors import CredentialExpired, CredentialInvalid
from service.access.principal import SCOPES, Scope
from service.access.settings import AccessSettings

OWN_ALGORITHM = "HS256"
CURVES = {"P-256": "ES256"}
REQUIRED = ["exp", "iat", "aud", "iss", "sub"]
TOKEN_CHARS_MAX = 8192
SUBJECT_CHARS_MAX = 255
KEYS_MAX = 100
RSA_BITS_MIN = 2048


class InvalidJwks(Exception):
    """The service cannot start with this file; one line for the operator."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    key: Any
    algorithm: str


@dataclass(frozen=True, slots=True)
class Claims:
    """Of a token that is valid. `is_own`: the service gave it out, so the subject is one of its users."""

    subject: str
    issued_at: float
    scopes: frozenset[Scope]
    is_own: bool


class Tokens:
    """Immutable. Checking takes some 50 µs and does not block."""

    def __init__(self, settings: AccessSettings, public_keys: Mapping[str, PublicKey]) -> None:
        self._settings = settings
        self._secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        self._public_keys = public_keys

    def with_public_keys(self, public_keys: Mapping[str, PublicKey]) -> "Tokens":
        return Tokens(self._settings, public_keys)

    @property
    def can_issue(self) -> bool:
        return self._secret is not None

    def issue(self, subject: str, clock: Callable[[], float] = time.time) -> str:
        """Only where `can_issue`."""
        now = clock()
        claims = {
            "sub": subject,
            "iss": self._settings.jwt_issuer,
            "aud": self._settings.jwt_audience,
            "iat": round(now, 3),  # a password that is changed in the same second ends it
            "exp": int(now) + self._settings.token_ttl_s,
        }
        return jwt.encode(claims, self._secret or "", algorithm=OWN_ALGORITHM)

    def check(self, text: str) -> Claims:
        """Raises `CredentialInvalid`, or `CredentialExpired` when that is all that is wrong."""
        header = header_of(text)
        if header.get("alg") == OWN_ALGORITHM:
            return self._check_own(text)
        return self._check_foreign(text, header.get("kid"))

    def _check_own(self, text: str) -> Claims:
        if self._secret is None:
            raise CredentialInvalid
        given = self._settings
        found = decoded(text, PublicKey(self._secret, OWN_ALGORITHM), given.jwt_issuer, given.jwt_audience, given)
        return Claims(found["sub"], float(found["iat"]), frozenset(), is_own=True)

    def _check_foreign(self, text: str, key_id: object) -> Claims:
        if key_id is None and len(self._public_keys) == 1:
            (key,) = self._public_keys.values()
        elif isinstance(key_id, str) and key_id in self._public_keys:
            key = self._public_keys[key_id]
        else:
            raise CredentialInvalid
        given = self._settings
        found = decoded(text, key, given.jwks_issuer, given.jwks_audience, given)
        scopes = scopes_in(found.get(given.jwks_scope_claim))
        return Claims(found["sub"], float(found["iat"]), scopes, is_own=False)


def header_of(text: str) -> dict[str, Any]:
    if len(text) > TOKEN_CHARS_MAX:
        raise CredentialInvalid
    try:
        header: dict[str, Any] = jwt.get_unverified_header(text)
    except (jwt.PyJWTError, ValueError):
        raise CredentialInvalid from None
    if "crit" in header:  # asks for extensions to be understood, and none is
        raise CredentialInvalid
    return header


def decoded(text: str, key: PublicKey, issuer: str, audience: str, settings: AccessSettings) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            text,
            key.key,
            algorithms=[key.algorithm],
            issuer=issuer,
            audience=audience,
            leeway=settings.jwt_leeway_s,
            options={"require": REQUIRED, "enforce_minimum_key_length": True},
        )
    except jwt.ExpiredSignatureError:
        raise CredentialExpired from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        raise CredentialInvalid from None
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_CHARS_MAX or not subject.isprintable():
        raise CredentialInvalid
    return claims


def scopes_in(claim: object) -> frozenset[Scope]:
    words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return frozenset(scope for scope in SCOPES if scope in words)


def read_jwks(path: Path) -> dict[str, PublicKey]:
    """Blocks. The keys by their `kid`. Raises `InvalidJwks`: a key that nobody may use is better said at the start."""
    try:
        entries = json.loads(path.read_bytes())["keys"]
        keys = {str(entry["kid"]) if "kid" in entry else "": public_key(entry) for entry in entries}
    except OSError as error:
        raise InvalidJwks(f"The JWKS file {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise InvalidJwks(f"The JWKS file {path} has no usable keys: {reason_of(error)}.") from error
    if not 0 < len(keys) <= KEYS_MAX or len(keys) != len(entries):
        raise InvalidJwks(f"The JWKS file {path} needs 1 to {KEYS_MAX} keys, each with a `kid` of its own.")
    return keys


def public_key(entry: dict[str, Any]) -> PublicKey:
    """RS256 or ES256, decided by the kind of the key; a shared secret or a private key has no place here."""
    algorithm = "RS256" if entry["kty"] == "RSA" else CURVES.get(entry.get("crv", ""), "")
    if not algorithm or entry.get("alg", algorithm) != algorithm:
        raise ValueError("a key is neither RSA for RS256 nor P-256 for ES256")
    if "d" in entry:
        raise ValueError("a private key is in it")
    if entry.get("use", "sig") != "sig":
        raise ValueError("a key is not for signatures")
    key = jwt.PyJWK(entry, algorithm).key
    if algorithm == "RS256" and key.key_size < RSA_BITS_MIN:
        raise ValueError(f"an RSA key has fewer than {RSA_BITS_MIN} bits")
    return PublicKey(key, algorithm)


def reason_of(error: Exception) -> str:
    """In words of ours: those of libraries may quote a key."""
    match error:
        case json.JSONDecodeError() | UnicodeDecodeError():
            return "it is no JSON"
        case KeyError():
            return f"`{error.args[0]}` is missing"
        case TypeError() | AttributeError():
            return "it is JSON of another shape"
    return str(error) if type(error) is ValueError else "a key cannot be read"
