"""A worker of its own process whose only kind of job kills it: `python -m tests.uploads.poison_worker URL FOLDER`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.uploads.workplace import QUICK, workplace
from uploads.jobs import Job
from uploads.worker import Report

KIND = "poison"


async def die(job: Job, report: Report) -> None:
    report(1, None)
    os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    async with workplace(sys.argv[1], Path(sys.argv[2])) as place, place.working({KIND: die}, QUICK):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
