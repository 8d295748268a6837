"""The built-in page at `/` with the echo engine: one asks, reads, stops, comes back."""

from playwright.sync_api import Route, expect

from tests.e2e.page.chat_page import MESSAGES_KEPT, ChatPage, Open
from tests.e2e.process import Headwater
from tests.e2e.proxy import proxying

COUNT = 120
WORDS = " ".join(f"word{number}" for number in range(COUNT))
MARKDOWN = """# Rivers

Some **bold** text and `code`.

- one
- two

| a | b |
|---|--:|
| 1 | 2 |

```python
print("hello")
```

The end."""

UNTIL_NOTHING_RUNS = """async () => {
    const main = document.querySelector("script[type=module]").src;
    const { running } = await import(new URL("answers.js", main));
    if (running.value.size > 0) await new Promise((resolve) => running.subscribe(resolve));
}"""


def has_begun(chat: ChatPage) -> None:
    expect(chat.answer).to_contain_text("word3")


def test_an_answer_is_shown_as_markdown_with_its_numbers(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    chat.ask(f"[[echo tps=100]]{MARKDOWN}")
    chat.wait_for_end()
    expect(chat.answer.locator("h1")).to_have_text("Rivers")
    expect(chat.answer.locator("li")).to_have_count(2)
    expect(chat.answer.locator("td").last).to_have_text("2")
    expect(chat.answer.locator("pre .hljs-string")).to_have_text('"hello"')
    expect(chat.answers.last.locator(".numbers")).to_contain_text("tokens/s")
    expect(chat.answers.last.locator(".numbers")).to_contain_text("first after")
    expect(chat.page).to_have_title("Headwater")


def test_a_reload_in_mid_answer_goes_on_with_it(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    chat.ask(f"[[echo tps=40]]{WORDS}")
    has_begun(chat)
    chat.page.reload()
    expect(chat.answers.last).to_have_attribute("aria-busy", "true")
    chat.wait_for_end()
    expect(chat.answer).to_have_text(WORDS)


def test_a_network_that_breaks_loses_and_repeats_nothing(open_page: Open, echo_server: Headwater) -> None:
    with proxying(echo_server.port, [300, 400]) as proxy:
        chat = open_page(proxy.url)
        chat.ask(f"[[echo tps=30]]{WORDS}")
        chat.wait_for_end()
        expect(chat.answer).to_have_text(WORDS)
        assert proxy.cut == 2


def test_escape_stops_before_the_first_token(open_page: Open, echo_server: Headwater) -> None:
    chat = open_page(echo_server.url)
    chat.ask(f"[[echo prefill_ms=600000]]{WORDS}")
    expect(chat.answers.last.get_by_role("status")).to_contain_text("Reading the question")
    chat.page.keyboard.press("Escape")
    chat.wait_for_end()
    expect(chat.answers.last).to_contain_text("stopped")


def test_a_stop_before_the_service_has_the_question_reaches_it_too(open_page: Open, echo_server: Headwater) -> None:
    chat, held = open_page(echo_server.url), list[Route]()
    chat.page.route("**/chat/streams", lambda route: held.append(route))  # noqa: PLW0108  Playwright takes no builtin
    with chat.page.expect_request("**/chat/streams"):
        chat.ask(f"[[echo prefill_ms=600000]]{WORDS}")
    chat.page.get_by_role("button", name="Stop").click()
    with chat.page.expect_request(lambda request: request.method == "DELETE"):
        held[0].continue_()
    chat.wait_for_end()
    expect(chat.answers.last).to_contain_text("stopped")


def test_a_page_that_is_left_before_the_service_has_the_question_says_so(
    open_page: Open, echo_server: Headwater
) -> None:
    chat = open_page(echo_server.url)
    chat.page.route("**/chat/streams", lambda route: None)
    with chat.page.expect_request("**/chat/streams"):
        chat.ask("lost on the way")
    expect(chat.page.get_by_role("navigation", name="Earlier conversations").get_by_role("link")).to_have_count(1)
    chat.page.clock.install()
    chat.page.reload()
    expect(chat.answers.last.get_by_role("status")).to_have_text("Asking…")
    chat.page.clock.fast_forward(20_000)
    expect(chat.answers.last.get_by_role("alert")).to_contain_text("before the service took the question")


def test_a_network_that_is_back_is_not_called_lost(open_page: Open, echo_server: Headwater) -> None:
    """Nothing need arrive for a while after it: what the answer was at is said again."""
    with proxying(echo_server.port) as proxy:
        chat = open_page(proxy.url)
        chat.ask("[[echo prefill_ms=600000]]slow")
        status = chat.answers.last.get_by_role("status")
        expect(status).to_contain_text("Reading the question: 0 of")
        proxy.cut_all()
        expect(status).to_contain_text("The connection is lost")
        expect(status).to_contain_text("Reading the question: 0 of")
        chat.page.keyboard.press("Escape")
        chat.wait_for_end()


def test_two_tabs_watch_one_answer(open_page: Open, echo_server: Headwater) -> None:
    first = open_page(echo_server.url)
    first.ask(f"[[echo tps=30]]{WORDS}")
    has_begun(first)
    second = open_page(echo_server.url, first.read("location.hash"), beside=first)
    expect(second.answers.last).to_have_attribute("aria-busy", "true")
    for chat in (first, second):
        chat.wait_for_end()
        expect(chat.answer).to_have_text(WORDS)


def test_what_one_tab_deletes_does_not_come_back_from_another(open_page: Open, echo_server: Headwater) -> None:
    first = open_page(echo_server.url)
    first.ask(f"[[echo tps=10 repeat=10]]{WORDS}")
    has_begun(first)
    second = open_page(echo_server.url, first.read("location.hash"), beside=first)
    has_begun(second)
    first.page.once("dialog", lambda dialog: dialog.accept())
    first.page.get_by_role("button", name="Delete from here on").first.click()
    second.read(UNTIL_NOTHING_RUNS)  # so whatever it writes of the answer is on its way
    for chat in (first, second):
        expect(chat.page.locator(".message")).to_have_count(0)
        chat.page.reload()
        expect(chat.question).to_be_visible()
        expect(chat.page.locator(".message")).to_have_count(0)
        assert chat.read(MESSAGES_KEPT) == 0
