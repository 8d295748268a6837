"""The OpenAPI description: what the routes say, the shape of all errors, who may ask, and what models take."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service.access.policies import Policy
from service.errors import PROBLEM, FieldError, Problem, documented
from service.models.registry import LoadedOneShot, Model
from service.routes.chat_files import FORM_PATH
from streaming.schemas import ChatForm
from uploads.process_routes import FILE
from uploads.routes import FILE_FIELD

EDGE_REFUSALS = (400, 403)
REFERENCE = "#/components/schemas/{model}"
SCHEMES = {
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "From `headwater keys create`. A service that listens on this machine only may ask for none.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, or a token that another issuer signed."},
    "login": {
        "type": "oauth2",
        "description": "A token for a name and a password.",
        "flows": {"password": {"tokenUrl": "/login", "scopes": {}}},
    },
}


class DescribedApp(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            described = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes
            )
            _, problems = models_json_schema(
                [(Problem, "serialization"), (FieldError, "serialization")], ref_template=REFERENCE
            )
            schemas = described.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(problems["$defs"])
            content = described["paths"][FORM_PATH]["post"]["requestBody"]["content"]
            content["multipart/form-data"] = {"schema": form_schema(schemas)}
            described["components"]["securitySchemes"] = SCHEMES
            for operation in operations(described["paths"]):
                describe_refusals(operation["responses"])
            for operation, policy in guarded(described["paths"], self.state.policies):
                describe(operation, policy)
            self.openapi_schema = described
        fleet = getattr(self.state, "fleet", None)  # there is one while the service runs
        return self.openapi_schema if fleet is None else with_models(self.openapi_schema, fleet.registry.models)


def with_models(described: dict[str, Any], models: Mapping[str, Model]) -> dict[str, Any]:
    """With the schemas of the models that are loaded: their records differ with what is served, and no route knows."""
    loaded = {name: model.loaded.model for name, model in models.items() if isinstance(model.loaded, LoadedOneShot)}
    schemas = {
        **described["components"]["schemas"],
        **{f"{name}.input": dict(model.input_schema) for name, model in loaded.items()},
        **{f"{name}.output": dict(model.output_schema) for name, model in loaded.items()},
    }
    return {**described, "components": {**described["components"], "schemas": schemas}}


def operations(paths: Mapping[str, Mapping[str, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    return (operation for methods in paths.values() for operation in methods.values())


def describe_refusals(responses: dict[str, dict[str, Any]]) -> None:
    """A foreign Host or Origin is refused on every route. What a package refuses by itself gets its shape here."""
    for status, response in documented(*EDGE_REFUSALS).items():
        responses.setdefault(str(status), response)
    for status, response in responses.items():
        if int(status) >= HTTPStatus.BAD_REQUEST:
            response.setdefault("content", PROBLEM)


def guarded(
    paths: Mapping[str, Mapping[str, dict[str, Any]]], policies: Mapping[str, Policy]
) -> Iterator[tuple[dict[str, Any], Policy]]:
    """Operations that are not for everybody. The description writes `{name:path}` as `{name}`."""
    written = {line.replace(":path}", "}"): policy for line, policy in policies.items()}
    for path, methods in paths.items():
        for method, operation in methods.items():
            policy = written[f"{method.upper()} {path}"]
            if not policy.is_public:
                yield operation, policy


def describe(operation: dict[str, Any], policy: Policy) -> None:
    operation["security"] = [{name: []} for name in SCHEMES]
    needed = " and ".join(sorted(policy.scopes))
    told = f"Needs the scope {needed}." if needed else "Needs any valid key or token."
    operation["description"] = f"{operation.get('description', '')}\n\n{told}".strip()


def form_schema(schemas: dict[str, Any]) -> dict[str, Any]:
    """Of the form that brings files along: the same path takes JSON, and FastAPI knows one route of a path only."""
    form = ChatForm.model_json_schema(ref_template=REFERENCE)
    schemas.update(form.pop("$defs", {}))
    form["properties"][FILE_FIELD] = {"type": "array", "items": FILE, "description": "What to answer from."}
    return form
