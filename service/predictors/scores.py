"""The answer of whatever chooses between labels: the best one, how sure it is, and all of them."""

from collections.abc import Sequence

from service.predictors.predictor import JsonSchema, Output


def scored(labels: Sequence[str], shares: Sequence[float]) -> Output:
    scores = dict(zip(labels, shares, strict=True))
    best = max(scores, key=lambda label: scores[label])
    return {"prediction": best, "confidence": scores[best], "scores": scores}


def scores_schema(labels: Sequence[str]) -> JsonSchema:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    scores = {"type": "object", "properties": dict.fromkeys(labels, share), "additionalProperties": share}
    return {
        "type": "object",
        "properties": {"prediction": {"type": "string"}, "confidence": share, "scores": scores},
        "required": ["prediction", "confidence", "scores"],
    }
