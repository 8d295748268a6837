"""The numbers that bound a record, whatever model reads it, as the service's settings set them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecordLimits:
    max_text_chars: int = 20_000
    max_features: int = 10_000
    max_number: float = 1e100
    """The largest number, either side of zero: products of two of these are still finite."""
    max_value_chars: int = 1_000
    """Characters of a feature that is a string."""
    max_labels: int = 100
    max_label_chars: int = 200
