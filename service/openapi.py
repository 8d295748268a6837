"""The OpenAPI description: what FastAPI finds in the routes, and the one shape of all errors."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service.errors import FieldError, Problem

REFERENCE = "#/components/schemas/{model}"


class DescribedApp(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            described = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes
            )
            _, problems = models_json_schema(
                [(Problem, "serialization"), (FieldError, "serialization")], ref_template=REFERENCE
            )
            described.setdefault("components", {}).setdefault("schemas", {}).update(problems["$defs"])
            self.openapi_schema = described
        return self.openapi_schema
