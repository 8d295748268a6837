"""The job that makes an upload searchable."""

from uploads.jobs import Job
from uploads.library import Library
from uploads.uploads import Uploads
from uploads.worker import Report

KIND = "ingest"


class IngestHandler:
    """A `uploads.worker.Handler`. Its arguments are `{"upload_id"}`; what it makes is the index, no file."""

    def __init__(self, uploads: Uploads, library: Library) -> None:
        self._uploads = uploads
        self._library = library

    async def __call__(self, job: Job, report: Report) -> None:
        upload = await self._uploads.find(job.arguments["upload_id"], job.owner)

        def on_progress(phase: str, done: int, total: int | None) -> None:
            if phase == "embed":  # in pieces; the other phases are short beside it
                report(done, total)

        await self._library.ingest(upload, on_progress)
