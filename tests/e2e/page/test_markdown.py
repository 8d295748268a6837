"""What a model may say: hostile Markdown runs nothing and fetches nothing; growing Markdown ends as if read at once."""

from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.e2e.page.chat_page import ChatPage, Open
from tests.e2e.page.hostile import snippets
from tests.e2e.process import Headwater

DRAW = Path(__file__).with_name("draw.js").read_text().partition("\n")[2]
PARTS = (
    "# A title\n\nText with **bold**, *italic* and `code`.\nA second line.\n\n",
    "1. one\n2. two\n   - inner\n   - more\n3. three\n\n",
    "1. one\n\n   more of one\n\n2. two\n\n10. ten\n\n",
    "- a\n- b\n\n* other\n* list\n\n",
    "| name | value |\n|:--|--:|\n| a | 1 |\n| b \\| c | 2 |\n| d | `x` |\nnot a row\n\n",
    "```python\ndef f():\n    return '''\n``\n'''\n```\n\n",
    "````\n```\ninner\n```\n````\nright after\n\n",
    "  ```js\n  let a = 1;\n  ```\n\n",
    "~~~\ntildes\n~~~~\n\n",
    "> quoted\n> more\nlazy\n\n> another\n\n",
    "Heading\n=======\n\nOther\n---\n\n",
    "    indented code\n\n    still\n\ntext\n\n",
    "A [link][1] before its address.\r\n\r\n[1]: https://example.org\r\n\r\n",
    "---\n\n***\n\n- [ ] open\n- [x] done\n\n",
    "Umlauts äöü, 平静, 🌊 and a very long word: " + "x" * 90 + "\n\n",
)


def drawn(chat: ChatPage, texts: list[str], seed: int = 1) -> Any:
    return chat.read(DRAW, {"texts": texts, "seed": seed})


def test_200_hostile_snippets_run_nothing_and_fetch_nothing(open_page: Open, echo_server: Headwater) -> None:
    texts = snippets()
    assert len(texts) == 200
    said = drawn(open_page(echo_server.url), texts)
    assert said == {"found": [], "pwned": None, "title": "Headwater"}


def test_the_hostile_snippets_are_harmless_as_one_answer_too(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    chat.read("""() => localStorage.setItem("headwater.options", JSON.stringify(
        {model: "", system: "", temperature: "", max_tokens: "100000", seed: ""}))""")
    chat.page.reload()
    texts = [text for text in snippets() if len(text) < 500]
    chat.ask("[[echo tps=0]]" + "\n\nNext.\n\n".join(texts) + "\n\n-----\n\nThe very end.")
    chat.wait_for_end()
    expect(chat.answer).to_contain_text("<script>")
    assert (
        chat.read("() => document.querySelectorAll('.markdown :is(script, img, iframe, svg, form, style)').length") == 0
    )
    assert chat.read("() => window.pwned ?? null") is None
    assert chat.page.url.startswith(echo_server.url)


def test_markdown_that_grows_ends_as_if_it_was_read_at_once(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    rotations = ["".join((*PARTS[start:], *PARTS[:start])) for start in range(len(PARTS))]
    for seed in (1, 2, 3):
        assert drawn(chat, [*PARTS, *rotations], seed)["found"] == []
