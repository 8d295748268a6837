"""What OpenAPI says about bodies of several forms, which the routes look at themselves."""

from collections.abc import Mapping
from typing import Any

from service.routes.predict_schemas import BatchBody
from streaming.schemas import PredictBody, PredictText

NAMED: Mapping[str, Any] = {
    "title": "Record",
    "type": "object",
    "description": "What the model's input schema says, as `GET /models/{name}` shows it.",
    "additionalProperties": True,
}
FEATURES: Mapping[str, Any] = {
    "title": "Features",
    "type": "object",
    "properties": {
        "features": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
        "scale_factor": {"type": "number", "exclusiveMinimum": 0, "default": 1.0},
    },
    "required": ["features"],
    "additionalProperties": False,
}
TEXT_EXAMPLE = {
    "summary": "A text for the language model",
    "value": {"text": "Why is the sea salty?", "max_tokens": 60},
}
FEATURES_EXAMPLE = {
    "summary": "Numbers for the linear model",
    "value": {"features": [1.0, 2.0, 3.0, 4.0], "scale_factor": 1.0},
}
RECORD_EXAMPLE = {"summary": "Named features for a tabular model", "value": {"feature_1": 1.0, "feature_2": 2.0}}


def body_of(*schemas: Any, examples: Mapping[str, Any], is_required: bool = False) -> dict[str, Any]:
    content = {"application/json": {"schema": {"anyOf": list(schemas)}, "examples": dict(examples)}}
    return {"requestBody": {"content": content, "required": is_required}}


PREDICT_BODY = body_of(
    PredictBody.model_json_schema(),
    FEATURES,
    NAMED,
    examples={"text": TEXT_EXAMPLE, "features": FEATURES_EXAMPLE, "named features": RECORD_EXAMPLE},
)
NAMED_BODY = body_of(
    PredictText.model_json_schema(), NAMED, examples={"text": TEXT_EXAMPLE, "named features": RECORD_EXAMPLE}
)
INVOCATIONS_BODY = body_of(
    NAMED,
    examples={"named features": RECORD_EXAMPLE, "text": {"summary": "A text", "value": {"text": "The sea was calm."}}},
    is_required=True,
)
BATCH_LIST = {"type": "array", "items": {"anyOf": [{"type": "string", "pattern": r"\S"}, NAMED]}}
BATCH_BODY = body_of(
    BATCH_LIST,
    BatchBody.model_json_schema(),
    examples={
        "list": {"summary": "A list of texts", "value": ["Hello", "Good morning"]},
        "object": {"summary": "With a model", "value": {"texts": ["Hello"], "model_name": "sentiment"}},
    },
    is_required=True,
)
