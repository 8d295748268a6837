"""README.md promises commands and files: they exist. That they work is shown by tests/e2e."""

import re
import subprocess
import sys

import pytest

from tests.readme import README, ROOT, blocks, page

MAKE_TARGET = re.compile(r"\bmake ([a-z][a-z0-9-]*)")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_make_command_exists(name: str) -> None:
    quoted = re.findall(r"`([^`]+)`|^```sh\n(.*?)^```", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)
    asked = {target for pair in quoted for text in pair for target in MAKE_TARGET.findall(text)}
    assert asked <= targets()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_to_a_file(name: str) -> None:
    missing = [link for link in LINK.findall((ROOT / name).read_text()) if not (ROOT / link).exists()]
    assert not missing


@pytest.mark.parametrize("command", ["serve", "chat", "models", "upload"])
def test_every_command_of_the_readme_exists(command: str) -> None:
    assert f"headwater {command}" in README.read_text() or f"make {command}" in README.read_text()
    asked = [sys.executable, "-m", "service", command, "--help"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert command in done.stdout


def test_the_page_has_ten_lines() -> None:
    assert len(page("http://127.0.0.1:1").splitlines()) <= 10


def test_python_in_the_readme_compiles() -> None:
    for code in blocks("python"):
        compile(code, "README.md", "exec")
