"""A service that asks who calls, with room for one answer at a time: signing in, who may do what, the line."""

import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Locator, Route, expect

from tests.e2e.page.chat_page import WITHIN_MS, ChatPage, Open
from tests.e2e.process import Headwater, free_port, serving, wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headwater]:
    log = tmp_path_factory.mktemp("closed") / "log"
    closed = {
        "HEADWATER_ACCESS__REQUIRED": "true",
        "HEADWATER_ACCESS__JWT_SECRET": "of these tests alone, and long enough",
        "HEADWATER_MAX_RUNNING": "1",
    }
    with serving(log, free_port(), "--engine", "echo", **closed) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: Headwater) -> str:
    return new_key(server)


def told(server: Headwater, *arguments: str, given: str = "") -> str:
    """What the command said."""
    command = [sys.executable, "-m", "service", *arguments]
    environment = {**os.environ, "HEADWATER_DATA_DIR": str(server.log.parent / "data")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment, input=given)
    return done.stdout


def new_key(server: Headwater, *scopes: str) -> str:
    options = [part for scope in scopes for part in ("--scope", scope)]
    made = told(server, "keys", "create", "ann", *options).split()[-1]
    wait_until(lambda: is_let_in(server, made), WITHIN_MS / 1000, "the service knows the new key")
    return made


def is_let_in(server: Headwater, key: str) -> bool:
    return httpx.get(f"{server.url}/models", headers={"X-API-Key": key}, timeout=WITHIN_MS / 1000).status_code == 200


def want_to_sign_in(chat: ChatPage) -> Locator:
    """The page may have asked by itself already; then a click on what is behind its dialog changes nothing."""
    chat.page.locator(".foot button", has_text="Sign in").dispatch_event("click")
    return chat.page.get_by_role("dialog", name="Sign in")


def sign_in(dialog: Locator, key: str, *, is_kept: bool) -> None:
    dialog.get_by_label("Key", exact=True).fill(key)
    dialog.get_by_role("checkbox").set_checked(is_kept)
    dialog.get_by_role("button", name="Sign in").click()


def test_a_key_lets_one_in_and_is_kept_only_when_asked_to(open_page: Open, server: Headwater, key: str) -> None:
    chat = open_page(server.url, "#/files")
    dialog = want_to_sign_in(chat)
    sign_in(dialog, "hw_wrong", is_kept=False)
    expect(dialog.get_by_role("alert")).to_have_text("The key or token is not valid.")
    sign_in(dialog, key, is_kept=True)
    expect(dialog).to_have_count(0)
    expect(chat.page.get_by_text("No files yet.")).to_be_visible()
    expect(chat.page.get_by_role("alert")).to_have_count(0)
    assert key not in chat.read("JSON.stringify(localStorage)")
    assert key in chat.read("JSON.stringify(sessionStorage)")
    chat.open().page.reload()
    chat.ask("[[echo tps=20]]three four five six seven eight nine ten")
    expect(chat.answer).to_contain_text("three")
    chat.page.reload()
    expect(chat.answer).to_have_text("three four five six seven eight nine ten")
    chat.page.get_by_role("button", name="Sign out").click()
    assert chat.read("sessionStorage.length") == 0


def test_a_late_refusal_does_not_ask_again_who_has_signed_in_since(
    open_page: Open, server: Headwater, key: str
) -> None:
    chat, late = open_page(server.url), list[Route]()
    chat.page.route("**/uploads?*", lambda route: route.continue_() if late else late.append(route))
    dialog = want_to_sign_in(chat)
    with chat.page.expect_request("**/uploads?*"):
        chat.page.evaluate("location.hash = '#/files'")
    sign_in(dialog, key, is_kept=False)
    expect(chat.page.get_by_text("No files yet.")).to_be_visible()
    with chat.page.expect_response(lambda answer: answer.status == 401):
        late[0].continue_()
    chat.page.evaluate("new Promise((resolve) => setTimeout(resolve))")
    expect(chat.page.get_by_role("alert")).to_have_count(0)
    expect(dialog).to_have_count(0)


def test_a_name_and_a_password_let_one_in(open_page: Open, server: Headwater) -> None:
    told(server, "users", "set", "ann", given="correct horse battery\n")
    chat = open_page(server.url)
    dialog = want_to_sign_in(chat)
    dialog.get_by_role("radio", name="Password").check()
    dialog.get_by_label("Name").fill("ann")
    field = dialog.get_by_role("textbox", name="Password")
    field.fill("correct horse")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    field.fill("correct horse battery")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_have_count(0)
    chat.ask("who is there?")
    expect(chat.answer).to_have_text("who is there?")
    chat.wait_for_end()
    assert chat.read("sessionStorage.length") == 0


def test_an_admin_loads_a_version_and_nobody_else(open_page: Open, server: Headwater, key: str) -> None:
    admin = new_key(server, "predict", "admin")
    for held, is_allowed in ((key, False), (admin, True)):
        chat = open_page(server.url, "#/models")
        sign_in(want_to_sign_in(chat), held, is_kept=False)
        card = chat.page.locator(".card").filter(has=chat.page.get_by_role("heading", name="linear", exact=True))
        card.get_by_text("Versions").click()
        card.get_by_role("button", name="Load the newest").click()
        if is_allowed:
            expect(card.locator("[data-state=ready]")).to_be_visible()
            expect(card.locator("code").first).not_to_have_text("none")
        else:
            expect(chat.page.get_by_role("alert")).to_contain_text("admin")
            expect(card).to_contain_text("loads when it is asked")


def test_who_loses_the_key_hears_the_answer_out_and_is_asked_for_another(
    open_page: Open, server: Headwater, key: str
) -> None:
    lost, words = new_key(server), "three four five six seven eight nine ten"
    chat = open_page(server.url)
    dialog = want_to_sign_in(chat)
    sign_in(dialog, lost, is_kept=True)
    chat.ask(f"[[echo tps=4]]{words}")
    expect(chat.answer).to_contain_text("three")
    told(server, "keys", "revoke", lost.split("_")[1])
    chat.wait_for_end()
    expect(chat.answer).to_have_text(words)
    wait_until(lambda: not is_let_in(server, lost), WITHIN_MS / 1000, "the service knows that the key is revoked")
    chat.ask("and now?")
    expect(dialog).to_contain_text("The service does not take this key.")
    assert chat.read("sessionStorage.length") == 0
    sign_in(dialog, key, is_kept=False)
    chat.answers.last.get_by_role("button", name="Try again").click()
    expect(chat.answer).to_have_text("and now?")
    chat.wait_for_end()


def test_the_place_in_the_line_is_told(open_page: Open, server: Headwater, key: str) -> None:
    first, second = open_page(server.url), open_page(server.url)
    for chat in (first, second):
        dialog = want_to_sign_in(chat)
        sign_in(dialog, key, is_kept=False)
        expect(dialog).to_have_count(0)
    assert first.read("sessionStorage.length") == 0
    first.ask("[[echo prefill_ms=600000]]slow")
    waits = first.answers.last.get_by_role("status")
    expect(waits).to_contain_text("Reading the question: 0 of")
    expect(waits.get_by_role("progressbar")).to_be_visible()
    second.ask("quick")
    expect(second.answers.last.get_by_role("status")).to_contain_text("Number 1 in the line")
    first.page.keyboard.press("Escape")
    expect(second.answer).to_have_text("quick")
