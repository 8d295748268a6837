"""Files come into the composer by drop and by paste, and what is not sent yet waits there."""

from pathlib import Path

from playwright.sync_api import Locator, expect

from tests.e2e.page.chat_page import ChatPage, Open
from tests.e2e.process import Headwater

PICTURE = """(() => {
    const picture = new OffscreenCanvas(8, 8);
    picture.getContext("2d").fillRect(0, 0, 8, 8);
    return picture.convertToBlob({type: "image/png"});
})()"""
COPY_PICTURE = f"""async () => navigator.clipboard.write([new ClipboardItem({{"image/png": await {PICTURE}}})])"""
COPY_AS_A_WORD_PROCESSOR_DOES = f"""async () => navigator.clipboard.write([new ClipboardItem({{
    "image/png": await {PICTURE},
    "text/html": new Blob(["<b>some words</b>"], {{type: "text/html"}}),
    "text/plain": new Blob(["some words"], {{type: "text/plain"}}),
}})])"""


def drop(chat: ChatPage, place: Locator, *files: Path) -> None:
    """As the system hands them over, so that the browser does with them what it does for a person."""
    box = place.bounding_box()
    assert box is not None
    session = chat.page.context.new_cdp_session(chat.page)
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "data": data, **at})
    session.detach()


def attachments(chat: ChatPage) -> Locator:
    return chat.page.locator(".composer").get_by_role("list", name="Files").get_by_role("listitem")


def test_files_that_are_dropped_go_with_the_question(open_page: Open, echo_server: Headwater, tmp_path: Path) -> None:
    files = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for file in files:
        file.write_text(f"This is {file.name}.")
    chat = open_page(echo_server.url)
    drop(chat, chat.page.get_by_role("main"), *files)
    expect(attachments(chat)).to_have_text(["one.txt16 bytes", "two.txt16 bytes"])
    chat.page.get_by_role("button", name="Remove one.txt").click()
    expect(attachments(chat)).to_have_count(1)
    with chat.page.expect_request("**/chat/streams") as sent:
        chat.ask("What is it?")
    body = sent.value.post_data_json
    assert body is not None
    assert len(body["upload_ids"]) == 1
    expect(chat.page.locator(".question .attachment")).to_have_text(["two.txt"])
    expect(attachments(chat)).to_have_count(0)


def test_a_file_that_misses_its_place_does_not_replace_the_page(
    open_page: Open, echo_server: Headwater, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("a note")
    chat = open_page(echo_server.url)
    chat.question.fill("half a thought")
    drop(chat, chat.page.get_by_role("complementary", name="Conversations"), tmp_path / "note.txt")
    expect(chat.question).to_have_value("half a thought")
    expect(attachments(chat)).to_have_count(0)
    assert len(chat.page.context.pages) == 1, "nor is it opened beside it"


def test_a_picture_is_pasted_as_a_file_and_words_as_words(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url, permissions=["clipboard-read", "clipboard-write"])
    chat.read(COPY_AS_A_WORD_PROCESSOR_DOES)
    chat.question.press("Control+v")
    expect(chat.question).to_have_value("some words")
    expect(attachments(chat)).to_have_count(0)
    chat.read(COPY_PICTURE)
    chat.question.press("Control+v")
    expect(attachments(chat)).to_have_count(1)
    expect(attachments(chat)).to_contain_text("bytes")


def test_what_is_not_sent_waits_while_one_looks_elsewhere(
    open_page: Open, echo_server: Headwater, tmp_path: Path
) -> None:
    chat = open_page(echo_server.url)
    chat.question.fill("half a thought")
    views = chat.page.get_by_role("navigation", name="Views")
    views.get_by_role("link", name="Files").click()
    (tmp_path / "kept.txt").write_text("kept")
    drop(chat, chat.page.get_by_role("heading", name="Files", exact=True), tmp_path / "kept.txt")
    kept = chat.page.get_by_role("region", name="Kept files")
    expect(kept.get_by_role("row").nth(1)).to_contain_text("kept.txt")
    chat.page.once("dialog", lambda dialog: dialog.accept())
    kept.get_by_role("button", name="Delete kept.txt").click()
    expect(kept.get_by_text("kept.txt")).to_have_count(0)
    views.get_by_role("link", name="Chat").click()
    expect(chat.question).to_have_value("half a thought")
