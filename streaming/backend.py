"""What the routes need from whoever puts the service together."""

from collections.abc import Callable
from dataclasses import dataclass, field

from streaming.limits import Pace, RequestLimits
from streaming.predictor import Predictor
from streaming.streams import Streams


def ignore() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Backend:
    """`find_predictor` raises `UnknownModel` or `EngineUnavailable`; also when no new work is taken.

    `on_resume` is told of each reader that goes on where an earlier one stopped.
    """

    streams: Streams
    find_predictor: Callable[[str], Predictor]
    limits: RequestLimits = field(default_factory=RequestLimits)
    pace: Pace = field(default_factory=Pace)
    on_resume: Callable[[], None] = ignore
