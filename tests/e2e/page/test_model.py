"""The page with the real default model: a PDF is attached, asked about, and the passage behind the answer opened."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.page.chat_page import Open
from tests.e2e.process import Headwater, free_port, serving
from tests.uploads.documents.files import write_pdf

pytestmark = pytest.mark.model
PAGES = [
    ["Report on the pumps", "The workshop repaired eleven pumps in spring and nine in autumn."],
    ["Costs", "The large pump BX-40 costs 1,250 euros. The buyer pays for the delivery."],
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headwater]:
    with serving(tmp_path_factory.mktemp("model") / "log", free_port()) as server:
        yield server


def test_an_answer_from_a_pdf_opens_the_passage_that_it_quotes(
    open_page: Open, server: Headwater, tmp_path: Path
) -> None:
    chat = open_page(server.url)
    chat.page.get_by_role("button", name="Options").click()
    chat.page.get_by_label("Temperature").fill("0")
    chat.page.get_by_label("Longest answer").fill("60")
    chat.page.keyboard.press("Escape")
    chat.page.get_by_label("Files", exact=True).set_input_files(write_pdf(tmp_path / "report.pdf", PAGES))
    expect(chat.page.locator(".composer .attachment")).to_contain_text("kB")
    chat.ask("What does the large pump BX-40 cost?")
    chat.wait_for_end()
    expect(chat.answer).to_contain_text("1,250")
    passages = chat.page.get_by_role("list", name="Passages from the files").get_by_role("button")
    passages.filter(has_text="page 2").click()
    dialog = chat.page.get_by_role("dialog", name="report.pdf")
    expect(dialog).to_contain_text("The large pump BX-40 costs 1,250 euros.")
    expect(dialog).to_contain_text("Page 2")
    chat.page.keyboard.press("Escape")
    chat.page.get_by_role("link", name="Files").click()
    expect(chat.page.get_by_role("region", name="Kept files")).to_contain_text("report.pdf")
    chat.page.get_by_role("button", name="Make searchable: report.pdf").click()
    expect(chat.page.get_by_text("Making report.pdf searchable: done")).to_be_visible()
    chat.page.get_by_role("searchbox", name="Search in searchable files").fill("price of the large pump")
    chat.page.get_by_role("button", name="Search", exact=True).click()
    expect(chat.page.get_by_role("list", name="Found passages")).to_contain_text("BX-40 costs 1,250 euros")
