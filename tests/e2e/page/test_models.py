"""The views of models: what there is, and a form for each from its own schema."""

import httpx
from playwright.sync_api import expect

from tests.e2e.page.chat_page import Open
from tests.e2e.process import Headwater


def test_every_model_is_shown_with_its_state_and_version(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url, "#/models")
    cards = chat.page.locator(".card")
    expect(cards.filter(has_text="default")).to_contain_text("ready")
    expect(cards.filter(has_text="default")).to_contain_text("echo-1")
    linear = cards.filter(has=chat.page.get_by_role("heading", name="linear", exact=True))
    linear.get_by_text("Versions").click()
    expect(linear.get_by_role("button", name="Load the newest")).to_be_visible()


def test_the_models_are_shown_once_the_network_is_back(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url, "#/models")
    cards, views = chat.page.locator(".card"), chat.page.get_by_role("navigation", name="Views")
    expect(cards.first).to_be_visible()
    views.get_by_role("link", name="Chat").click()
    chat.page.context.set_offline(True)
    views.get_by_role("link", name="Models").click()
    expect(chat.page.get_by_role("alert")).to_contain_text("The service cannot be reached")
    chat.page.context.set_offline(False)
    expect(cards.first).to_be_visible()
    expect(chat.page.get_by_role("alert")).to_have_count(0)


def test_a_form_from_the_schema_asks_the_model(open_page: Open, echo_server: Headwater) -> None:
    asked = httpx.post(f"{echo_server.url}/predict/linear", json={"features": [1, 2, 3, 4]}, timeout=60)
    assert asked.status_code == 200, "it is loaded, so its schema is known"
    chat = open_page(echo_server.url, "#/try")
    form = chat.page.get_by_role("main")
    form.get_by_role("combobox", name="Model").select_option("linear")
    form.get_by_label("features").fill("1, 2, 3, 4")
    form.get_by_role("button", name="Ask").click()
    expect(form.get_by_role("region", name="Answer").locator(".told")).to_have_text("3")
    form.get_by_label("features").fill("1, 2")
    form.get_by_role("button", name="Ask").click()
    expect(form.get_by_role("alert")).to_be_visible()
    form.get_by_role("combobox", name="Model").select_option("default")
    form.locator("textarea").first.fill("say this")
    form.get_by_role("button", name="Ask").click()
    expect(form.get_by_role("region", name="Answer").locator(".told")).to_have_text("say this")
