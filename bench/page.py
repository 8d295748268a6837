"""The built-in page in Chromium: its size on the wire, time to typing, script time a frame, memory over 50 answers.

`python -m bench.page` starts a server with the echo engine, so that the network and the model cost next to nothing and
what is left is the page. Script time is what Chromium's own trace counts on the page's main thread between two frames.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from bench.report import machine, percentile, save, show
from bench.servers import Contender, leave_on_sigterm, running

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--js-flags=--expose-gc",
    "--enable-precise-memory-info",
]
OPENINGS = 7
ANSWERS = 50
TOKENS = 4000
TOKENS_PER_SECOND = 200
WITHIN_MS = 120_000
SCRIPT = {
    "FunctionCall",
    "EvaluateScript",
    "v8.run",
    "RunMicrotasks",
    "EventDispatch",
    "TimerFire",
    "FireAnimationFrame",
}
FRAME = "FireAnimationFrame"
PART = """## Part {n}

A paragraph with **bold** words, a [link](https://example.org) and `code`, long enough to be broken over some lines of
the page, as the answers of models are.

| name | value | note |
|---|--:|---|
| first | {n} | some words here |
| second | 22 | and some more of them |

1. one thing
2. another thing
   - with something in it

```python
def part_{n}(values: list[int]) -> int:
    \"\"\"Adds them.\"\"\"
    return sum(value * {n} for value in values)
```

"""


def long_answer() -> str:
    parts = [PART.replace("{n}", str(number)) for number in range(1, 200)]
    words, used = 0, []
    for part in parts:
        used.append(part)
        words += len(part.split())
        if words >= TOKENS:
            break
    return "".join(used)


@contextmanager
def opened(browser: Browser, url: str) -> Iterator[Page]:
    context: BrowserContext = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(WITHIN_MS)
    options = {"model": "", "system": "", "temperature": "", "max_tokens": "100000", "seed": ""}
    stored = json.dumps(json.dumps(options))
    page.add_init_script(f"localStorage.setItem('headwater.options', {stored})")
    page.goto(url)
    page.wait_for_selector("#question")
    try:
        yield page
    finally:
        context.close()


def ask(page: Page, text: str) -> None:
    page.fill("#question", text)
    send(page)


def send(page: Page) -> None:
    page.press("#question", "Enter")
    page.wait_for_selector(".message.answer:last-child[aria-busy=false] .numbers")


def sizes(browser: Browser, url: str) -> tuple[int, int]:
    """Bytes with headers, and requests, of a first opening."""
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    loaded: list[float] = []
    session.on("Network.loadingFinished", lambda event: loaded.append(event["encodedDataLength"]))
    page.goto(url, wait_until="networkidle")
    context.close()
    return int(sum(loaded)), len(loaded)


def times_to_typing(browser: Browser, url: str) -> list[float]:
    """From asking for the page until the field for the question has the focus and is drawn; nothing is cached."""
    script = """() => new Promise((resolve) => {
      const isReady = () => document.activeElement?.id === "question";
      const look = () => isReady() ? requestAnimationFrame(() => resolve(performance.now())) : setTimeout(look, 1);
      look();
    })"""
    found = []
    for _ in range(OPENINGS):
        context = browser.new_context()
        page = context.new_page()
        page.goto(url, wait_until="commit")
        found.append(float(page.evaluate(script)))
        context.close()
    return found


def frames(browser: Browser, url: str) -> list[float]:
    """Script time of each frame in which something was drawn while a long answer came, in milliseconds."""
    with opened(browser, url) as page, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        page.fill("#question", f"[[echo tps={TOKENS_PER_SECOND}]]{long_answer()}")  # a second of the browser's own
        browser.start_tracing(page=page, path=path, categories=["devtools.timeline", "v8", "blink.user_timing"])
        send(page)
        browser.stop_tracing()
        return script_times(json.loads(path.read_text())["traceEvents"])


def script_times(events: list[dict[str, Any]]) -> list[float]:
    drawing = [event for event in events if event.get("name") == FRAME and event.get("ph") == "X"]
    threads = [(event["pid"], event["tid"]) for event in drawing]
    main = max(set(threads), key=threads.count)
    mine = sorted(
        (event for event in events if (event["pid"], event["tid"]) == main and event.get("ph") == "X"),
        key=lambda event: event["ts"],
    )
    found, spent, covered = [], 0.0, 0.0
    for event in mine:
        if event["name"] not in SCRIPT or event["ts"] < covered:
            continue  # inside one that is counted
        if event["name"] == FRAME:
            found.append((spent + event["dur"]) / 1000)
            spent = 0.0
        else:
            spent += event["dur"]
        covered = event["ts"] + event["dur"]
    return found


def heap_mib(page: Page) -> float:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 2**20


def memory(browser: Browser, url: str) -> list[float]:
    """The heap after each tenth of the answers, each in a conversation of its own."""
    found = []
    part = PART.replace("{n}", "1") * 8
    with opened(browser, url) as page:
        for number in range(1, ANSWERS + 1):
            page.keyboard.press("Control+Shift+N")
            page.wait_for_selector(".welcome")
            ask(page, f"[[echo tps=0]]{part}")
            if number % 10 == 0 or number == 1:
                found.append(heap_mib(page))
    return found


def main() -> None:
    leave_on_sigterm()
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, "-m", "service", "serve", "--port", "{port}", "--engine", "echo")
        environment = {"HEADWATER_DATA_DIR": folder}
        contender = Contender("headwater", command, "/readyz", "headwater", environment=environment)
        with running(contender) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            measure(browser, f"http://127.0.0.1:{server.port}/")
            browser.close()


def measure(browser: Browser, url: str) -> None:
    size, requests = sizes(browser, url)
    typing = times_to_typing(browser, url)
    begun = time.monotonic()
    drawn = frames(browser, url)
    took_s = time.monotonic() - begun
    heap = memory(browser, url)
    rows = [
        {"what": "first opening, on the wire", "figure": f"{size / 1000:.0f} kB in {requests} requests"},
        {"what": f"from open to typing, median of {OPENINGS}", "figure": f"{statistics.median(typing):.0f} ms"},
        {
            "what": f"script a frame, {TOKENS} tokens in {took_s:.0f} s",
            "figure": f"median {statistics.median(drawn):.1f} ms, p95 {percentile(drawn, 0.95):.1f} ms, "
            f"most {max(drawn):.1f} ms, {len(drawn)} frames",
        },
        {"what": f"heap after 1, 10, … {ANSWERS} answers", "figure": ", ".join(f"{one:.1f}" for one in heap) + " MiB"},
    ]
    show("The built-in page", machine(), rows)
    save("page", {"machine": machine(), "size": size, "typing_ms": typing, "script_ms": drawn, "heap_mib": heap})


if __name__ == "__main__":
    main()
