"""The real tus-js-client, under node, against the real server and through a network that breaks."""

import hashlib
import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.cutter import cutting
from tests.e2e.process import Headwater

CLIENT = "tus-js-client@4.3.1"
SCRIPT = Path(__file__).with_name("tus_client.js")
MIB = 1024 * 1024
CUTS = 20


@pytest.fixture(scope="session")
def tus_js_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("npm")
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--prefix", str(folder)]
    subprocess.run([*install, CLIENT], check=True, timeout=120)
    return folder / "node_modules" / "tus-js-client"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(random.Random(1).randbytes(3 * MIB + 17))
    return path


def upload(client: Path, url: str, path: Path, **options: object) -> dict[str, Any]:
    command = ["node", str(SCRIPT), f"{url}/files", str(path), json.dumps(options)]
    environment = {**os.environ, "TUS_JS_CLIENT": str(client)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def assert_arrived(server: Headwater, result: dict[str, Any], path: Path) -> None:
    assert "error" not in result, result
    state = httpx.get(f"{server.url}/uploads/{result['uploadId']}").json()
    assert (state["filename"], state["size"]) == ("Käse (1).bin", path.stat().st_size)
    assert state["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_50_mib_arrive_whole_over_a_network_that_cuts_20_times(
    echo_server: Headwater, tus_js_client: Path, tmp_path: Path
) -> None:
    path = tmp_path / "50.bin"
    path.write_bytes(random.Random(2).randbytes(50 * MIB))
    sizes = [random.Random(number).randint(100_000, 2 * MIB) for number in range(CUTS)]
    with cutting(echo_server.port, sizes) as cutter:
        result = upload(tus_js_client, cutter.url, path)
    assert_arrived(echo_server, result, path)
    assert cutter.made == CUTS
    assert result["requests"].count("POST 201") == 1, "it went on, and did not begin again"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"uploadDataDuringCreation": True},
        {"chunkSize": MIB},
        {"uploadLengthDeferred": True, "chunkSize": MIB, "pipe": True},
        {"overridePatchMethod": True},
    ],
    ids=lambda options: ",".join(options) or "plain",
)
def test_what_the_client_can_do_works(
    echo_server: Headwater, tus_js_client: Path, file: Path, options: dict[str, Any]
) -> None:
    assert_arrived(echo_server, upload(tus_js_client, echo_server.url, file, **options), file)


def test_the_client_can_give_up(echo_server: Headwater, tus_js_client: Path, file: Path) -> None:
    result = upload(tus_js_client, echo_server.url, file, chunkSize=100_000, abort=True)
    assert "DELETE 204" in result["requests"]
    assert httpx.head(result["url"], headers={"Tus-Resumable": "1.0.0"}).status_code == 404
