"""What can go wrong with a generation. These errors know no HTTP; `service.errors` maps them to statuses.

StreamingError
├── InvalidGeneration      the request asks for what this model cannot do
│   ├── PromptTooLong      the prompt alone, or with the new tokens, does not fit
│   └── NoChatTemplate     messages were sent to a model that has no chat template
├── RequestRefused         the request names what is not there
│   ├── UnknownModel       no model of this name
│   ├── UnknownStream      no stream of this id, or somebody else's, or no longer kept
│   ├── InvalidTicket      a wrong ticket, or one that is too old to open a stream
│   └── NotAcceptable      no format that the client accepts
├── Overloaded             no room in the queue: come back after `retry_after_s`
├── EngineUnavailable      nothing to run on
│   ├── EngineLoading      not loaded yet
│   ├── EngineDown         failed to load, or died
│   └── ShuttingDown       no new work, the service is leaving
└── GenerationFailed       this one generation ended without an answer
    ├── Cancelled          somebody ended it before it was done
    ├── NonFiniteLogits    the model computed NaN or infinity for it
    ├── OutOfMemory        its step did not fit in memory
    ├── StepFailed         its step raised
    ├── GroundingFailed    the files it should answer from cannot be read; its code says why
    └── GroundingTimedOut  reading them took longer than is waited for
"""


class StreamingError(Exception):
    """`message` is written for the client; a cause from a library goes into the log, never into `message`."""

    code = "streaming_error"
    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidGeneration(StreamingError):
    code = "invalid_generation"


class PromptTooLong(InvalidGeneration):
    code = "prompt_too_long"


class NoChatTemplate(InvalidGeneration):
    code = "no_chat_template"


class RequestRefused(StreamingError):
    code = "request_refused"


class UnknownModel(RequestRefused):
    code = "unknown_model"


class UnknownStream(RequestRefused):
    code = "unknown_stream"


class InvalidTicket(RequestRefused):
    code = "invalid_ticket"


class NotAcceptable(RequestRefused):
    code = "not_acceptable"


class Overloaded(StreamingError):
    code = "overloaded"
    retryable = True

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineUnavailable(StreamingError):
    code = "engine_unavailable"
    retryable = True


class EngineLoading(EngineUnavailable):
    code = "engine_loading"


class EngineDown(EngineUnavailable):
    code = "engine_down"


class ShuttingDown(EngineUnavailable):
    code = "shutting_down"


class GenerationFailed(StreamingError):
    code = "generation_failed"


class Cancelled(GenerationFailed):
    code = "cancelled"


class NonFiniteLogits(GenerationFailed):
    code = "non_finite_logits"


class OutOfMemory(GenerationFailed):
    code = "out_of_memory"
    retryable = True


class StepFailed(GenerationFailed):
    code = "step_failed"


class GroundingFailed(GenerationFailed):
    """`code` is that of what went wrong with the files, in the words of whoever reads them."""

    code = "grounding_failed"

    def __init__(self, message: str, code: str | None = None, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.retryable = retryable


class GroundingTimedOut(GenerationFailed):
    code = "grounding_timed_out"
    retryable = True
