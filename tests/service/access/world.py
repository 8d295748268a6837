"""A closed service in the test's own loop, and every credential that somebody might try on it."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi import FastAPI
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from service.access.database import SqlAccessStore
from service.access.keys import mint
from service.access.passwords import hash_password
from service.access.principal import SCOPES, Scope
from service.access.users import User
from service.app import create_app
from tests.server import echo_settings
from uploads.stores.database import open_database, sqlite_url

SECRET = "a-secret-of-this-test-with-more-than-32-bytes"
PASSWORD = "correct horse battery"
OWN = {"issuer": "headwater", "audience": "headwater"}
FOREIGN = {"issuer": "https://issuer.example", "audience": "headwater-api"}
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
Headers = list[tuple[str, str]]


@dataclass
class World:
    app: FastAPI
    state: Mapping[str, Any]
    keys: dict[str, str] = field(default_factory=dict)

    def scope(self, method: str, target: str, headers: Headers = []) -> dict[str, Any]:  # noqa: B006  never changed
        """As uvicorn makes it from a request line."""
        raw_path, _, query = target.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw_path),
            "raw_path": raw_path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [
                (b"host", b"127.0.0.1"),
                *((name.encode(), value.encode("latin-1")) for name, value in headers),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
            "state": {**self.state, "request_id": "r"},
            "app": self.app,
        }


@asynccontextmanager
async def closed_world(folder: Path, **access: Any) -> AsyncIterator[World]:
    """With a key for every scope, and keys that are over."""
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [jwk(RSAAlgorithm, RSA, "rsa-1"), jwk(ECAlgorithm, EC, "ec-1")]}))
    given = {
        "stale_s": 3600,  # a busy machine may keep the loop from looking at the store for long
        "jwt_secret": SECRET,
        "jwks_file": jwks,
        "jwks_issuer": FOREIGN["issuer"],
        "jwks_audience": FOREIGN["audience"],
        **access,
    }
    keys = await fill(folder)
    app = create_app(echo_settings(data_dir=folder, access=given))
    async with app.router.lifespan_context(app) as state:
        yield World(app, state or {}, keys)


async def fill(folder: Path) -> dict[str, str]:
    database = await open_database(sqlite_url(folder / "headwater.db"))
    store = SqlAccessStore(database)
    texts: dict[str, str] = {}
    wanted: dict[str, frozenset[Scope]] = {scope: frozenset((scope,)) for scope in SCOPES}
    for name, scopes in {**wanted, "all": frozenset(SCOPES), "revoked": frozenset(SCOPES), "none": frozenset()}.items():
        texts[name], key = mint(name, scopes)
        await store.add_key(key)
        if name == "revoked":
            await store.revoke_key(key.id, 1.0)
    texts["expired"], key = mint("expired", frozenset(SCOPES), expires_at=time.time() - 1)
    await store.add_key(key)
    ann = User("ann", frozenset(SCOPES), hash_password(PASSWORD), round(time.time() - 1000, 3))
    await store.put_user(ann)
    await store.put_user(replace(ann, name="changed", changed_at=round(time.time() + 500, 3)))
    await database.close()
    return texts


def jwk(algorithm: Any, key: Any, kid: str) -> dict[str, Any]:
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


def claims(issuer: str, audience: Any, **changed: Any) -> dict[str, Any]:
    now = time.time()
    whole = {"sub": "ann", "iss": issuer, "aud": audience, "iat": now - 5, "exp": now + 600, "scope": " ".join(SCOPES)}
    return {name: value for name, value in {**whole, **changed}.items() if value is not None}


def own_token(**changed: Any) -> str:
    return jwt.encode(claims(**{**OWN, **changed}), SECRET, "HS256")


def foreign_token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "rsa-1", **changed: Any) -> str:
    headers = None if kid is None else {"kid": kid}
    return jwt.encode(claims(**{**FOREIGN, **changed}), key, algorithm, headers=headers)


def part(value: Any) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unsigned(header: dict[str, Any], signature: bytes = b"", body: dict[str, Any] | None = None) -> str:
    return f"{part(header)}.{part(body or claims(**OWN))}.{part(signature)}"


def hmac_token(secret: bytes, header: dict[str, Any], body: dict[str, Any]) -> str:
    """PyJWT refuses to sign with a public key, so it is done by hand."""
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    signed = f"{part(header)}.{part(body)}"
    return f"{signed}.{part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def public_pem() -> bytes:
    return RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def tampered(token: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    head, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{part(change(told))}.{signature}"


def wrong_keys(world: World) -> dict[str, Headers]:
    good = world.keys["all"]
    _, key_id, secret = good.split("_", 2)
    other_id = world.keys["predict"].split("_", 2)[1]
    made_up = {
        "empty": "",
        "one letter": "x",
        "made up": "hw_0123456789abcdef_" + "A" * 43,
        "right id, wrong secret": f"hw_{key_id}_" + "A" * 43,
        "right secret, other id": f"hw_{other_id}_{secret}",
        "cut": good[:-1],
        "longer": good + "A",
        "in capitals": good.upper(),
        "id in capitals": f"hw_{key_id.upper()}_{secret}",
        "only the secret": secret,
        "only the id": f"hw_{key_id}_",
        "without its prefix": f"{key_id}_{secret}",
        "with a NUL": f"{good}\0",
        "revoked": world.keys["revoked"],
        "expired": world.keys["expired"],
        "a wildcard": "hw_%_%",
        "an injection": "hw_' OR 1=1 --_" + "A" * 43,
        "10 kB": "hw_" + "a" * 10_000,
    }
    sent = {f"key: {name}": [("x-api-key", text)] for name, text in made_up.items()}
    return {
        **sent,
        "nothing": [],
        "a key twice": [("x-api-key", good), ("x-api-key", good)],
        "a key and a token": [("x-api-key", good), ("authorization", f"Bearer {own_token()}")],
        "a wrong key and a right one": [("x-api-key", "x"), ("authorization", f"Bearer {good}")],
        "a key as Basic": [("authorization", "Basic " + base64.b64encode(f"all:{good}".encode()).decode())],
        "a key as another scheme": [("authorization", f"ApiKey {good}")],
        "a key without a scheme": [("authorization", good)],
        "a key in a cookie": [("cookie", f"x-api-key={good}; access_token={good}")],
        "a key in another header": [("api-key", good), ("x-apikey", good), ("proxy-authorization", f"Bearer {good}")],
        "Bearer alone": [("authorization", "Bearer")],
        "as the internal network": [("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "::1"), ("forwarded", "for=::1")],
        "as another user": [("x-user", "ann"), ("x-owner", "ann"), ("remote-user", "ann")],
    }


def wrong_tokens() -> dict[str, Headers]:
    now = time.time()
    good, foreign = own_token(), foreign_token()
    head = good.split(".")[0]
    made_up = {
        **{f"alg {name}": unsigned({"alg": name, "typ": "JWT"}) for name in ("none", "None", "NONE", "nOnE")},
        "alg missing": unsigned({"typ": "JWT"}),
        "alg none with a kid": unsigned({"alg": "none", "kid": "rsa-1"}, body=claims(**FOREIGN)),
        "HS256 with the public key": hmac_token(public_pem(), {"alg": "HS256", "kid": "rsa-1"}, claims(**FOREIGN)),
        "HS256 with the public key, as ours": hmac_token(public_pem(), {"alg": "HS256"}, claims(**OWN)),
        "HS256 with nothing": hmac_token(b"", {"alg": "HS256"}, claims(**OWN)),
        "HS256 with another secret": hmac_token(b"x" * 45, {"alg": "HS256"}, claims(**OWN)),
        "HS512 with the secret": jwt.encode(claims(**OWN), SECRET + "x" * 32, "HS512"),
        "HS384 with the secret": jwt.encode(claims(**OWN), SECRET + "x" * 16, "HS384"),
        "signature gone": good.rpartition(".")[0] + ".",
        "signature of another": good.rpartition(".")[0] + "." + own_token(sub="bob").rpartition(".")[2],
        "body changed": tampered(good, lambda told: {**told, "sub": "changed"}),
        "two parts": good.rpartition(".")[0],
        "four parts": good + ".x",
        "no JSON": f"{head}.{part(b'x')}.x",
        "a list": f"{head}.{part([])}.x",
        "expired": own_token(exp=now - 3600),
        "expired, foreign": foreign_token(exp=now - 3600),
        "not yet": own_token(nbf=now + 3600),
        "from the future": own_token(iat=now + 3600),
        **{f"without {name}": own_token(**{name: None}) for name in ("exp", "iat", "sub")},
        "without aud": jwt.encode(claims("headwater", None), SECRET, "HS256"),
        "without iss": jwt.encode(claims("headwater", "headwater", iss=None), SECRET, "HS256"),
        "another audience": own_token(audience="others"),
        "other audiences": own_token(audience=["a", "b"]),
        "another issuer": own_token(issuer="others"),
        "an unknown subject": own_token(sub="nobody"),
        "an empty subject": own_token(sub=""),
        "issued before the password was changed": own_token(sub="changed"),
        "signed by another": foreign_token(OTHER_RSA),
        "an unknown kid": foreign_token(kid="rsa-2"),
        "no kid": foreign_token(kid=None),
        "a path as kid": hmac_token(b"", {"alg": "HS256", "kid": "../../../dev/null"}, claims(**OWN)),
        "an injection as kid": foreign_token(OTHER_RSA, kid="x' UNION SELECT 'k"),
        "the kid of the other kind": foreign_token(kid="ec-1"),
        "ES256 under the kid of RSA": foreign_token(EC, "ES256", kid="rsa-1"),
        "RS512 with the right key": foreign_token(RSA, "RS512"),
        "ES256 of zeros": unsigned({"alg": "ES256", "kid": "ec-1"}, b"\0" * 64, claims(**FOREIGN)),
        "its own key in the header": jwt.encode(
            claims(**FOREIGN), OTHER_RSA, "RS256", headers={"jwk": jwk(RSAAlgorithm, OTHER_RSA, "x"), "kid": "x"}
        ),
        "the address of its key": jwt.encode(
            claims(**FOREIGN), OTHER_RSA, "RS256", headers={"jku": "https://evil.example/jwks", "kid": "rsa-1"}
        ),
        "asks for an extension": jwt.encode(claims(**OWN), SECRET, "HS256", headers={"crit": ["exp"]}),
        "ours, signed with the foreign key": foreign_token(issuer="headwater", audience="headwater"),
        "foreign, signed with our secret": own_token(**FOREIGN),
        "foreign, for another audience": foreign_token(audience="headwater"),
        "a subject with a line break": foreign_token(sub="ann\nadmin"),
        "300 letters": foreign_token(sub="a" * 300),
        "10 kB": good + "A" * 10_000,
    }
    sent = {f"token: {name}": [("authorization", f"Bearer {text}")] for name, text in made_up.items()}
    return {
        **sent,
        "token: as a key twice": [("authorization", f"Bearer {good}"), ("authorization", f"Bearer {foreign}")],
    }


def fill_two(folder: Path) -> tuple[str, str]:
    """The keys of ann and of bob, in the database of a service that is not running yet."""

    async def keep() -> tuple[str, str]:
        database = await open_database(sqlite_url(folder / "headwater.db"))
        made = [mint(name, frozenset(SCOPES)) for name in ("ann", "bob")]
        for _, key in made:
            await SqlAccessStore(database).add_key(key)
        await database.close()
        return made[0][0], made[1][0]

    return asyncio.run(keep())
