"""Takes the pictures of the built-in page from a real run: `python docs/pictures/make_page.py --url …`.

The server at the address should have the default model. A conversation is held, then one with a file and two questions,
which is shown at desktop and phone size, in the light and in the dark.
"""

import argparse
import json
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FOLDER = Path(__file__).parent
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
WITHIN_MS = 120_000
OPTIONS = {"model": "", "system": "", "temperature": "0", "max_tokens": "160", "seed": "1"}
REPORT = """Report on the pumps

The workshop repaired eleven pumps in spring and nine in autumn.

The large pump BX-40 costs 1,250 euros. The buyer pays for the delivery.
"""


def converse(page: Page) -> None:
    ask(page, "Write a Python function that adds two numbers.")
    page.get_by_role("button", name="New conversation").click()
    page.locator("input[type=file][multiple]").set_input_files(
        {"name": "pumps.txt", "mimeType": "text/plain", "buffer": REPORT.encode()}
    )
    ask(page, "What does the large pump BX-40 cost?")
    ask(page, "How many pumps did the workshop repair in autumn?")


def ask(page: Page, text: str) -> None:
    expect(page.locator(".attachment progress")).to_have_count(0, timeout=WITHIN_MS)
    before = page.locator(".message.answer").count()
    page.fill("#question", text)
    page.press("#question", "Enter")
    expect(page.locator(".message.answer")).to_have_count(before + 1, timeout=WITHIN_MS)
    expect(page.locator(".message.answer").last).to_have_attribute("aria-busy", "false", timeout=WITHIN_MS)


def take(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport=DESKTOP, device_scale_factor=2, reduced_motion="reduce")
    page.add_init_script(f"localStorage.setItem('headwater.options', {json.dumps(json.dumps(OPTIONS))})")
    page.goto(url)
    converse(page)
    page.mouse.move(1, 1)  # away from what lights up under it
    for name, size in (("page", DESKTOP), ("page-phone", PHONE)):
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.locator(".scroller").evaluate("element => element.scrollTo(0, 0)")
            page.screenshot(path=FOLDER / f"{name}-{scheme}.png")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--url", default="http://127.0.0.1:8000")
    url = arguments.parse_args().url
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--headless", "--no-sandbox"])
        take(browser, url)
        browser.close()


if __name__ == "__main__":
    main()
