"""Another issuer's keys are rotated while the service runs: SIGHUP reads the JWKS file again."""

import json
import signal
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.server import ServerProcess, server_process, wait_until
from tests.service.access.world import EC, FOREIGN, RSA, foreign_token, jwk

WITHIN_S = 60.0
OLD = jwk(RSAAlgorithm, RSA, "rsa-1")
NEW = jwk(ECAlgorithm, EC, "ec-1")


def greets(server: ServerProcess, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"http://127.0.0.1:{server.port}/protected", headers=headers, timeout=WITHIN_S).status_code


def test_a_hangup_takes_new_public_keys_and_drops_old_ones(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"

    def write(*keys: dict[str, Any]) -> None:
        file.write_text(json.dumps({"keys": keys}))

    write(OLD)
    given = {"jwks_file": file, "jwks_issuer": FOREIGN["issuer"], "jwks_audience": FOREIGN["audience"]}
    with server_process(tmp_path, **{f"access__{name}": value for name, value in given.items()}) as server:
        old, new = foreign_token(), foreign_token(EC, "ES256", kid="ec-1")
        assert (greets(server, old), greets(server, new)) == (200, 401)
        write(OLD, NEW)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: greets(server, new) == 200, WITHIN_S, "the new key is taken")
        assert greets(server, old) == 200
        write(NEW)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: greets(server, old) == 401, WITHIN_S, "the old key is gone")

        file.write_text("no JSON")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the public keys stay as they are" in server.log.read_text(), WITHIN_S, "it is told")
        assert greets(server, new) == 200
        assert greets(server, foreign_token(ec.generate_private_key(ec.SECP256R1()), "ES256", kid="ec-1")) == 401
