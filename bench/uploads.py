"""How fast a large file goes in and out, and what that takes of the server's memory: `python -m bench.uploads`.

Beside each upload, in the same run, `cp` and then `sha256sum` of the same file on the same disk: the least that keeping
and checking a file can take. An upload also waits until the disk has everything, which `cp` does not.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

from bench import report
from bench.servers import HOST, Contender, Server, leave_on_sigterm, running
from bench.streams import HEADWATER

MIB = 1 << 20
BAR_RATIO = 0.7
BAR_GROWTH_MIB = 8
WAYS = {
    "PUT, curl -T": ("-T", "{file}", "{url}/uploads/large.bin"),
    "chunked, curl -T -": ("-T", "-", "{url}/uploads/large.bin"),
    "form, curl -F": ("-F", "file=@{file}", "{url}/uploads"),
}


def write_file(path: Path, mib: int) -> None:
    dice = random.Random(1)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(dice.randbytes(MIB))
        os.fsync(file.fileno())


def copy_and_sum_s(file: Path) -> float:
    copy = file.with_suffix(".copy")
    begin = time.perf_counter()
    subprocess.run(["cp", file, copy], check=True)
    subprocess.run(["sha256sum", copy], check=True, stdout=subprocess.DEVNULL)
    took_s = time.perf_counter() - begin
    copy.unlink()
    return took_s


def upload_s(url: str, file: Path, way: str) -> tuple[float, str]:
    command = ["curl", "-sS", "--fail", *(part.format(file=file, url=url) for part in WAYS[way])]
    begin = time.perf_counter()
    with file.open("rb") as content:
        done = subprocess.run(command, check=True, stdin=content, capture_output=True)
    return time.perf_counter() - begin, json.loads(done.stdout)["upload_id"]


def download_s(url: str, upload_id: str) -> float:
    begin = time.perf_counter()
    subprocess.run(["curl", "-sS", "--fail", "-o", os.devnull, f"{url}/uploads/{upload_id}/content"], check=True)
    return time.perf_counter() - begin


def delete(url: str, upload_id: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{url}/uploads/{upload_id}", method="DELETE")).close()


class Memory:
    """How far the process grew beyond what it was, at its highest."""

    def __init__(self, process: int) -> None:
        self._folder = Path(f"/proc/{process}")
        (self._folder / "clear_refs").write_text("5")  # forgets the highest so far
        self._before = self._kib("VmRSS")

    def grown_mib(self) -> float:
        return (self._kib("VmHWM") - self._before) / 1024

    def _kib(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1])


def measure(server: Server, file: Path, way: str, rounds: int) -> dict[str, float]:
    url, size = f"http://{HOST}:{server.port}", file.stat().st_size
    ratios, uploads, downloads, grown = [], [], [], []
    for _ in range(rounds):
        floor_s = copy_and_sum_s(file)
        memory = Memory(server.process.pid)
        took_s, upload_id = upload_s(url, file, way)
        grown.append(memory.grown_mib())
        downloads.append(size / download_s(url, upload_id) / 1e6)
        delete(url, upload_id)
        ratios.append(floor_s / took_s)
        uploads.append(size / took_s / 1e6)
    return {
        "MB/s in": median(uploads),
        "of cp + sha256sum": median(ratios),
        "MB/s out": median(downloads),
        "grown by MiB": max(grown),
    }


def main() -> None:
    leave_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m bench.uploads", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    options = parser.parse_args()
    header = report.machine() | {"file": f"{options.mib} MiB", "rounds": str(options.rounds)}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        file, warm = Path(name) / "large.bin", Path(name) / "warm.bin"
        write_file(file, options.mib)
        write_file(warm, 32)
        environment = {"HEADWATER_DATA_DIR": f"{name}/data", "HEADWATER_LOG_LEVEL": "warning"}
        command = (HEADWATER, "serve", "--engine", "echo", "--port", "{port}")
        with running(Contender("headwater", command, "/readyz", "headwater", environment=environment)) as server:
            for way in WAYS:
                measure(server, warm, way, 1)
            found = {way: measure(server, file, way, options.rounds) for way in WAYS}
    rows = [{"way": way, **{key: f"{value:.2f}" for key, value in row.items()}} for way, row in found.items()]
    report.show("Files in and out", header, rows)
    print(f"Written to {report.save('uploads', {'header': header, 'rows': found})}")
    worst = min(row["of cp + sha256sum"] for row in found.values()), max(row["grown by MiB"] for row in found.values())
    bars = f"at least {BAR_RATIO} of cp + sha256sum, at most {BAR_GROWTH_MIB} MiB"
    print(f"Bars: {bars}. Worst: {worst[0]:.2f}, {worst[1]:.1f}")
    sys.exit(0 if worst[0] >= BAR_RATIO and worst[1] <= BAR_GROWTH_MIB else 1)


if __name__ == "__main__":
    main()
