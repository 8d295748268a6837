"""What an operator decides about one torch engine. Plain numbers: the composition root fills them in."""

from dataclasses import dataclass, field

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TorchSettings:
    max_running: int = 32
    max_waiting: int = 256
    kv_cache_bytes: int = 1024 * MIB
    prefill_chunk_tokens: int = 128
    """Prompt tokens computed in one step while others wait for their next token; four times as many otherwise."""
    max_background: int = 16
    """Slots that background generations may take; one is always left to the others."""
    background_share: float = 0.125
    """Tokens computed for background generations for each one of the others, while others run."""
    dense_copy_max_bytes: int = 1024 * MIB
    """A 4-bit model reads prompts several times as fast with a dense copy of its weights; how large it may be."""
    default_max_tokens: int = 512
    max_context_tokens: int | None = None
    threads: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    quantization: str = "auto"
    defaults: dict[str, float] = field(default_factory=dict)
    """Sampling defaults of the model, by the names of `streaming.predictor.TextRequest`."""
