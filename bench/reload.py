"""Reloads of a model while 50 streams and predictions run: nothing may be dropped, and the memory comes back.

Five good reloads, a corrupt model, a missing one, and two reloads at once, spread over the time: E6 of the promises.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import skops.io
from sklearn.linear_model import LinearRegression

from bench import report
from bench.prompts import prompt
from bench.servers import HOST, Contender, Server, leave_on_sigterm, running
from service.models.config import load_catalog
from service.models.store import ModelStore
from service.settings import default_models_dir

STEPS = ("good", "good", "corrupt", "good", "missing", "good", "twice")
BAD = ("corrupt", "missing")
RELOADED_WITHIN_S = 120.0
SETTLE_S = 15.0
MIB = 1 << 20
ROW = {"feature_1": 1.0, "feature_2": 2.0}


@dataclass
class Tally:
    counts: Counter[str] = field(default_factory=Counter)
    dropped: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    silences_s: list[float] = field(default_factory=list)
    reloads_s: list[float] = field(default_factory=list)


@dataclass
class Bench:
    """`weights` is the file that makes a version: written anew, the model is another one."""

    client: httpx.AsyncClient
    name: str
    weights: Path
    tally: Tally = field(default_factory=Tally)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    outputs: dict[str, float] = field(default_factory=dict)

    async def stream_until_done(self, number: int) -> None:
        asked = number * 1_000_000
        while not self.done.is_set():
            asked += 1
            try:
                await self.stream(asked)
            except (httpx.HTTPError, ValueError, KeyError) as error:
                self.tally.dropped.append(f"stream: {error!r}")

    async def stream(self, asked: int) -> None:
        body = {"prompt": prompt(asked), "max_tokens": 16 + asked % 33, "seed": asked, "grace_s": 60}
        headers = {"Accept": "application/x-ndjson"}
        events: list[dict[str, Any]] = []
        last = time.monotonic()
        async with self.client.stream("POST", "/chat/stream", json=body, headers=headers) as answer:
            if answer.status_code != 200:
                raise ValueError(f"{answer.status_code} {(await answer.aread()).decode()}")
            try:
                async for line in answer.aiter_lines():
                    now = time.monotonic()
                    if len(events) > 2:
                        self.tally.silences_s.append(now - last)
                    last = now
                    events.append(json.loads(line))
            except httpx.RemoteProtocolError:  # how a failed answer ends
                raise ValueError(str(events[-1:])) from None
        if events[-1]["event"] != "end":
            raise ValueError(str(events[-1]))
        self.tally.counts["streams"] += 1
        self.tally.versions[events[0]["data"]["model_version"]] += 1

    async def predict_until_done(self, number: int) -> None:
        while not self.done.is_set():
            try:
                answer = await self.client.post("/predict", json={"text": prompt(number), "max_tokens": 8})
                if answer.status_code != 200:
                    raise ValueError(f"{answer.status_code} {answer.text}")
            except (httpx.HTTPError, ValueError) as error:
                self.tally.dropped.append(f"prediction: {error!r}")
            self.tally.counts["predictions"] += 1

    async def ask_table_until_done(self) -> None:
        """Every answer is that of the version that it names."""
        while not self.done.is_set():
            try:
                answer = await self.client.post(f"/predict/{self.name}", json=ROW)
                if answer.status_code != 200:
                    raise ValueError(f"{answer.status_code} {answer.text}")
                told = answer.json()
                known = self.outputs.setdefault(told["model_version"], told["prediction"])
                if known != told["prediction"]:
                    raise ValueError(f"{told} is not of the version that it names")
                self.tally.versions[told["model_version"]] += 1
            except (httpx.HTTPError, ValueError, KeyError) as error:
                self.tally.dropped.append(f"table: {error!r}")
            self.tally.counts["answers"] += 1

    def askers(self, count: int) -> "list[asyncio.Task[None]]":
        if self.name == "table":
            return [asyncio.create_task(self.ask_table_until_done()) for _ in range(count)]
        streams = [asyncio.create_task(self.stream_until_done(number)) for number in range(count)]
        return [*streams, *(asyncio.create_task(self.predict_until_done(number)) for number in range(2))]

    async def reload(self, times: int = 1) -> dict[str, Any]:
        """The model as it is told when the load is over."""
        began = time.monotonic()
        answers = await asyncio.gather(*(self.client.post(f"/models/{self.name}/reload") for _ in range(times)))
        if any(answer.status_code != 202 for answer in answers):
            raise ValueError(str([answer.text for answer in answers]))
        while (told := (await self.client.get(f"/models/{self.name}")).json())["is_loading"]:
            await asyncio.sleep(0.1)
            if time.monotonic() - began > RELOADED_WITHIN_S:
                raise ValueError("the reload does not end")
        self.tally.reloads_s.append(time.monotonic() - began)
        return dict(told)

    def write_anew(self) -> None:
        if self.name == "table":
            write_table(self.weights, slope=time.monotonic())
        else:
            os.utime(self.weights)

    async def good(self, times: int = 1) -> None:
        before = (await self.client.get(f"/models/{self.name}")).json()["version"]
        self.write_anew()
        told = await self.reload(times)
        self.tally.counts["good reloads"] += 1
        if told["failure"] or told["version"] == before:
            self.tally.dropped.append(f"reload: {told['failure']}")

    async def bad(self, kind: str) -> None:
        """The old one goes on, and says why."""
        before = (await self.client.get(f"/models/{self.name}")).json()["version"]
        aside = self.weights.with_name("aside")
        self.weights.rename(aside)
        if kind == "corrupt":
            self.weights.write_bytes(b"no model at all" * 1000)
        told = await self.reload()
        aside.replace(self.weights)
        self.tally.counts[f"{kind} reloads refused"] += bool(told["failure"])
        ready = (await self.client.get("/readyz")).status_code
        if told["version"] != before or not told["failure"] or ready != 200:
            self.tally.dropped.append(f"{kind}: {told}, {ready}")


def write_table(path: Path, slope: float) -> None:
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    draft = path.with_suffix(".new")
    skops.io.dump(LinearRegression().fit(rows, rows[:, 0] * slope), draft)
    draft.replace(path)


async def measured(server: Server, name: str, weights: Path, askers: int, seconds: float) -> dict[str, str]:
    limits = httpx.Limits(max_connections=None)
    url = f"http://{HOST}:{server.port}"
    async with httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(180), limits=limits) as client:
        bench = Bench(client, name, weights)
        asking = bench.askers(askers)
        pause_s = seconds / (len(STEPS) + 1)
        await asyncio.sleep(pause_s)
        before = peak = server.resident_bytes()
        for step in STEPS:
            began = time.monotonic()
            await (bench.bad(step) if step in BAD else bench.good(times=2 if step == "twice" else 1))
            peak = max(peak, server.resident_bytes())
            await asyncio.sleep(max(pause_s - (time.monotonic() - began), 0))
        bench.done.set()
        await asyncio.gather(*asking)
        await asyncio.sleep(SETTLE_S)
        return row(bench.tally, before, peak, server.resident_bytes())


def row(tally: Tally, before: int, peak: int, after: int) -> dict[str, str]:
    return {
        **{name: str(count) for name, count in tally.counts.items()},
        "dropped": str(len(tally.dropped)),
        "versions": str(len(tally.versions)),
        "reload, s": f"{report.middle(tally.reloads_s):.1f} (longest {max(tally.reloads_s):.1f})",
        "silence in a stream, s": f"p99 {report.percentile(tally.silences_s, 0.99):.2f}, "
        f"longest {max(tally.silences_s, default=0):.2f}",
        "memory, MiB": f"{before / MIB:.0f} before, {peak / MIB:.0f} at most, {after / MIB:.0f} after",
        "first dropped": "; ".join(tally.dropped[:3]),
    }


def entry_of(name: str, root: Path) -> tuple[str, Path]:
    """A line of models.toml, and the file that makes the model."""
    if name == "table":
        weights = root / "table.skops"
        write_table(weights, slope=1.0)
        features = ", ".join(f'"{one}"' for one in ROW)
        return f'kind = "tabular"\nload = "start"\nsource = "file:{weights}"\nfeatures = [{features}]', weights
    prepared = ModelStore(default_models_dir()).prepared(load_catalog()["default"])
    if prepared is None:
        sys.exit("run `headwater models pull`")
    folder = root / "model"
    shutil.copytree(prepared.path, folder)
    return f'source = "file:{folder}"', folder / "model.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=("default", "table"), default="default")
    parser.add_argument("--askers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=90)
    given = parser.parse_args()
    leave_on_sigterm()
    with tempfile.TemporaryDirectory() as root:
        entry, weights = entry_of(given.model, Path(root))
        engine = "" if given.model == "default" else '[models.default]\nuse = "default"\nload = false\n'
        (Path(root) / "models.toml").write_text(f"[models.{given.model}]\n{entry}\n{engine}")
        environment = {
            "HEADWATER_MODELS": f"{root}/models.toml",
            "HEADWATER_MODELS_DIR": f"{root}/models",
            "HEADWATER_DATA_DIR": f"{root}/data",
        }
        command = (sys.executable, "-m", "service", "serve", "--pull", "--port", "{port}")
        with running(Contender("headwater", command, "/readyz", "headwater", environment=environment)) as server:
            found = asyncio.run(measured(server, given.model, weights, given.askers, given.seconds))
    report.show(f"Reloads of {given.model} while {given.askers} ask", report.machine(), [found])
    report.save(f"reload-{given.model}", {"machine": report.machine(), "rows": [found]})
    sys.exit(0 if found["dropped"] == "0" else 1)


if __name__ == "__main__":
    main()
