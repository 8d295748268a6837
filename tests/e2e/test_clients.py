"""docs/clients.md and the notebook: their code runs as it stands there, also over a network that breaks."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
from playwright.sync_api import Browser, expect

from tests.e2e.pages import Pages
from tests.e2e.process import Headwater
from tests.e2e.proxy import proxying
from tests.readme import BLOCK, ROOT, URL

PAGE = (ROOT / "docs" / "clients.md").read_text()
CODE = [(language, text) for language, text in BLOCK.findall(PAGE) if language in ("python", "js")]
PYTHON = [text for language, text in CODE if language == "python"]
IN_A_PAGE, IN_NODE = (text for language, text in CODE if language == "js")
WITHIN_S = 120


def run(command: list[str], code: str, folder: Path, url: str) -> str:
    path = folder / ("code.py" if command[0] == sys.executable else "code.mjs")
    path.write_text(code.replace(URL, url))
    done = subprocess.run(
        [*command, str(path)], cwd=folder, capture_output=True, text=True, check=False, timeout=WITHIN_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def upload_of(server: Headwater, upload_id: str) -> bytes:
    return httpx.get(f"{server.url}/uploads/{upload_id}/content", timeout=WITHIN_S).content


def test_the_python_streams_goes_on_and_uploads(echo_server: Headwater, tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("A report about pumps.")
    said = run([sys.executable], "\n".join(PYTHON), tmp_path, echo_server.url)
    assert said.startswith("Name three rivers.Name three rivers.\n")
    assert upload_of(echo_server, said.split()[-3]) == b"A report about pumps."


def test_the_python_loses_nothing_when_the_network_breaks(echo_server: Headwater, tmp_path: Path) -> None:
    words = " ".join(f"word{number}" for number in range(60))
    code = "\n".join(PYTHON[:2]).replace('"Name three rivers."', f'"[[echo tps=40]]{words}"')
    code = code.replace('"max_tokens": 60', '"max_tokens": 500')
    with proxying(echo_server.port, [100_000, 500, 300]) as proxy:
        said = run([sys.executable], code, tmp_path, proxy.url)
        assert proxy.cut == 2
    assert said.strip().endswith(words)


def test_the_javascript_for_pages_shows_the_answer(browser: Browser, pages: Pages, echo_server: Headwater) -> None:
    tab = browser.new_page()
    tab.goto(pages.put("clients.html", "<!doctype html><meta charset=utf-8><link rel=icon href='data:,'>"))
    tab.add_script_tag(content=IN_A_PAGE.replace(URL, echo_server.url))
    expect(tab.locator("body")).to_contain_text("Name three rivers.", timeout=WITHIN_S * 1000)
    tab.close()


def test_the_javascript_for_node_streams_and_uploads(echo_server: Headwater, tmp_path: Path) -> None:
    said = run(["node"], IN_NODE, tmp_path, echo_server.url).splitlines()
    assert said[0] == "Name three rivers."
    assert upload_of(echo_server, said[1]) == b"A report about pumps."


def test_the_code_of_the_notebook_runs(echo_server: Headwater, tmp_path: Path) -> None:
    notebook = json.loads((ROOT / "examples" / "notebook.ipynb").read_text())
    assert notebook["nbformat"] == 4
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    said = run([sys.executable], "\n\n".join(cells), tmp_path, echo_server.url)
    assert re.search(r"succeeded", said)
    assert "The delivery was late." in said


def test_the_notebook_is_kept_without_output() -> None:
    notebook = json.loads((ROOT / "examples" / "notebook.ipynb").read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
