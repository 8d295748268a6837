"""The echo engine as a model: its "tokenizer" keeps every byte, its answer is the last message."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from streaming.engine import Engine
from streaming.engines.echo.script import split, to_ids
from streaming.errors import PromptTooLong
from streaming.generation import Generation, Sampling, new_seed, new_stream_id
from streaming.predictor import TextRequest


@dataclass(frozen=True, slots=True)
class EchoPredictor:
    engine: Engine
    name: str = "default"
    version: str = "echo-1"
    default_max_tokens: int = 512
    context_tokens: int = 1_000_000

    async def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        return await asyncio.to_thread(lambda: [len(split(text)) for text in texts])

    async def prepare(self, request: TextRequest, owner: str) -> Generation:
        token_ids = await asyncio.to_thread(to_ids, request.messages[-1].content)
        max_tokens = request.max_tokens or self.default_max_tokens
        if len(token_ids) + max_tokens > self.context_tokens:
            raise PromptTooLong(
                f"The prompt has {len(token_ids)} tokens and {max_tokens} are asked for: "
                f"more than the {self.context_tokens} that this model takes."
            )
        return Generation(
            stream_id=new_stream_id(),
            owner=owner,
            model=self.name,
            model_version=self.version,
            token_ids=token_ids,
            max_tokens=max_tokens,
            seed=new_seed() if request.seed is None else request.seed,
            created=int(time.time()),
            sampling=Sampling(temperature=request.temperature or 0.0),
            min_tokens=min(request.min_tokens, max_tokens),
            stop=request.stop,
            logprobs=request.logprobs,
            wants_confidence=request.wants_confidence,
        )
