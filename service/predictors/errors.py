"""What can go wrong with a prediction in one piece. `service.errors` maps these to statuses.

PredictionError
├── InvalidRecord       the record is not what the model's schema asks for: a field and the reason
│   └── WrongLength     a list of features of another length than the model's
├── WrongKind           the model does not answer this kind of question
├── PredictionBusy      too many wait: come back after `retry_after_s`
├── PredictionTimedOut  it took longer than anybody waits
└── PredictionFailed    the model raised for this one input
"""


class PredictionError(Exception):
    """`message` is written for the client; a cause from a library goes into the log, never into `message`."""

    code = "prediction_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRecord(PredictionError):
    """`field` is its path in the record. `others` are further fields that are wrong in the same record."""

    code = "invalid_request"

    def __init__(
        self,
        field: tuple[str | int, ...],
        message: str,
        kind: str = "value_error",
        others: "tuple[InvalidRecord, ...]" = (),
    ) -> None:
        super().__init__(message)
        self.field = field
        self.kind = kind
        self.others = others

    def within(self, *outer: str | int) -> "InvalidRecord":
        """The same of a record that is itself a part of something: of a body, of a list."""
        others = tuple(one.within(*outer) for one in self.others)
        return type(self)((*outer, *self.field), self.message, self.kind, others)


class WrongLength(InvalidRecord):
    code = "wrong_length"


class WrongKind(PredictionError):
    code = "wrong_kind"


class PredictionBusy(PredictionError):
    code = "prediction_busy"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PredictionTimedOut(PredictionError):
    code = "prediction_timed_out"


class PredictionFailed(PredictionError):
    code = "prediction_failed"
