"""From a request on the wire to a `TextRequest`: the bounds that are settings, and one question from many forms."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from streaming.errors import PromptTooLong
from streaming.generation import Generation
from streaming.limits import RequestLimits
from streaming.predictor import DEFAULT_MODEL, Message, TextRequest
from streaming.schemas import ChatBody, ChatForm, ChatQuery, Options, PredictBody, StreamOptions

ChatAsked: TypeAlias = ChatBody | ChatQuery | ChatForm
FILE_FIELDS = ("upload_id", "upload_ids")


@dataclass(frozen=True, slots=True)
class Excess:
    """A field with too much in it, in the words of a validation error."""

    field: str
    message: str
    type: str


def excesses(options: Options, limits: RequestLimits) -> Iterator[Excess]:
    stop = options.stop or ()
    if len(stop) > limits.max_stop_strings:
        yield Excess("stop", f"List should have at most {limits.max_stop_strings} items", "too_long")
    if any(len(one) > limits.max_stop_chars for one in stop):
        yield Excess("stop", f"Each should have at most {limits.max_stop_chars} characters", "string_too_long")
    if isinstance(options, StreamOptions) and (options.grace_s or 0) > limits.max_grace_s:
        yield Excess("grace_s", f"Input should be less than or equal to {limits.max_grace_s:g}", "less_than_equal")
    if len(upload_ids_of(options)) > limits.max_upload_ids:
        field = "upload_id" if options.upload_id else "upload_ids"
        yield Excess(field, f"At most {limits.max_upload_ids} files make one answer", "too_long")
    if isinstance(options, ChatBody):
        yield from body_excesses(options, limits)


def body_excesses(body: ChatBody, limits: RequestLimits) -> Iterator[Excess]:
    if len(body.messages or ()) > limits.max_messages:
        yield Excess("messages", f"List should have at most {limits.max_messages} items", "too_long")
    if len(body.logit_bias or ()) > limits.max_logit_bias:
        yield Excess("logit_bias", f"Dictionary should have at most {limits.max_logit_bias} items", "too_long")


def logprob_excesses(generation: Generation, limits: RequestLimits) -> Iterator[Excess]:
    """An answer is kept until it is read, and a token with its alternatives takes far more room than its text."""
    if generation.logprobs is None:
        return
    most = limits.max_logprobs // (1 + generation.logprobs)
    if generation.max_tokens > most:
        message = f"With logprobs {generation.logprobs} max_tokens is at most {most}; it is {generation.max_tokens}"
        yield Excess("logprobs", message, "too_long")


def chat_request(asked: ChatAsked, limits: RequestLimits) -> TextRequest:
    """Raises `PromptTooLong` before anything is spent on the prompt."""
    messages = list(messages_of(asked))
    refuse_long(sum(len(message.content) for message in messages), limits)
    bias = (asked.logit_bias if isinstance(asked, ChatBody) else None) or {}
    return TextRequest(
        messages=messages,
        is_chat=(isinstance(asked, ChatBody) and asked.messages is not None) or asked.system is not None,
        model=asked.model or DEFAULT_MODEL,
        logprobs=asked.logprobs,
        logit_bias={int(token_id): value for token_id, value in bias.items()},
        **sampling_of(asked),
    )


def predict_request(asked: PredictBody, limits: RequestLimits) -> TextRequest:
    refuse_long(len(asked.text), limits)
    message = Message("user", asked.text)
    model = asked.model_name or DEFAULT_MODEL
    return TextRequest([message], is_chat=False, model=model, wants_confidence=True, **sampling_of(asked))


def upload_ids_of(asked: Options) -> tuple[str, ...]:
    """Each once, in the client's order."""
    return tuple(dict.fromkeys([*(asked.upload_id or ()), *(asked.upload_ids or ())]))


def messages_of(asked: ChatAsked) -> Iterator[Message]:
    if asked.system is not None:
        yield Message("system", asked.system)
    if asked.prompt is not None:
        yield Message("user", asked.prompt)
    if isinstance(asked, ChatBody):
        for message in asked.messages or ():
            yield Message(message.role, message.content)


def refuse_long(chars: int, limits: RequestLimits) -> None:
    if chars > limits.max_prompt_chars:
        raise PromptTooLong(f"The prompt has {chars} characters; at most {limits.max_prompt_chars} are taken.")


def sampling_of(asked: Options) -> dict[str, Any]:
    fields = {name: getattr(asked, name) for name in Options.model_fields if name not in FILE_FIELDS}
    return {**fields, "min_tokens": asked.min_tokens or 0, "stop": tuple(asked.stop or ())}
