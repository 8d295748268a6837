"""The numbers that bound a request and its answer, as the service's settings set them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestLimits:
    max_prompt_chars: int = 200_000
    max_messages: int = 1_000
    max_stop_strings: int = 16
    max_stop_chars: int = 256
    max_logit_bias: int = 300
    max_logprobs: int = 20_000
    max_grace_s: float = 300.0
    max_upload_ids: int = 8


@dataclass(frozen=True, slots=True)
class Pace:
    """After `heartbeat_s` of silence a sign of life; a reader who takes nothing for `send_timeout_s` is cut."""

    heartbeat_s: float = 15.0
    send_timeout_s: float = 30.0
