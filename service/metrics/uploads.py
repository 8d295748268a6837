"""Counts files by what becomes of them."""

import asyncio

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service.errors import STATUSES
from service.metrics.metrics import Metrics
from uploads.errors import BodyIncomplete, BodyStalled, PartLocked, UploadsError

CUT = (BodyIncomplete, BodyStalled, PartLocked, asyncio.CancelledError)
SERVER_ERROR = 500


class UploadObserver:
    """`uploads.observer.Observer`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def received(self, n_bytes: int) -> None:
        self._metrics.upload_bytes.inc(n_bytes)

    def kept(self, files: int) -> None:
        self._metrics.uploads.labels("kept").inc(files)

    def broken_off(self, error: BaseException) -> None:
        self._metrics.uploads.labels(outcome_of(error)).inc()


def outcome_of(error: BaseException) -> str:
    """`cut` is the network's doing, `refused` the client's, `failed` ours."""
    if isinstance(error, CUT):
        return "cut"
    return "refused" if status_of(error) < SERVER_ERROR else "failed"


def status_of(error: BaseException) -> int:
    match error:
        case UploadsError():
            return STATUSES[type(error)]
        case HTTPException(status_code=status):
            return status
        case RequestValidationError():
            return 422
        case _:
            return SERVER_ERROR
