"""What else a person does with the page: asks otherwise, tidies up, uses keyboard and phone, has no network."""

import json
from pathlib import Path

from playwright.sync_api import Locator, expect

from tests.e2e.page.chat_page import MESSAGES_KEPT, ChatPage, Open
from tests.e2e.process import Headwater

PHONE = {"width": 390, "height": 844}


def asked(chat: ChatPage, text: str) -> None:
    before = chat.answers.count()
    chat.ask(text)
    expect(chat.answers).to_have_count(before + 1)
    chat.wait_for_end()


def conversations(chat: ChatPage) -> Locator:
    return chat.page.get_by_role("navigation", name="Earlier conversations").get_by_role("link")


def test_what_is_edited_or_answered_again_stands_beside_the_first(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    asked(chat, "first question")
    asked(chat, "what follows")
    chat.page.get_by_role("button", name="Edit and ask again").first.click()
    chat.page.get_by_role("textbox", name="Your message, changed").fill("second question")
    chat.page.keyboard.press("Enter")
    expect(chat.answers).to_have_count(1)
    expect(chat.answer).to_have_text("second question")
    chat.wait_for_end()
    chat.page.get_by_role("button", name="Answer again").click()
    expect(chat.answers.last).to_contain_text("2 / 2")
    chat.page.reload()
    expect(chat.page.locator(".question")).to_contain_text("2 / 2")
    chat.page.locator(".question").get_by_role("button", name="The version before").click()
    expect(chat.answers).to_have_count(2)
    expect(chat.answer).to_have_text("what follows")
    chat.page.once("dialog", lambda dialog: dialog.accept())
    chat.page.get_by_role("button", name="Delete from here on").nth(2).click()
    expect(chat.answers).to_have_count(1)


def test_a_failure_is_said_in_words_and_can_be_tried_again(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    chat.ask("[[echo fail_at=2]]one two three")
    chat.wait_for_end()
    expect(chat.answers.last.get_by_role("alert")).to_contain_text("told to fail")
    chat.answers.last.get_by_role("button", name="Try again").click()
    expect(chat.answers.last).to_contain_text("2 / 2")


def test_conversations_are_found_renamed_carried_away_and_brought_back(
    open_page: Open, echo_server: Headwater, tmp_path: Path
) -> None:
    chat = open_page(echo_server.url)
    asked(chat, "about rivers and their bends")
    chat.page.keyboard.press("Control+Shift+N")
    expect(chat.answers).to_have_count(0)
    asked(chat, "about mountains")
    expect(conversations(chat)).to_have_count(2)
    chat.page.keyboard.press("Control+k")
    expect(chat.page.get_by_role("searchbox", name="Search conversations")).to_be_focused()
    chat.page.keyboard.type("bends")
    expect(conversations(chat)).to_have_text(["about rivers and their bends"])
    chat.page.get_by_role("button", name="More about about rivers").click()
    expect(chat.page.get_by_role("menuitem", name="Rename")).to_be_focused()
    chat.page.keyboard.press("Enter")
    chat.page.get_by_role("textbox", name="Title").fill("Meanders")
    chat.page.keyboard.press("Enter")
    expect(conversations(chat)).to_have_text(["Meanders"])
    with chat.page.expect_download() as download:
        chat.page.get_by_role("button", name="Export all").click()
    file = tmp_path / "all.json"
    download.value.save_as(file)
    assert {one["title"] for one in json.loads(file.read_text())["conversations"]} == {"Meanders", "about mountains"}
    other = open_page(echo_server.url)
    other.page.get_by_label("Import").set_input_files(file)
    expect(conversations(other)).to_have_count(2)
    conversations(other).filter(has_text="Meanders").click()
    expect(other.answer).to_have_text("about rivers and their bends")
    other.page.get_by_label("Import").set_input_files({"name": "x.json", "mimeType": "", "buffer": b"[1]"})
    expect(other.page.get_by_text("This file was not imported")).to_be_visible()


def test_a_file_whose_parts_are_not_as_they_should_be_is_not_imported(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    conversation = {"id": "a", "title": "x", "created": 1, "updated": 1, "chosen": {}}
    message = {"id": "b", "conversation": "a", "parent": "", "role": "assistant", "text": "x", "at": 1}
    for wrong in ({"timings": {"tokens_per_second": "5"}}, {"attachments": "ab"}, {"citations": [None]}):
        file = {"format": "headwater-conversations", "version": 1, "conversations": [conversation]}
        content = json.dumps({**file, "messages": [{**message, **wrong}]}).encode()
        chat.page.get_by_label("Import").set_input_files({"name": "x.json", "mimeType": "", "buffer": content})
        expect(chat.page.get_by_text("This file was not imported: something in it")).to_be_visible()
        chat.page.reload()
        expect(conversations(chat)).to_have_count(0)


def test_what_was_said_is_copied_as_it_was_written(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url, permissions=["clipboard-read", "clipboard-write"])
    asked(chat, "Some **bold** text\n\n```python\nx = 1\n```")
    answer = chat.answers.last
    answer.get_by_role("button", name="Copy code").click()
    expect(answer.get_by_role("button", name="Copy code")).to_have_text("Copied")
    assert chat.read("navigator.clipboard.readText()") == "x = 1"
    answer.get_by_role("button", name="Copy", exact=True).click()
    expect(answer.get_by_role("status")).to_have_text("Copied")
    assert chat.read("navigator.clipboard.readText()") == "Some **bold** text\n\n```python\nx = 1\n```"


def test_a_conversation_that_is_deleted_is_gone_from_the_disk(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    asked(chat, "a secret")
    chat.page.get_by_role("button", name="More about a secret").click()
    chat.page.once("dialog", lambda dialog: dialog.accept())
    chat.page.get_by_role("menuitem", name="Delete").click()
    expect(chat.page.get_by_text("What would you like to know?")).to_be_visible()
    expect(conversations(chat)).to_have_count(0)
    chat.page.reload()
    with chat.page.expect_download() as download:
        chat.page.get_by_role("button", name="Export all").click()
    assert json.loads(download.value.path().read_text())["messages"] == []
    assert chat.read(MESSAGES_KEPT) == 0


def test_a_browser_that_keeps_nothing_is_enough_to_ask(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    chat.page.add_init_script("""for (const name of ["localStorage", "sessionStorage", "indexedDB"])
        Object.defineProperty(window, name, {get() { throw new DOMException("denied", "SecurityError"); }});""")
    chat.open()
    expect(chat.page.get_by_text("This browser does not keep conversations")).to_be_visible()
    asked(chat, "still there?")
    expect(chat.answer).to_have_text("still there?")


def test_the_keyboard_is_enough(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    expect(chat.question).to_be_focused()
    keys = chat.page.keyboard
    keys.type("one line")
    keys.press("Shift+Enter")
    keys.type("and another")
    keys.press("Enter")
    chat.wait_for_end()
    expect(chat.answer).to_have_text("one line and another")
    for _ in range(40):
        keys.press("Shift+Tab")
        if chat.read("document.activeElement.getAttribute('aria-label')") == "Options":
            break
    keys.press("Enter")
    expect(chat.page.get_by_role("dialog", name="Options")).to_be_visible()
    keys.press("Escape")
    expect(chat.page.get_by_role("dialog")).to_have_count(0)
    assert chat.read("document.activeElement.getAttribute('aria-label')") == "Options"


def test_the_options_reach_the_service(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    chat.page.get_by_role("button", name="Options").click()
    chat.page.get_by_label("Longest answer").fill("2")
    chat.page.get_by_label("Seed").fill("7")
    chat.page.get_by_role("button", name="Close").click()
    with chat.page.expect_request("**/chat/streams") as sent:
        chat.ask("one two three four")
    body = sent.value.post_data_json
    assert body is not None
    assert (body["max_tokens"], body["seed"]) == (2, 7)
    chat.wait_for_end()
    expect(chat.answer).to_have_text("one two")
    expect(chat.answers.last.locator(".numbers")).to_contain_text("cut at the longest length")


def background(chat: ChatPage) -> int:
    red = chat.read("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]")
    return int(red)


def test_the_dark_follows_the_system_until_somebody_chooses(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url, color_scheme="dark")
    assert background(chat) < 64
    chat.page.get_by_role("button", name="Options").click()
    chat.page.get_by_label("Light").check()
    assert background(chat) > 192
    chat.page.reload()
    expect(chat.question).to_be_visible()
    assert background(chat) > 192


def test_a_phone_shows_everything_without_scrolling_sideways(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url, viewport=PHONE, has_touch=True, is_mobile=True)
    asked(chat, "| a | b | c | d |\n|---|---|---|---|\n" + f"| {'wide ' * 30}" * 4 + "|\n\n```\n" + "x" * 300 + "\n```")
    expect(chat.answer.locator("td")).to_have_count(4)
    assert chat.read("document.documentElement.scrollWidth") <= PHONE["width"]
    sidebar = chat.page.get_by_role("complementary", name="Conversations")
    expect(sidebar).to_be_hidden()
    chat.page.get_by_role("button", name="Conversations").first.tap()
    expect(sidebar).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(sidebar).to_be_hidden()
    chat.page.get_by_role("button", name="Conversations").first.tap()
    conversations(chat).first.tap()
    expect(sidebar).to_be_hidden()


def test_without_a_network_the_page_opens_with_what_was_said(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    chat.read("() => navigator.serviceWorker.ready.then(() => null)")
    chat.page.reload()  # now through the worker, which keeps what it hands on
    asked(chat, "remember this")
    chat.page.context.set_offline(True)
    chat.page.reload()
    expect(chat.answer).to_have_text("remember this")
    chat.ask("is anybody there?")
    expect(chat.answers.last.get_by_role("alert")).to_contain_text("The service cannot be reached")


def test_a_screen_reader_hears_sentences(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    chat.read("""() => {
        window.heard = [];
        const note = (all) => all.forEach((one) => one.addedNodes.forEach(hear));
        const hear = (node) => heard.push(node.textContent);
        new MutationObserver(note).observe(document.getElementById("speech"), {childList: true});
    }""")
    chat.ask("[[echo tps=40]]The **sea** is calm. The wind is not! And\nthe rest")
    chat.wait_for_end()
    expect(chat.page.locator("#speech")).to_contain_text("the rest")
    heard = chat.read("window.heard")
    assert " ".join(heard) == "The sea is calm. The wind is not! And the rest"
    assert len(heard) < 8
