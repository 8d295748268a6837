"""Requests and answers of the routes of predictions, as they stand on the wire."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from streaming.schemas import ModelName, Options, Plain, PredictQuery, Said, as_list

Record: TypeAlias = dict[str, Any]


class TextQuery(PredictQuery):
    """For `POST /predict`: what its body has, in the query string."""

    model_name: ModelName | None = Field(None, description="Which model answers; `default` if not given.")


class FeaturesAnswer(BaseModel):
    prediction: float
    status: Literal["success"]


class OneShotAnswer(BaseModel):
    """What the model's output schema says, and which model it was."""

    model_config = ConfigDict(extra="allow")

    model_used: str
    model_version: str
    processing_time_ms: float


class ClassifyQuery(BaseModel):
    """In the query string; `labels` may be repeated."""

    model_config = ConfigDict(extra="forbid")

    text: Said | None = Field(None, description="What to classify.")
    labels: Annotated[list[Plain] | None, BeforeValidator(as_list)] = Field(
        None, description="Labels to choose between; the model's own if not given."
    )
    model_name: ModelName | None = Field(None, description="A classifier; the first one if not given.")


class ClassifyBody(ClassifyQuery):
    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "examples": [{"text": "My parcel never came.", "labels": ["billing", "shipping", "praise"]}]
        },
    )


class ClassifyAnswer(BaseModel):
    text: str
    category: str = Field(description="The likeliest label.")
    scores: dict[str, float] = Field(description="Every label with its probability.")


class EmbedQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: Said | None = Field(None, description="What to turn into a vector.")
    model_name: ModelName | None = Field(None, description="An encoder; the first one if not given.")


class EmbedBody(EmbedQuery):
    model_config = ConfigDict(strict=True, json_schema_extra={"examples": [{"text": "The sea was calm."}]})


class EmbedAnswer(BaseModel):
    embedding: list[float] = Field(description="Of length 1, so that a product of two is their cosine.")
    model_used: str
    cached: bool = Field(description="Whether it was computed before.")


class BatchQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    batch_size: int = Field(32, ge=1, description="How many are computed at once.")


class BatchBody(Options):
    """The options are for language models."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "examples": [{"texts": ["Hello", "Good morning"]}],
            "anyOf": [{"required": ["texts"]}, {"required": ["records"]}],
        },
    )

    texts: list[Said] | None = Field(None, description="One prediction for each.")
    records: list[Record] | None = Field(None, description="Instead of texts, for models that want other fields.")
    model_name: ModelName | None = Field(None, description="Which model answers; `default` if not given.")


class ItemFailure(BaseModel):
    index: int = Field(description="Which item failed, from 0.")
    code: str
    message: str


class BatchAnswer(BaseModel):
    predictions: list[Any] = Field(description="In the order of the items; null for one that failed.")
    count: int
    errors: list[ItemFailure] | None = Field(None, description="Only when an item failed.")


class InvocationsAnswer(BaseModel):
    predictions: list[Any]


class InvocationsFailure(BaseModel):
    error: str
