"""What can go wrong with files, documents and jobs. These errors know no HTTP; `service.errors` maps them to statuses.

UploadsError
└── StoreUnavailable       the database does not answer, or is too busy: come back later
    └── StoreFull          there is no room for what should be kept
"""


class UploadsError(Exception):
    """`message` is written for the client; a cause from a library goes into the log, never into `message`."""

    code = "uploads_error"
    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class StoreUnavailable(UploadsError):
    code = "store_unavailable"
    retryable = True


class StoreFull(StoreUnavailable):
    code = "store_full"
