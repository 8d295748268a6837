"""D7: a name is a label. Whatever clients call their files, nothing is made or opened outside the data folder."""

import base64
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.e2e.process import Headwater, free_port, serving
from tests.e2e.tracing import strace
from tests.e2e.uploading import TUS

UP = (
    "../",
    "..\\",
    "....//",
    "%2e%2e/",
    "..%2f",
    "%2e%2e%2f",
    "..%5c",
    "..;/",
    ".%00./",
    "..\u2215",
    "\uff0e\uff0e/",
    "./",
)
TARGETS = ("etc/passwd", "etc/cron.d/x", "root/.ssh/authorized_keys", "blobs/x", "headwater.db", "con")
NAMES = [
    *(up * depth + target for up, depth, target in itertools.product(UP, (1, 3, 8), TARGETS)),
    *(
        start + target
        for start, target in itertools.product(("/", "//", "C:\\", "\\\\host\\", "file:///", "~/"), TARGETS)
    ),
    *(
        f"{target}{end}"
        for target, end in itertools.product(TARGETS, ("/..", "/.", "/", "/...", "\\..\\x", ":stream", " ", "\u202e"))
    ),
]
PATHS = re.compile(r'"((?:[^"\\]|\\.)*)"')
WRITES = re.compile(r"O_(WRONLY|RDWR|CREAT)|^\d+ +(rename|link|unlink|mkdir|symlink)")
CALLS = "openat,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,symlink,symlinkat"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Headwater]:
    with serving(tmp_path / "log", free_port(), "--engine", "echo") as running:
        httpx.put(f"{running.url}/uploads/first", content=b"opens what every first request opens")
        yield running


def statuses(client: httpx.Client, name: str) -> Iterator[int]:
    """Every way that a name comes in."""
    yield client.put(f"/uploads/{quote(name, safe='')}", content=b"x").status_code
    yield client.post("/uploads", params={"filename": name}, content=b"x").status_code
    form = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\nx\r\n--b--\r\n'.encode()
    yield client.post("/uploads", content=form, headers={"content-type": "multipart/form-data; boundary=b"}).status_code
    metadata = f"filename {base64.b64encode(name.encode()).decode()}"
    headers = {
        **TUS,
        "Upload-Length": "1",
        "Upload-Metadata": metadata,
        "Content-Type": "application/offset+octet-stream",
    }
    yield client.post("/files", content=b"x", headers=headers).status_code


def test_no_name_opens_anything_outside_the_data_folder(server: Headwater, tmp_path: Path) -> None:
    assert len(set(NAMES)) >= 290
    log = tmp_path / "strace"
    options = ("-f", "-s", "4096", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(log))
    with httpx.Client(base_url=server.url, timeout=60) as client:
        with strace(server.process.pid, *options):
            found = {status for name in NAMES for status in statuses(client, name)}
        labels = [one["filename"] for one in client.get("/uploads", params={"limit": 500}).json()["uploads"]]
    assert found <= {201, 400, 404, 422}, found
    assert 201 in found
    assert not [label for label in labels if {"/", "\\"} & set(label)]
    written = [line for line in log.read_text(errors="replace").splitlines() if WRITES.search(line)]
    paths = {path for line in written for path in PATHS.findall(line)}
    outside = [path for path in paths if not path.startswith(f"{tmp_path}/data/") and path != "/dev/null"]
    assert paths
    assert not outside
