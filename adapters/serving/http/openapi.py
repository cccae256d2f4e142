"""The OpenAPI: which refusals a route documents, and the bodies that FastAPI does not parse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from adapters.serving.http import schema

REFUSALS = {
    400: "not JSON",
    401: "a wrong or missing token",
    403: "not allowed on this server",
    404: "unknown adapter, no router, or nothing of this number",
    408: "the body did not arrive in time",
    409: "the name is taken, there is no room, or another message came first",
    413: "too large",
    415: "wrong content type",
    422: "the request cannot be used",
    503: "not ready or no room; try again after Retry-After seconds",
    504: "the time limit was exceeded",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for the OpenAPI."""
    return {
        status: {"model": schema.ErrorBody, "description": REFUSALS[status].capitalize() + "."} for status in statuses
    }


def body(content: Mapping[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route that parses its body itself. Args: schema and examples by content type."""
    return {"requestBody": {"required": True, "content": content}}


def schema_of(parsed: TypeAdapter[Any]) -> dict[str, Any]:
    """The schema of such a body. It refers to the models within it, which `add_schemas` adds."""
    found = parsed.json_schema(ref_template="#/components/schemas/{model}")
    found.pop("$defs", None)
    return found


def add_schemas(app: FastAPI) -> None:
    """Add the schemas of requests, which routes parse themselves, to the OpenAPI."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = document["components"]["schemas"]
            for model in (schema.PredictRequest, schema.TextInput):
                schemas[model.__name__] = model.model_json_schema()
            schemas.setdefault("JsonValue", {"description": "Any JSON value."})  # pydantic leaves it out
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
