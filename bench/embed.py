"""`POST /embed` beside sentence-transformers' own `encode`, in one run: `python -m bench.embed`.

Ours answers each text over HTTP to clients that ask again as soon as they have their answer, without its cache. Theirs
runs in a process of its own, without HTTP, and gets as many texts at once as ours has clients. Rounds alternate.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import report
from bench.requests import Job, Outcome, run_client
from bench.search import known_sentences
from bench.servers import HOST, Contender, Server, leave_on_sigterm, running
from service.models.config import load_catalog
from service.models.store import ModelStore
from service.settings import Settings

ROOT = Path(__file__).parent.parent
ENVIRONMENT = ROOT / ".venv-sentence-transformers"
PYTHON = ENVIRONMENT / "bin" / "python"
HEADWATER = str(Path(sys.executable).with_name("headwater"))
PACKAGES = ("torch==2.13.0", "sentence-transformers==5.6.0")
TEXTS = 2048
ROUND_WITHIN_S = 300
ENCODE = """
import json, sys, time
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
texts = json.load(open(sys.argv[2]))
model.encode(texts[:64], batch_size=64)
print("ready", flush=True)
for line in sys.stdin:
    size, seconds = json.loads(line)
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        place = done % (len(texts) - size)
        model.encode(texts[place : place + size], batch_size=size, show_progress_bar=False)
        done += size
    print(json.dumps(done / (time.perf_counter() - begin)), flush=True)
"""


@dataclass(slots=True)
class Cell:
    clients: int
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def take(self, outcome: Outcome, theirs: float) -> None:
        self.failures += outcome.failures
        self.ours.append(outcome.per_second)
        self.theirs.append(theirs)
        self.p50_ms.append(report.percentile(outcome.latencies_s, 0.5) * 1000)
        self.p99_ms.append(report.percentile(outcome.latencies_s, 0.99) * 1000)

    def row(self) -> dict[str, str]:
        shares = [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]
        return {
            "clients": str(self.clients),
            "ours, texts/s": f"{report.middle(self.ours):.0f}",
            "encode, texts/s": f"{report.middle(self.theirs):.0f}",
            "share": f"{report.middle(shares):.2f}",
            "p50 ms": f"{report.middle(self.p50_ms):.1f}",
            "p99 ms": f"{report.middle(self.p99_ms):.1f}",
            "failed": str(len(self.failures)),
        }


class Encoder:
    """Their process, which loads the model once."""

    def __init__(self, model: Path, texts: Path) -> None:
        command = [str(PYTHON), "-c", ENCODE, str(model), str(texts)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def measure(self, size: int, seconds: float) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([size, seconds]) + "\n")
        self.process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("sentence-transformers ended")
        return line

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def texts() -> list[str]:
    """Sentences of the tests' corpus, every one different: nothing may be computed once for two."""
    known = [one for one in known_sentences() if 40 < len(one) < 240]
    return [f"{known[number % len(known)]} ({number})" for number in range(TEXTS)]


def prepare() -> None:
    if (ENVIRONMENT / "bin" / "transformers").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    constraints = str(ROOT / "constraints.txt")
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--constraint", constraints, *PACKAGES]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def model_folder() -> Path:
    """What `headwater models pull` put there: both read the same files."""
    prepared = ModelStore(Settings(_env_file=None).models_dir).prepared(load_catalog()["embeddings"])
    if prepared is None:
        raise SystemExit("the model is not here: run `headwater models pull`")
    return prepared.path


def compare(server: Server, encoder: Encoder, given: Sequence[str], options: argparse.Namespace) -> list[Cell]:
    cells = [Cell(clients) for clients in options.clients]
    bodies = tuple(json.dumps({"text": text}) for text in given)
    first = Job(HOST, server.port, "/embed", bodies, '"embedding":[', clients=8, seconds=0)
    run_client(first, ROUND_WITHIN_S)  # the model is loaded by the first question
    for number in range(options.rounds):
        for cell in cells:
            job = Job(HOST, server.port, "/embed", bodies, '"embedding":[', cell.clients, options.seconds)
            cell.take(run_client(job, ROUND_WITHIN_S), encoder.measure(cell.clients, options.seconds))
        sys.stderr.write(f"round {number + 1} of {options.rounds}\n")
    return cells


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.embed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    parser.add_argument("--clients", type=lambda text: [int(one) for one in text.split(",")], default=[1, 8, 64])
    return parser.parse_args()


def main() -> None:
    leave_on_sigterm()
    options = parse()
    prepare()
    given, model = texts(), model_folder()
    (ENVIRONMENT / "texts.json").write_text(json.dumps(given))
    command = (HEADWATER, "serve", "--engine", "echo", "--port", "{port}")
    ours = Contender("headwater", command, "/readyz", "", environment={"HEADWATER_CACHE_MAX_MIB": "0"})
    header = report.machine() | {"rounds": str(options.rounds), "seconds": str(options.seconds)}
    encoder = Encoder(model, ENVIRONMENT / "texts.json")
    try:
        with running(ours) as server:
            cells = compare(server, encoder, given, options)
    finally:
        encoder.close()
    report.show("POST /embed, one text a request", header, [cell.row() for cell in cells])
    path = report.save("embed", {"header": header, "cells": [asdict(cell) for cell in cells]})
    print(f"Written to {path}")
    for cell in cells:
        for failure in sorted(set(cell.failures))[:1]:
            print(f"{cell.clients} clients failed: {failure[:300]}")


if __name__ == "__main__":
    main()
