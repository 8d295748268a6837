"""What the routes need from whoever puts the service together."""

from collections.abc import Callable
from dataclasses import dataclass, field

from streaming.limits import Pace, RequestLimits
from streaming.predictor import Predictor
from streaming.streams import Streams


@dataclass(frozen=True, slots=True)
class Backend:
    """`find_predictor` raises `UnknownModel` or `EngineUnavailable`; also when no new work is taken."""

    streams: Streams
    find_predictor: Callable[[str], Predictor]
    limits: RequestLimits = field(default_factory=RequestLimits)
    pace: Pace = field(default_factory=Pace)
