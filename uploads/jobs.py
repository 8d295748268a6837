"""Background jobs: what one is, and the store that decides, one step at a time, what becomes of it."""

import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

ID_BYTES = 16
JobState: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINAL_STATES: tuple[JobState, ...] = ("succeeded", "failed", "cancelled")
_JOB_ID = re.compile(r"j[0-9a-f]{32}")
_CURSOR = re.compile(r"(\d{1,12}\.\d{1,6})-(j[0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class JobError:
    """`code` is a stable word; `message` is written for the client."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class JobResult:
    """A whole, durable file. `blob` is its name in the store of results."""

    blob: str
    filename: str
    media_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Job:
    """`version` grows with everything that a client can see change; it is the position in the job's event stream.

    `arguments` is what the handler of this `kind` was given: JSON, and never a secret.
    """

    id: str
    owner: str
    kind: str
    arguments: Mapping[str, Any]
    max_attempts: int
    created_at: float
    updated_at: float
    state: JobState = "queued"
    done: int = 0
    total: int | None = None
    attempts: int = 0
    version: int = 0
    error: JobError | None = None
    result: JobResult | None = None

    @property
    def has_ended(self) -> bool:
        return self.state in FINAL_STATES


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a job, until it expires. `lease` is drawn anew each time, so an old one opens nothing."""

    job: Job
    lease: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place after a job in a list that begins with the newest."""

    created_at: float
    job_id: str

    def __str__(self) -> str:
        return f"{self.created_at:.6f}-{self.job_id}"


class LeaseLost(Exception):
    """The job is somebody else's now, or has ended: whoever works on it stops and leaves nothing behind."""


class JobStore(Protocol):
    """Every call is one transaction: done and durable, or not done at all. Any number of processes may share a store.

    A job is queued, then running under a lease, and ends once: succeeded, failed or cancelled. Nothing changes after.

    - `add` raises `TooManyJobs` when `max_waiting` are queued; otherwise the job survives whatever happens next.
    - `claim` takes the job that waited longest, of the owner who has the fewest running, and counts the attempt.
      Two callers never get the same one. None when there is nothing to do.
    - `heartbeat`, `report`, `succeed`, `fail`, `retry` and `give_back` are for who holds the lease; for everybody else
      they raise `LeaseLost` and change nothing. `heartbeat` and `report` keep the lease for another `lease_s`.
    - `retry` queues the job again after `delay_s`, or ends it with `error` when it had its last attempt. `give_back`
      queues it at once and forgets the attempt: the worker leaves, the job is not to blame.
    - `cancel` ends a job that has not ended; its worker hears of it by `LeaseLost`. It gives the job as it is then, or
      None when there is none of this owner.
    - `expire` does to jobs whose lease ran out what `retry` does without a delay, with `error`; it says how many.
    - `forget` removes ended jobs that were last changed before a time, and gives them: their results are then unused.
    - `known_results` says which of these blobs belong to a job.
    - An owner sees only its own: somebody else's is None, as is what does not exist.

    Clocks of several machines may differ: too early an expiry costs a repetition, never a second end.
    """

    async def add(self, job: Job, max_waiting: int) -> None: ...

    async def find(self, job_id: str, owner: str) -> Job | None: ...

    async def look_up(self, job_ids: Collection[str]) -> list[Job]:
        """Whoever owns them."""

    async def page(self, owner: str, state: JobState | None, after: Cursor | None, limit: int) -> list[Job]:
        """The newest first."""

    async def claim(self, kinds: Collection[str], lease_s: float) -> Claim | None: ...

    async def heartbeat(self, claim: Claim, lease_s: float) -> None: ...

    async def report(self, claim: Claim, done: int, total: int | None, lease_s: float) -> None: ...

    async def succeed(self, claim: Claim, result: JobResult | None) -> None: ...

    async def fail(self, claim: Claim, error: JobError) -> None: ...

    async def retry(self, claim: Claim, error: JobError, delay_s: float) -> None: ...

    async def give_back(self, claim: Claim) -> None: ...

    async def cancel(self, job_id: str, owner: str) -> "Cancelled | None": ...

    async def expire(self, error: JobError) -> int: ...

    async def forget(self, before: float, limit: int) -> list[Job]: ...

    async def known_results(self, blobs: Sequence[str]) -> set[str]: ...

    async def count(self) -> dict[JobState, int]:
        """How many there are in each state, for metrics."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """`by_this` is False when the job had ended before, in whatever way."""

    job: Job
    by_this: bool


def new_job_id() -> str:
    return "j" + secrets.token_hex(ID_BYTES)


def is_job_id(word: str) -> bool:
    return _JOB_ID.fullmatch(word) is not None


def parse_cursor(word: str) -> Cursor | None:
    found = _CURSOR.fullmatch(word)
    return Cursor(float(found[1]), found[2]) if found else None
