"""Text from pictures, the model of pictures if no other is configured. It runs where a stranger's file may crash it."""

from pathlib import Path

from service.predictors.picture import Finding, Seen
from uploads.documents import transport
from uploads.documents.limits import DocumentLimits
from uploads.sandbox import Sandbox


class TextRecognition:
    """A `PictureModel`."""

    def __init__(self, sandbox: Sandbox, limits: DocumentLimits) -> None:
        self._sandbox = sandbox
        self._limits = transport.plain_limits(limits)

    async def look_at(self, path: Path) -> Seen:
        text, lines = await self._sandbox.run(transport.RECOGNISE, str(path), self._limits)
        return Seen(text, [Finding(words, confidence) for words, confidence in lines])
