"""D8: whatever is killed, and whenever, each job that was acknowledged ends exactly once, its result whole or absent.

A real server and real workers on one store are killed with SIGKILL at random moments, while jobs are added and
cancelled. A trigger in the database notes every final state that a job is ever given.
"""

import asyncio
import csv
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.server import ROOT, wait_until
from tests.uploads.poison_worker import KIND as POISON
from uploads.jobs import FINAL_STATES, Job, new_job_id
from uploads.stores.database import open_database
from uploads.stores.jobs import DatabaseJobStore

WITHIN_S = 60.0
LEASE_S = 1.0
ATTEMPTS = 20  # a job may be hit by many kills; poison is made with fewer
POISON_ATTEMPTS = 2
AUDIT = {
    "sqlite": [
        "CREATE TABLE ends (id TEXT, state TEXT)",
        "CREATE TRIGGER note_ends AFTER UPDATE ON jobs WHEN new.state IN ('succeeded', 'failed', 'cancelled') "
        "BEGIN INSERT INTO ends VALUES (new.id, new.state); END",
    ],
    "postgresql": [
        "CREATE TABLE ends (id TEXT, state TEXT)",
        "CREATE FUNCTION note_end() RETURNS trigger AS $$ BEGIN INSERT INTO ends VALUES (new.id, new.state); "
        "RETURN new; END $$ LANGUAGE plpgsql",
        "CREATE TRIGGER note_ends AFTER UPDATE ON jobs FOR EACH ROW "
        "WHEN (new.state IN ('succeeded', 'failed', 'cancelled')) EXECUTE FUNCTION note_end()",
    ],
}


@dataclass
class Process:
    """Started anew after each kill."""

    command: list[str]
    environment: dict[str, str]
    log: Path
    running: "subprocess.Popen[bytes] | None" = None

    def ensure(self) -> None:
        if self.running is None or self.running.poll() is not None:
            with self.log.open("ab") as output:
                self.running = subprocess.Popen(
                    self.command, env=self.environment, cwd=self.log.parent, stdout=output, stderr=output
                )

    def kill(self) -> None:
        if self.running is not None:
            with suppress(ProcessLookupError):
                self.running.send_signal(signal.SIGKILL)
            self.running.wait()


@dataclass
class Site:
    """A server, two workers and one that its jobs kill, on one database and one folder."""

    folder: Path
    database_url: str
    chance: random.Random
    port: int = 0
    rows_of: dict[str, list[str]] = field(default_factory=dict)
    poison: list[str] = field(default_factory=list)
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_up(self) -> bool:
        self.processes["server"].ensure()
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz").status_code == 200
        return False

    def add_batch(self) -> None:
        """Counts only when the 202 has come."""
        pace = self.chance.choice(["tps=0", "tps=0", "tps=40", "tps=100"])
        rows = [f"row {self.chance.random()} of words" for _ in range(self.chance.randint(1, 40))]
        content = "text\n" + "".join(f"[[echo {pace}]]{row}\n" for row in rows)
        with suppress(httpx.TransportError):
            response = httpx.post(f"{self.url}/process-batch", files={"file": ("rows.csv", content)})
            if response.status_code == 202:
                self.rows_of[response.json()["job_id"]] = rows

    def cancel_newest(self) -> None:
        with suppress(httpx.TransportError, IndexError):
            httpx.delete(f"{self.url}/jobs/{list(self.rows_of)[-1]}")

    def jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        while True:
            page = httpx.get(f"{self.url}/jobs", params={"limit": "500", **after}).json()
            found.extend(page["jobs"])
            if page["next"] is None:
                return found
            after = {"after": page["next"]}

    def ends(self) -> list[tuple[str, str]]:
        return asyncio.run(self._execute(text("SELECT id, state FROM ends")))

    def prepare(self) -> None:
        asyncio.run(self._prepare())

    def add_poison(self) -> None:
        asyncio.run(self._add_poison())

    async def _prepare(self) -> None:
        database = await open_database(self.database_url)
        async with database.write() as connection:
            for statement in AUDIT[database.dialect]:
                await connection.exec_driver_sql(statement)
        await database.close()

    async def _execute(self, query: Any) -> list[tuple[str, str]]:
        database = await open_database(self.database_url)
        async with database.read() as connection:
            found = [(row[0], row[1]) for row in await connection.execute(query)]
        await database.close()
        return found

    async def _add_poison(self) -> None:
        database = await open_database(self.database_url)
        now = round(time.time(), 6)
        job = Job(new_job_id(), "anonymous", POISON, {}, POISON_ATTEMPTS, now, now)
        await DatabaseJobStore(database).add(job, max_waiting=10_000)
        await database.close()
        self.poison.append(job.id)


@contextmanager
def site(folder: Path, database_url: str, seed: int) -> Iterator[Site]:
    made = Site(folder, database_url, random.Random(seed))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        made.port = probe.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    settings = {
        "ENGINE": "echo",
        "PORT": made.port,
        "DATA_DIR": folder / "data",
        "DATABASE_URL": database_url,
        "JOBS__LEASE_S": LEASE_S,
        "JOBS__POLL_INTERVAL_S": 0.1,
        "JOBS__MAX_ATTEMPTS": ATTEMPTS,
        "JOBS__RETRY_DELAY_S": 0.1,
        "UPLOADS__SWEEP_INTERVAL_S": 0.5,
    }
    environment = {**clean, **{f"HEADWATER_{name}": str(value) for name, value in settings.items()}}
    environment["PYTHONPATH"] = str(ROOT)
    commands = {
        "server": ["-m", "service", "serve"],
        "first worker": ["-m", "service", "worker"],
        "second worker": ["-m", "service", "worker"],
        "poisoned worker": ["-m", "tests.uploads.poison_worker", database_url, str(folder / "poison")],
    }
    for name, command in commands.items():
        made.processes[name] = Process([sys.executable, *command], environment, folder / f"{name}.log")
    made.prepare()
    try:
        yield made
    finally:
        for process in made.processes.values():
            process.kill()


def break_everything(made: Site, rounds: int) -> None:
    for _ in range(rounds):
        for process in made.processes.values():
            process.ensure()
        wait_until(made.is_up, WITHIN_S, "the server is up")
        killed = [made.processes[name] for name in made.chance.sample(list(made.processes), made.chance.randint(1, 3))]
        kills = [threading.Timer(made.chance.random() * 0.6, process.kill) for process in killed]
        for kill in kills:
            kill.start()
        for _ in range(made.chance.randint(1, 4)):
            made.add_batch()
            if made.chance.random() < 0.3:
                made.cancel_newest()
        if made.chance.random() < 0.3:
            made.add_poison()
        for kill in kills:
            kill.join()


def revived(made: Site) -> Callable[[], bool]:
    def has_ended() -> bool:
        for process in made.processes.values():
            process.ensure()  # poison kills its worker for as long as it has attempts
        return made.is_up() and all(job["status"] in FINAL_STATES for job in made.jobs())

    return has_ended


def check(made: Site) -> None:
    jobs = {job["job_id"]: job for job in made.jobs()}
    assert made.rows_of.keys() | set(made.poison) <= jobs.keys(), "an acknowledged job is gone"
    ends = made.ends()
    assert sorted(job_id for job_id, _ in ends) == sorted(jobs), "each job ends exactly once"
    assert dict(ends) == {job_id: job["status"] for job_id, job in jobs.items()}
    for job_id, job in jobs.items():
        assert (job["result"] is not None) == (job["status"] == "succeeded")
        if job["kind"] == POISON:
            assert (job["status"], job["attempts"]) == ("failed", POISON_ATTEMPTS)
            assert job["error"]["code"] == "job_abandoned"
        elif job["status"] != "cancelled":
            assert job["status"] == "succeeded", job
            rows = csv.DictReader(httpx.get(made.url + job["result"]["url"]).text.splitlines())
            predictions = [row["prediction"] for row in rows]
            assert len(predictions) == job["total"]
            assert predictions == made.rows_of.get(job_id, predictions)


def nothing_is_left_over(made: Site) -> bool:
    """Results that no job has, work that no job goes on with, files lent to programs that died."""
    made.is_up()
    data = made.folder / "data"
    kept = len(list((data / "results").iterdir()))
    succeeded = sum(job["status"] == "succeeded" for job in made.jobs())
    return kept == succeeded and not list((data / "jobs").iterdir()) and not list((data / "lent").iterdir())


def run(folder: Path, database_url: str, rounds: int, seed: int) -> None:
    with site(folder, database_url, seed) as made:
        break_everything(made, rounds)
        wait_until(revived(made), WITHIN_S, "all jobs have ended")
        check(made)
        wait_until(lambda: nothing_is_left_over(made), WITHIN_S, "what was left behind is gone")
        check(made)
        counted = dict(Counter(job["status"] for job in made.jobs()))
        sys.stdout.write(f"{rounds} rounds, {len(made.rows_of)} acknowledged batches, all jobs: {counted}\n")


def test_jobs_end_once_whatever_is_killed(tmp_path: Path, database_url: str) -> None:
    run(tmp_path, database_url, rounds=4, seed=5)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [2, 3])
def test_jobs_end_once_in_a_hundred_rounds_of_kills(tmp_path: Path, database_url: str, seed: int) -> None:
    run(tmp_path, database_url, rounds=25, seed=seed)
