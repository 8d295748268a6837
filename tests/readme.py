"""The code blocks of README.md, so that tests can run what it promises."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
URL = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCK.findall(README.read_text()) if name == language]


def page(url: str) -> str:
    """The page of ten lines, asking the server at `url`."""
    (html,) = blocks("html")
    return html.replace(URL, url)
