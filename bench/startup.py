"""How long a start takes with everything on disk: process start to ready, and to the first streamed token.

Split into what Python imports (measured in processes that do nothing else), loading the model, and the rest.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from statistics import median

from bench import report
from bench.load import Job, read_all
from bench.servers import HOST, leave_on_sigterm, running
from bench.streams import headwater

# What a serving process imports: the command, the web edge, the engine with its libraries.
EDGE = "import service.cli, service.settings_load, service.server, service.commands.announce"
ENGINE = "import streaming.engines.torch.load"
TIMED = "import time; begin = time.perf_counter(); {}; print(time.perf_counter() - begin)"


@dataclass(frozen=True, slots=True)
class Start:
    ready_s: float
    first_token_s: float


def import_s(statement: str, before: str = "pass") -> float:
    """Seconds that a statement takes in a fresh process, after another one."""
    command = [sys.executable, "-c", f"{before}; {TIMED.format(statement)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def start_once(engine: str) -> Start:
    begin = time.perf_counter()
    with running(headwater(engine)) as server:
        (reading,) = asyncio.run(read_all(Job(HOST, server.port, "headwater", streams=1, tokens=1, first_prompt=0)))
        first_token_s = time.perf_counter() - begin - reading.finished_s + reading.arrivals_s[0]
        return Start(server.ready_after_s, first_token_s)


def main() -> None:
    leave_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", default="torch")
    options = parser.parse_args()
    header = report.machine() | {"rounds": str(options.rounds)}
    starts = [start_once(options.engine) for _ in range(options.rounds)]
    edge = median(import_s(EDGE) for _ in starts)
    libraries = median(import_s(ENGINE, EDGE) for _ in starts) if options.engine == "torch" else 0.0
    ready = median(one.ready_s for one in starts)
    parts = {
        "import edge": edge,
        "import engine": libraries,
        "load and rest": ready - edge - libraries,
        "ready": ready,
        "first token": median(one.first_token_s for one in starts),
    }
    report.show(f"Start, {options.engine}, seconds", header, [{name: f"{value:.2f}" for name, value in parts.items()}])
    path = report.save("startup", {"header": header, "parts": parts, "starts": [asdict(one) for one in starts]})
    print(f"Written to {path}")


if __name__ == "__main__":
    main()
