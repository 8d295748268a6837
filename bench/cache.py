"""How long an answer from the cache takes; how often a thousand equal questions are computed: `python -m bench.cache`.

One server with the default embedding model. What was computed is read from its own `headwater_batch_items`.
"""

import argparse
import json
import sys
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench import report
from bench.requests import Job, run_client
from bench.search import known_sentences
from bench.servers import HOST, Contender, Server, leave_on_sigterm, running

HEADWATER = str(Path(sys.executable).with_name("headwater"))
ROUND_WITHIN_S = 120
AT_ONCE = 1000


def computed(server: Server) -> int:
    with urllib.request.urlopen(f"http://{HOST}:{server.port}/metrics", timeout=30) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = [sample for family in families for sample in family.samples]
    return int(next(sample.value for sample in samples if sample.name == "headwater_batch_items_sum"))


def ask(server: Server, text: str, *, clients: int, seconds: float, warm_s: float = 0.0) -> dict[str, str]:
    body = json.dumps({"text": text})
    before = computed(server)
    job = Job(HOST, server.port, "/embed-cached", (body,), '"embedding":[', clients, seconds, warm_s)
    outcome = run_client(job, ROUND_WITHIN_S)
    return {
        "clients": str(clients),
        "answers": str(len(outcome.latencies_s)),
        "computed": str(computed(server) - before),
        "answers/s": f"{outcome.per_second:.0f}" if seconds else "",
        "p50 ms": f"{report.percentile(outcome.latencies_s, 0.5) * 1000:.2f}",
        "p99 ms": f"{report.percentile(outcome.latencies_s, 0.99) * 1000:.2f}",
        "failed": str(len(outcome.failures)),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cache", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    return parser.parse_args()


def main() -> None:
    leave_on_sigterm()
    options = parse()
    texts = known_sentences()
    command = (HEADWATER, "serve", "--engine", "echo", "--port", "{port}")
    header = report.machine() | {"seconds": str(options.seconds)}
    with running(Contender("headwater", command, "/readyz", "")) as server:
        ask(server, texts[0], clients=1, seconds=0.1)  # the model is loaded by the first question
        rows = [
            {"what": "answers from the cache"} | ask(server, texts[0], clients=1, seconds=options.seconds, warm_s=0.5),
            {"what": "the same"} | ask(server, texts[0], clients=16, seconds=options.seconds, warm_s=0.5),
            {"what": "a thousand at once"} | ask(server, texts[1], clients=AT_ONCE, seconds=0.0),
        ]
    report.show("POST /embed-cached, the same text", header, rows)
    print(f"Written to {report.save('cache', {'header': header, 'rows': rows})}")


if __name__ == "__main__":
    main()
