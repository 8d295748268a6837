"""`POST /predict` with features beside a bare FastAPI route and LitServe, in one run: `python -m bench.features`.

All three compute the same weighted sum. Rounds alternate between the servers; medians of the rounds are reported, and
the share of the bare route is the median of the rounds' shares.
"""

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import report
from bench.requests import Job, Outcome, run_client
from bench.servers import HOST, Contender, Server, leave_on_sigterm, running

ROOT = Path(__file__).parent.parent
LITSERVE = ROOT / ".venv-litserve"
HEADWATER = str(Path(sys.executable).with_name("headwater"))
BODIES = tuple(json.dumps({"features": [1.0 + number, 2.0, 3.0, 4.0], "scale_factor": 2.0}) for number in range(8))
ROUND_WITHIN_S = 120
BARE = """
import sys, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

WEIGHTS = (0.25, -0.5, 1.25, 0.0)
app = FastAPI()

class Body(BaseModel):
    features: list[float]
    scale_factor: float = 1.0

@app.get("/health")
async def health():
    return {"status": "healthy"}

@app.post("/predict")
async def predict(body: Body):
    total = sum(weight * feature for weight, feature in zip(WEIGHTS, body.features, strict=True))
    return {"prediction": total * body.scale_factor, "status": "success"}

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
"""
LIT = """
import sys
import litserve

WEIGHTS = (0.25, -0.5, 1.25, 0.0)

class Linear(litserve.LitAPI):
    def setup(self, device):
        self.weights = WEIGHTS
    def decode_request(self, request):
        return request["features"], request.get("scale_factor", 1.0)
    def predict(self, asked):
        features, scale_factor = asked
        return sum(weight * one for weight, one in zip(self.weights, features, strict=True)) * scale_factor
    def encode_response(self, output):
        return {"prediction": output, "status": "success"}

if __name__ == "__main__":
    server = litserve.LitServer(Linear(), accelerator="cpu", fast_queue=True)
    address = {"host": "127.0.0.1", "port": int(sys.argv[1])}
    server.run(**address, num_api_servers=1, log_level="warning", generate_client_file=False)
"""


@dataclass(slots=True)
class Cell:
    server: str
    clients: int
    per_second: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def take(self, outcome: Outcome) -> None:
        self.failures += outcome.failures
        self.per_second.append(outcome.per_second)
        self.p50_ms.append(report.percentile(outcome.latencies_s, 0.5) * 1000)
        self.p99_ms.append(report.percentile(outcome.latencies_s, 0.99) * 1000)

    def row(self, bare: "Cell") -> dict[str, str]:
        shares = [ours / theirs for ours, theirs in zip(self.per_second, bare.per_second, strict=True) if theirs]
        return {
            "server": self.server,
            "clients": str(self.clients),
            "requests/s": f"{report.middle(self.per_second):.0f}",
            "of the bare route": f"{report.middle(shares):.2f}",
            "p50 ms": f"{report.middle(self.p50_ms):.2f}",
            "p99 ms": f"{report.middle(self.p99_ms):.2f}",
            "failed": str(len(self.failures)),
        }


def contenders() -> list[Contender]:
    """LitServe has an environment of its own, made once, with the versions that we use ourselves."""
    headwater = (HEADWATER, "serve", "--engine", "echo", "--port", "{port}")
    bare = (sys.executable, str(LITSERVE / "bare.py"), "{port}")
    lit = (str(LITSERVE / "bin" / "python"), str(LITSERVE / "linear.py"), "{port}")
    return [
        Contender("headwater", headwater, "/readyz", ""),
        Contender("bare FastAPI route", bare, "/health", ""),
        Contender("LitServe", lit, "/health", ""),
    ]


def prepare() -> None:
    if not (LITSERVE / "bin" / "litserve").exists():
        python = str(LITSERVE / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", str(LITSERVE)], check=True)
        constraints = str(ROOT / "constraints.txt")
        command = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints, "litserve==0.2.19"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    (LITSERVE / "linear.py").write_text(LIT)  # its workers are started anew from the file
    (LITSERVE / "bare.py").write_text(BARE)


def measure(server: Server, clients: int, seconds: float) -> Outcome:
    return run_client(Job(HOST, server.port, "/predict", BODIES, '"prediction":', clients, seconds), ROUND_WITHIN_S)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.features", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--clients", type=lambda text: [int(one) for one in text.split(",")], default=[1, 16, 64])
    return parser.parse_args()


def main() -> None:
    leave_on_sigterm()
    options = parse()
    prepare()
    header = report.machine() | {"rounds": str(options.rounds), "seconds": str(options.seconds)}
    names = [one.name for one in contenders()]
    cells = {(name, clients): Cell(name, clients) for clients in options.clients for name in names}
    with ExitStack() as stack:
        servers = [stack.enter_context(running(one)) for one in contenders()]
        for number in range(options.rounds):
            for clients in options.clients:
                for server in servers:
                    cells[server.contender.name, clients].take(measure(server, clients, options.seconds))
            sys.stderr.write(f"round {number + 1} of {options.rounds}\n")
    rows = [cell.row(cells["bare FastAPI route", cell.clients]) for cell in cells.values()]
    report.show("POST /predict with four features", header, rows)
    path = report.save("features", {"header": header, "cells": [asdict(cell) for cell in cells.values()]})
    print(f"Written to {path}")
    for cell in cells.values():
        for failure in sorted(set(cell.failures))[:1]:
            print(f"{cell.server}, {cell.clients} clients failed: {failure[:300]}")


if __name__ == "__main__":
    main()
