"""A language model as the routes see it: chat template, tokens, limits and defaults."""

import asyncio
import functools
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from streaming.engine import Engine
from streaming.engines.torch.controls import Controls
from streaming.errors import InvalidGeneration, NoChatTemplate, PromptTooLong, StepFailed, StreamingError
from streaming.generation import Generation, Sampling, new_seed, new_stream_id
from streaming.predictor import Message, TextRequest


@dataclass(frozen=True)  # without slots: what is cached has to have a place
class LanguagePredictor:
    """Implements `streaming.predictor.Predictor`. `executor` runs the tokenizer, off the event loop."""

    name: str
    version: str
    engine: Engine
    tokenizer: Any
    executor: Executor
    context_tokens: int
    vocabulary: int
    default_max_tokens: int
    defaults: dict[str, float]

    async def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        return await asyncio.get_running_loop().run_in_executor(self.executor, self._count, texts)

    async def prepare(self, request: TextRequest, owner: str) -> Generation:
        work = functools.partial(self._prepare, request, owner)
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)

    def _prepare(self, request: TextRequest, owner: str) -> Generation:
        token_ids = tuple(self._tokens(request))
        max_tokens = self._max_tokens(request.max_tokens, len(token_ids))
        return Generation(
            stream_id=new_stream_id(),
            owner=owner,
            model=request.model,
            model_version=self.version,
            token_ids=token_ids,
            max_tokens=max_tokens,
            min_tokens=min(request.min_tokens, max_tokens),
            seed=request.seed if request.seed is not None else new_seed(),
            created=int(time.time()),
            sampling=self._sampling(request),
            stop=request.stop,
            logprobs=request.logprobs,
            wants_confidence=request.wants_confidence,
        )

    def _count(self, texts: Sequence[str]) -> Sequence[int]:
        try:
            if self.tokenizer.chat_template is None:
                encodings = self.tokenizer.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
                return [len(encoding.ids) for encoding in encodings]
            controls = self._controls
            return [len(controls.encode(controls.defuse(Message("user", text)).content)) for text in texts]
        except Exception as error:
            raise StepFailed("The model's tokenizer failed on this text.") from error

    def _tokens(self, request: TextRequest) -> list[int]:
        try:
            tokens = self._complete(request) if self.tokenizer.chat_template is None else self._chat(request.messages)
        except StreamingError:
            raise
        except Exception as error:
            raise StepFailed("The model's tokenizer failed on this request.") from error
        if not tokens:
            raise InvalidGeneration("The prompt has no tokens.")
        return tokens

    def _complete(self, request: TextRequest) -> list[int]:
        """Without a chat template a bare prompt is completed as it stands, special tokens included."""
        if request.is_chat:
            raise NoChatTemplate("This model has no chat template: send `prompt` instead of `messages`.")
        text = "\n\n".join(message.content for message in request.messages)
        return list(self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=True).ids)

    def _chat(self, messages: Sequence[Message]) -> list[int]:
        return self._controls.encode(self._templated([self._controls.defuse(message) for message in messages]))

    @cached_property
    def _controls(self) -> Controls:
        return Controls(self.tokenizer)

    def _templated(self, messages: Sequence[Message]) -> str:
        """transformers renders templates in jinja's immutable sandbox."""
        plain = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text: str = self.tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise InvalidGeneration(
                "The model's chat template refuses these messages: check their roles and their order."
            ) from error
        return text

    def _max_tokens(self, wanted: int | None, prompt_tokens: int) -> int:
        room = self.context_tokens - prompt_tokens
        if room < 1:
            raise PromptTooLong(
                f"The prompt has {prompt_tokens} tokens; this model reads {self.context_tokens} with its answer."
            )
        if wanted is None:
            return min(int(self.defaults.get("max_tokens", self.default_max_tokens)), room)
        if wanted > room:
            raise InvalidGeneration(
                f"max_tokens is {wanted}, but {prompt_tokens} prompt tokens leave {room} of {self.context_tokens}."
            )
        return wanted

    def _sampling(self, request: TextRequest) -> Sampling:
        out_of_range = [token for token in request.logit_bias if not 0 <= token < self.vocabulary]
        if out_of_range:
            raise InvalidGeneration(f"logit_bias names token {out_of_range[0]}; this model has {self.vocabulary}.")
        return Sampling(
            temperature=self._or_default(request.temperature, "temperature", 0.7),
            top_p=self._or_default(request.top_p, "top_p", 1.0),
            top_k=int(self._or_default(request.top_k, "top_k", 0)),
            min_p=self._or_default(request.min_p, "min_p", 0.0),
            repetition_penalty=self._or_default(request.repetition_penalty, "repetition_penalty", 1.0),
            presence_penalty=self._or_default(request.presence_penalty, "presence_penalty", 0.0),
            frequency_penalty=self._or_default(request.frequency_penalty, "frequency_penalty", 0.0),
            logit_bias=tuple(sorted(request.logit_bias.items())),
        )

    def _or_default(self, wanted: float | None, name: str, otherwise: float) -> float:
        return wanted if wanted is not None else self.defaults.get(name, otherwise)
