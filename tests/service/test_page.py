"""The built-in page as the service hands it out, and the libraries that came with it."""

import hashlib
import json
import re
from collections.abc import Iterator

import httpx
import pytest

from service.page import FOLDER, LATER, is_under, read_page
from tests.server import RunningServer, echo_settings, serving

VENDOR = FOLDER / "vendor"
MANIFEST = json.loads((VENDOR / "manifest.json").read_text())
ADDRESS = re.compile(r'(?:href|src)="([^"]+)"')
OUR_SOURCES = [path for path in sorted(FOLDER.rglob("*.js")) if VENDOR not in path.parents]
IMPORT = re.compile(r'(?:from|import) "(\.[^"]+)"|import\("(\.[^"]+)"\)')


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving(echo_settings()) as running:
        yield running


def test_every_file_of_the_libraries_is_the_one_that_the_manifest_names() -> None:
    named = {file["path"]: file["sha256"] for package in MANIFEST for file in package["files"]}
    found = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert found == named


@pytest.mark.parametrize("package", MANIFEST, ids=lambda package: package["package"])
def test_every_library_has_a_version_a_licence_and_its_text(package: dict[str, object]) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", str(package["version"]))
    assert re.fullmatch(r"[0-9a-f]{64}", str(package["archive_sha256"]))
    assert package["licence"] in {"MIT", "Apache-2.0", "BSD-3-Clause", "MPL-2.0 OR Apache-2.0"}
    assert any(file["path"].startswith("licences/") for file in package["files"])  # type: ignore[attr-defined]


def test_the_page_runs_nothing_that_stands_in_it() -> None:
    text = read_page().index.content.decode()
    assert not re.search(r"<style|\bstyle=|\bon\w+=|<script>", text)
    assert all(address.startswith("/ui/") for address in ADDRESS.findall(text))


def test_every_module_asks_only_for_files_that_are_there() -> None:
    for source in OUR_SOURCES:
        for found in IMPORT.findall(source.read_text()):
            target = found[0] or found[1]
            assert "${" in target or (source.parent / target).resolve().is_file(), f"{source}: {target}"


def test_the_page_names_the_modules_of_its_first_view() -> None:
    text = read_page().index.content.decode()
    first = [name for name in read_page().assets if name.endswith((".js", ".mjs")) and not is_under(name, LATER)]
    assert all(f"/{name}" in text for name in first)
    assert "/views/" not in text


def test_the_page_and_everything_it_names_is_served(server: RunningServer) -> None:
    page = httpx.get(f"{server.url}/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for address in ADDRESS.findall(page.text):
        answer = httpx.get(f"{server.url}{address}")
        assert answer.status_code == 200, address
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_the_policy_allows_only_what_comes_from_here(server: RunningServer) -> None:
    policy = httpx.get(f"{server.url}/").headers["content-security-policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert rules["default-src"] == rules["script-src"] == rules["style-src"] == rules["connect-src"] == ["'self'"]
    assert rules["base-uri"] == rules["object-src"] == rules["frame-ancestors"] == rules["form-action"] == ["'none'"]
    assert rules["require-trusted-types-for"] == ["'script'"]
    assert "unsafe" not in policy
    assert "data:" not in policy


def test_what_is_known_is_not_sent_again(server: RunningServer) -> None:
    first = httpx.get(f"{server.url}/")
    assert first.headers["cache-control"] == "no-cache"
    again = httpx.get(f"{server.url}/", headers={"If-None-Match": f'W/"x", {first.headers["etag"]}'})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]


def test_a_page_of_an_older_version_still_finds_its_files(server: RunningServer) -> None:
    answer = httpx.get(f"{server.url}/ui/0000000000000000/main.js")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["nope.js", "../page.py", "vendor/manifest.json", "%2e%2e/settings.py", "index.html"])
def test_nothing_else_is_served(server: RunningServer, path: str) -> None:
    assert httpx.get(f"{server.url}/ui/{read_page().version}/{path}").status_code == 404


def test_head_gives_the_headers_alone(server: RunningServer) -> None:
    answer = httpx.head(f"{server.url}/")
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(httpx.get(f"{server.url}/").content)
    assert httpx.head(f"{server.url}/worker.js").status_code == 200
