"""axe-core looks at every view, light and dark, wide and narrow: nothing serious, nothing critical."""

import hashlib
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.page.chat_page import ChatPage, Open
from tests.e2e.process import Headwater

AXE = "axe-core@4.14.1"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
SERIOUS = ("serious", "critical")
RUN = "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
ANSWER = """# Title

A [link](https://example.org), `code` and a list:

- one

| a | b |
|---|--:|
| 1 | 2 |

```python
x = 'y'  # z
```
"""


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run(["npm", "pack", "--silent", AXE], cwd=folder, check=True, timeout=120, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as members:
        members.extract("package/axe.min.js", folder, filter="data")
    script = folder / "package" / "axe.min.js"
    assert hashlib.sha256(script.read_bytes()).hexdigest() == SHA256
    return script


def serious(chat: ChatPage) -> list[Any]:
    found = chat.read(RUN)
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found if one["impact"] in SERIOUS]


@pytest.mark.parametrize(
    "options",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark"},
        {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
    ],
    ids=["light", "dark", "phone"],
)
def test_nothing_serious_is_wrong(open_page: Open, echo_server: Headwater, axe: Path, options: dict[str, Any]) -> None:
    chat = open_page(echo_server.url, reduced_motion="reduce", **options)
    chat.page.add_init_script(path=axe)
    chat.open()
    assert serious(chat) == []
    chat.ask(ANSWER)
    expect(chat.answer.locator(".hljs-string")).to_be_visible()
    chat.wait_for_end()
    assert serious(chat) == []
    chat.page.get_by_role("button", name="Options").click()
    assert serious(chat) == []
    chat.page.keyboard.press("Escape")
    for view, title in (("Files", "Files"), ("Models", "Models"), ("Try", "Try")):
        chat.page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
        expect(chat.page.get_by_role("heading", name=title, exact=True)).to_be_visible()
        assert serious(chat) == [], view
