"""What the routes of jobs need from whoever puts the service together."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from uploads.jobs import JobStore
from uploads.results import Results
from uploads.rows import RowInput
from uploads.watch import JobWatch


@dataclass(frozen=True, slots=True)
class JobLimits:
    max_waiting: int = 1000
    max_attempts: int = 3
    batch_max_rows: int = 100_000


@dataclass(frozen=True, slots=True)
class JobsBackend:
    """`wake` says that a job was added; `check_model` says what that model takes of a row, and
    raises what a request for it would."""

    store: JobStore
    results: Results
    watch: JobWatch
    limits: JobLimits
    kinds: Collection[str]
    wake: Callable[[], None]
    check_model: Callable[[str], RowInput]
    heartbeat_s: float
    send_timeout_s: float
