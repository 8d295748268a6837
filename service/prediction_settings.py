"""The settings of predictions in one piece: how much a record may hold, and how many come in one request."""

from pydantic import BaseModel, ConfigDict, Field


class PredictionSettings(BaseModel):
    """Predictions of models other than language models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_text_chars: int = Field(default=20_000, ge=1, description="The longest text of a record.")
    max_features: int = Field(default=10_000, ge=1, description="Numbers in one list of features.")
    max_number: float = Field(
        default=1e100, gt=0, le=1e100, allow_inf_nan=False, description="The largest number, either side of 0."
    )
    max_value_chars: int = Field(default=1000, ge=1, description="Characters of a named feature that is a string.")
    max_labels: int = Field(default=100, ge=2, le=10_000, description="Labels that one request chooses between.")
    max_label_chars: int = Field(default=200, ge=1, description="Characters of such a label.")
    max_batch_items: int = Field(default=1000, ge=1, le=1_000_000, description="Records in one `POST /predict-batch`.")
    max_batch_size: int = Field(
        default=64, ge=1, le=10_000, description="The largest `batch_size`: how many of them are computed at once."
    )
    invocations_model: str = Field(
        default="",
        max_length=64,
        description="The model that answers `POST /invocations`; chosen by what the record holds if not given.",
    )
