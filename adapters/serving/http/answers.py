"""Answers in JSON: a route's, and those to requests that reach none or do not fit its schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from adapters.serving.http.refusal import misfit, shown


def json_answer(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(orjson.dumps(value), status, media_type="application/json")


def without_paths(value: Any) -> Any:
    """A card in which each absolute path is replaced by its last component."""
    if isinstance(value, Mapping):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if isinstance(value, str) and (value.startswith(("/", "\\\\")) or value[1:3] in (":\\", ":/")):
        return value.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return value


def answer_errors_in_json(app: FastAPI) -> None:
    """Give FastAPI's own errors the body of this server's: `{error, expected, found}`."""
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)


async def _of_http(request: Request, error: Exception) -> Response:
    """No such route, or no such method of a route."""
    assert isinstance(error, HTTPException)
    path, method = request.url.path, request.method
    messages = {
        404: "No such path; /docs lists all.",
        405: f"This path does not accept {method}.",
        400: "The body cannot be read.",
    }
    found = f"{method} {shown(path)}"
    allowed = (error.headers or {}).get("Allow", "")
    body = {
        "error": messages.get(error.status_code, str(error.detail)),
        "expected": allowed or "a path of /openapi.json",
        "found": found,
    }
    return Response(orjson.dumps(body), error.status_code, dict(error.headers or {}), "application/json")


async def _of_validation(request: Request, error: Exception) -> Response:
    """A path or a body that does not fit FastAPI's schema."""
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    first = errors[0]
    malformed = first["type"] == "json_invalid"
    if malformed:
        message = f"The body is not JSON: {first['ctx']['error']}."
    else:
        source = first["loc"][0]
        given = {"body": error.body, "query": request.query_params, "path": request.path_params}.get(source)
        same = [{**one, "loc": one["loc"][1:]} for one in errors if one["loc"][0] == source]
        message = misfit(same, given)
    body = {
        "error": message,
        "expected": "what /docs documents for this path",
        "found": shown(first.get("input")),
    }
    return json_answer(body, 400 if malformed else 422)
