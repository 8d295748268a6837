"""The headings above a place: `Contract > Payment > Discounts`."""

from dataclasses import dataclass, field

SEPARATOR = " > "
HEADING_CHARACTERS_MAX = 120
DEEPEST = 6


@dataclass(slots=True)
class Headings:
    """A deeper heading stands under the ones before it; one of the same depth takes their place."""

    _open: dict[int, str] = field(default_factory=dict)

    def enter(self, depth: int, title: str) -> str:
        """The path with this heading as its last part."""
        words = " ".join(title.split())[:HEADING_CHARACTERS_MAX]
        self._open = {at: text for at, text in self._open.items() if at < depth}
        if words:
            self._open[depth] = words
        return self.path

    @property
    def path(self) -> str:
        return SEPARATOR.join(self._open[depth] for depth in sorted(self._open))
