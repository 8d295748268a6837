"""What a converting child tells its parent: one JSON object a line on standard output."""

import json
import sys
from dataclasses import asdict

from service.models.prepare import Facts


def report_step(label: str) -> None:
    _write({"step": label})


def report_facts(facts: Facts) -> None:
    _write({"facts": asdict(facts)})


def report_error(message: str) -> None:
    _write({"error": " ".join(message.split())})


def _write(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
