"""`examples/web` on an origin of its own, built by Vite: by EventSource and by fetch, over a network that breaks."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.pages import Pages
from tests.e2e.process import Headwater
from tests.e2e.proxy import CuttingProxy, proxying
from tests.readme import ROOT, blocks

EXAMPLE = ROOT / "examples" / "web"
WITHIN_S = 240
WITHIN_MS = 60_000
WORDS = " ".join(f"word{number}" for number in range(100))
expect.set_options(timeout=WITHIN_MS)


@pytest.fixture(scope="module")
def proxy(echo_server: Headwater) -> Iterator[CuttingProxy]:
    with proxying(echo_server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def address(proxy: CuttingProxy, pages: Pages, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The built page, on its own origin."""
    folder = tmp_path_factory.mktemp("example") / "web"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    environment = {**os.environ, "VITE_SERVICE": proxy.url}
    for command in (install, ["npm", "run", "build", "--silent"]):
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=WITHIN_S
        )
        assert done.returncode == 0, done.stdout + done.stderr
    shutil.copytree(folder / "dist", pages.folder, dirs_exist_ok=True)
    return f"{pages.origin}/index.html"


@pytest.fixture
def tab(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(WITHIN_MS)
    page.goto(address)
    yield page
    page.close()


@pytest.mark.parametrize("way", ["Ask by EventSource", "Ask by fetch"])
def test_both_ways_go_on_after_a_broken_network(tab: Page, proxy: CuttingProxy, way: str) -> None:
    cut, proxy.cuts = proxy.cut, [500]
    tab.get_by_role("textbox").fill(f"[[echo tps=50]]{WORDS}")
    tab.get_by_role("button", name=way).click()
    expect(tab.get_by_role("status")).to_contain_text("stop: 100 tokens")
    expect(tab.locator("#answer")).to_have_text(WORDS)
    assert proxy.cut == cut + 1


@pytest.mark.parametrize("way", ["Ask by EventSource", "Ask by fetch"])
def test_both_ways_can_be_stopped(tab: Page, way: str) -> None:
    tab.get_by_role("textbox").fill(f"[[echo tps=10 repeat=100]]{WORDS}")
    tab.get_by_role("button", name=way).click()
    expect(tab.locator("#answer")).to_contain_text("word1")
    expect(tab.get_by_role("button", name=way)).to_be_disabled()
    tab.get_by_role("button", name="Stop").click()
    expect(tab.get_by_role("status")).to_contain_text("cancelled" if "Source" in way else "stopped")
    expect(tab.get_by_role("button", name=way)).to_be_enabled()


def test_the_plain_page_is_the_one_of_the_readme() -> None:
    """Which the browser has run in test_browser.py."""
    assert blocks("html") == [Path(EXAMPLE / "plain.html").read_text()]
