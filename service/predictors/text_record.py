"""Records that are one text: what every model that reads texts asks for."""

from service.predictors.fields import refuse_misnamed, text_of
from service.predictors.limits import RecordLimits
from service.predictors.predictor import JsonSchema, Record


def text_schema(limits: RecordLimits, example: str) -> JsonSchema:
    text = {"type": "string", "minLength": 1, "maxLength": limits.max_text_chars}
    return {
        "type": "object",
        "properties": {"text": text},
        "required": ["text"],
        "additionalProperties": False,
        "examples": [{"text": example}],
    }


def read_text(record: Record, limits: RecordLimits) -> str:
    refuse_misnamed(record, ("text",), ("text",))
    return text_of(record["text"], ("text",), limits.max_text_chars)
