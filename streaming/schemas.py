"""Requests and answers as they stand on the wire. What is bounded by a setting is checked in `streaming.intake`."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from streaming.events import GivenDocument
from streaming.generation import SEED_BITS

MAX_TOKENS_MAX = 1_048_576
MAX_TOP_LOGPROBS = 20
MODEL_NAME_CHARS_MAX = 64
UPLOAD_ID_CHARS_MAX = 64
State: TypeAlias = Literal["queued", "running", "finished", "failed", "cancelled"]


def refuse_unsafe(text: str) -> str:
    """JSON can write lone surrogates, which no UTF-8 can carry; FastAPI hands them on."""
    if "\0" in text:
        raise ValueError("must not contain NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    return text


def refuse_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


SAFE = AfterValidator(refuse_unsafe)  # behind the bounds, so that these speak of characters
Plain: TypeAlias = Annotated[str, SAFE]
Said: TypeAlias = Annotated[Plain, AfterValidator(refuse_blank), Field(json_schema_extra={"pattern": r"\S"})]
StopString: TypeAlias = Annotated[str, Field(min_length=1), SAFE]
ModelName: TypeAlias = Annotated[str, Field(min_length=1, max_length=MODEL_NAME_CHARS_MAX), SAFE]
UploadId: TypeAlias = Annotated[str, Field(min_length=1, max_length=UPLOAD_ID_CHARS_MAX), SAFE]
TokenId: TypeAlias = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
LogitBias: TypeAlias = dict[TokenId, Annotated[float, Field(ge=-100, le=100)]]


class Options(BaseModel):
    """How the text is made; what is left out, or null, is the model's default."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS_MAX, description="The longest answer, in tokens.")
    min_tokens: int | None = Field(
        None, ge=0, le=MAX_TOKENS_MAX, description="Before this many, no end token ends the answer; a stop string does."
    )
    temperature: float | None = Field(None, ge=0, le=2, description="0 always takes the likeliest token.")
    top_p: float | None = Field(None, gt=0, le=1, description="Choose from the likeliest that add up to this.")
    top_k: int | None = Field(None, ge=0, le=1000, description="Choose from this many; 0 is off.")
    min_p: float | None = Field(None, ge=0, le=1, description="Leave out what is this much less likely than the best.")
    repetition_penalty: float | None = Field(None, ge=0.1, le=10, description="1 is off.")
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="0 is off.")
    frequency_penalty: float | None = Field(None, ge=-2, le=2, description="0 is off.")
    seed: int | None = Field(None, ge=0, lt=2**SEED_BITS, description="The same seed gives the same answer.")
    stop: Annotated[list[StopString] | None, BeforeValidator(as_list)] = Field(
        None, description="Strings that end the answer and are not part of it."
    )
    upload_id: Annotated[list[UploadId] | None, BeforeValidator(as_list)] = Field(
        None, description="Files to answer from; one, or several."
    )
    upload_ids: list[UploadId] | None = Field(None, description="The same as upload_id.")


class StreamOptions(Options):
    model: ModelName | None = Field(None, description="Which model answers; `default` if not given.")
    system: Plain | None = Field(None, description="An instruction before the conversation.")
    grace_s: float | None = Field(
        None, ge=0, description="How long the answer goes on without a reader; 15 for GET and 0 for POST if not given."
    )
    logprobs: int | None = Field(
        None, ge=0, le=MAX_TOP_LOGPROBS, description="How many alternatives to report beside each token."
    )


class ChatQuery(StreamOptions):
    """A prompt and its options in the query string; `ticket` opens a stream that was made before."""

    prompt: Said | None = Field(None, description="What to answer.")
    ticket: Annotated[str, Field(max_length=256), SAFE] | None = Field(None, description="From `POST /chat/streams`.")


class ChatForm(StreamOptions):
    """The fields of a form that brings files along."""

    prompt: Said = Field(description="What to answer.")


class EventsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ticket: Annotated[str, Field(max_length=256), SAFE] | None = Field(None, description="From `POST /chat/streams`.")
    last_event_id: Annotated[str, Field(max_length=256), SAFE] | None = Field(
        None,
        description="The same as the header, for a page that was loaded anew: `EventSource` sends it only from the "
        "second request on. The header is stronger.",
    )


class NoQuery(BaseModel):
    """A route without parameters: one that is sent is refused by name."""

    model_config = ConfigDict(extra="forbid")


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "user", "assistant"]
    content: Plain


class ChatBody(StreamOptions):
    """A conversation, or one prompt. In JSON a number is a number: neither a string nor true."""

    model_config = ConfigDict(
        strict=True, json_schema_extra={"anyOf": [{"required": ["messages"]}, {"required": ["prompt"]}]}
    )

    messages: list[ChatMessage] | None = Field(None, min_length=1, description="The conversation, oldest first.")
    prompt: Said | None = Field(None, description="What to answer, instead of messages.")
    logit_bias: LogitBias | None = Field(None, description="Token ids and what is added to their logits.")

    @model_validator(mode="after")
    def has_one_question(self) -> "ChatBody":
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("give either messages or prompt")
        if self.messages is not None:
            refuse_blank(self.messages[-1].content)
        return self


class PredictBody(Options):
    model_config = ConfigDict(strict=True)

    text: Said = Field(description="What to answer.")
    model_name: ModelName | None = Field(None, description="Which model answers; `default` if not given.")


class PredictQuery(Options):
    """For `POST /predict/{model_name}`: the model stands in the path, the text in the query string or in the body."""

    text: Said | None = Field(None, description="What to answer.")


class PredictText(PredictQuery):
    model_config = ConfigDict(strict=True)


class UsageAnswer(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CitationAnswer(BaseModel):
    upload_id: str
    filename: str
    page: int | None
    start: int
    end: int
    text: str = Field(description="The file's text from start to end, in characters.")


class PredictAnswer(BaseModel):
    prediction: str
    confidence: float | None = Field(
        description="0 to 1: the geometric mean of the chosen tokens' probabilities; null when no token was made."
    )
    model_used: str
    model_version: str
    processing_time_ms: float
    usage: UsageAnswer
    documents: list[GivenDocument] = Field(description="What of the files the model was given.")
    citations: list[CitationAnswer] = Field(description="What supports the answer in the files, the best first.")


class StreamTicket(BaseModel):
    stream_id: str
    url: str = Field(description="Opens the stream with `EventSource`; it carries a ticket.")
    expires_at: int = Field(description="Unix time until which the url opens the stream.")


class StreamFailure(BaseModel):
    code: str
    message: str
    retryable: bool


class StreamState(BaseModel):
    stream_id: str
    state: State
    model: str
    model_version: str
    created: int = Field(description="Unix time.")
    position: int = Field(description="The position of the newest event.")
    finish_reason: Literal["stop", "length", "cancelled"] | None = None
    usage: UsageAnswer | None = None
    error: StreamFailure | None = None
