"""What the routes need from whoever puts the service together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from streaming.generation import Generation
from streaming.limits import Pace, RequestLimits
from streaming.predictor import Predictor, TextRequest
from streaming.reading import Reader, Readings
from streaming.streams import Starter, Streams


def ignore() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Backend:
    """`find_predictor` raises `UnknownModel` or `EngineUnavailable`; also when no new work is taken.

    `on_resume` is told of each reader that goes on where an earlier one stopped.
    """

    streams: Streams
    find_predictor: Callable[[str], Predictor]
    readings: Readings
    limits: RequestLimits = field(default_factory=RequestLimits)
    pace: Pace = field(default_factory=Pace)
    on_resume: Callable[[], None] = ignore

    async def prepare(self, request: TextRequest, owner: str, upload_ids: Sequence[str]) -> tuple[Starter, Generation]:
        """What `Streams.open` takes. Raises whatever is wrong with the request, the model or the ids."""
        predictor = self.find_predictor(request.model)
        if not upload_ids:
            return predictor.engine, await predictor.prepare(request, owner)
        await self.readings.grounding.check(owner, upload_ids)
        reader = Reader(self.readings, predictor, request, upload_ids)
        return reader, await predictor.prepare(request, owner)
