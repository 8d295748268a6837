"""A model that answers in one piece, as the registry, the batches, the cache and the routes see it."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from service.models.layout import ModelKind

JsonSchema: TypeAlias = Mapping[str, Any]
Record: TypeAlias = Mapping[str, Any]
Output: TypeAlias = Mapping[str, Any]


class OneShot(Protocol):
    """Immutable once made: any number of threads may use it, and equal inputs give equal outputs.

    A new version of a model is a new object. A request keeps the one that it found.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def kind(self) -> ModelKind: ...

    @property
    def size_bytes(self) -> int:
        """What it holds in memory, about."""

    @property
    def input_schema(self) -> JsonSchema:
        """Of one record, as it stands in a JSON body."""

    @property
    def output_schema(self) -> JsonSchema: ...

    @property
    def batch_tolerance(self) -> float:
        """How far a number may be from what it is when its input runs alone; 0 is to the bit."""

    def read(self, record: Record) -> Hashable:
        """A checked and frozen input. Quick, computes nothing. Raises `InvalidRecord`, which names the field."""

    def predict(self, inputs: Sequence[Any]) -> Sequence[Output]:
        """One output for each input that `read` gave, in their order, as JSON can say it. Blocks.

        When it raises, one of the inputs may be at fault; whoever called runs them one by one to find out.
        """
