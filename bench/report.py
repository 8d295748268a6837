"""Figures as a table for people and as JSON for a later comparison, both under a header that says what was measured."""

import json
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("headwater", "torch", "transformers", "fastapi", "starlette", "uvicorn")


def machine() -> dict[str, str]:
    return {
        "processor": processor(),
        "cores": str(psutil.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": platform.platform(),
        "python": platform.python_version(),
        "load before": f"{psutil.getloadavg()[0]:.2f}",
        **{name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def middle(values: Sequence[float]) -> float:
    return median(values) if values else float("nan")


def show(title: str, header: dict[str, str], rows: Sequence[dict[str, str]]) -> None:
    console = Console(width=None if Console().is_terminal else 160)
    console.print("\n" + ", ".join(f"{name} {value}" for name, value in header.items()), highlight=False)
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(rows[0] if rows else ()):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row.values())
    console.print(table)


def save(name: str, document: dict[str, object]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{time.strftime('%Y%m%dT%H%M%S')}.json"
    path.write_text(json.dumps(document, indent=1))
    return path
