"""Text from pictures, the model of pictures if no other is configured. It runs where a stranger's file may crash it."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.predictors.picture import INPUT_SCHEMA, OUTPUT_SCHEMA, Finding, Picture, Seen, read_picture, refused
from service.predictors.predictor import JsonSchema, Output, Record
from uploads.documents import transport
from uploads.documents.limits import DocumentLimits
from uploads.errors import UploadsError
from uploads.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class TextRecognition:
    """A `OneShot`. The processes of `sandbox` belong to `loop`, which is another thread's than that of `predict`."""

    name: str
    version: str
    sandbox: Sandbox
    loop: asyncio.AbstractEventLoop
    limits: DocumentLimits
    kind: Literal["image"] = "image"
    size_bytes: int = 0  # its processes come and go with the pictures
    batch_tolerance: float = 0.0

    @property
    def input_schema(self) -> JsonSchema:
        return INPUT_SCHEMA

    @property
    def output_schema(self) -> JsonSchema:
        return OUTPUT_SCHEMA

    def read(self, record: Record) -> Picture:
        return read_picture(record)

    def predict(self, inputs: Sequence[Picture]) -> Sequence[Output]:
        with ExitStack() as files:
            paths = [files.enter_context(picture.file()) for picture in inputs]
            looking = [asyncio.run_coroutine_threadsafe(self._look_at(path), self.loop) for path in paths]
            return [one.result() for one in looking]

    async def _look_at(self, path: Path) -> Output:
        try:
            text, lines = await self.sandbox.run(transport.RECOGNISE, str(path), transport.plain_limits(self.limits))
        except UploadsError as error:
            raise refused(error) from error
        return Seen(text, [Finding(words, confidence) for words, confidence in lines]).told()
