"""`/v1/predict`: answers to lists and streams of requests."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from adapters.serving.http import schema
from adapters.serving.http.answers import json_answer
from adapters.serving.http.openapi import body, refusals, schema_of
from adapters.serving.http.refusal import check_content_type
from adapters.serving.http.service import Service, hang_up
from adapters.serving.http.stream import Stream
from adapters.serving.http.token_router import token_router


def routes(service: Service) -> list[APIRouter]:
    """A list at a time, or as a stream."""
    router = token_router(service.tokens.check_predict)
    examples = {"two adapters": {"value": schema.EXAMPLE}}
    listed = {"application/json": {"schema": schema_of(service.parser.many), "examples": examples}}
    lines = "\n".join(orjson.dumps(one).decode() for one in schema.EXAMPLE)
    ndjson = {"application/x-ndjson": {"schema": {"type": "string"}, "example": lines}}
    answers: dict[int | str, dict[str, Any]] = {
        200: {
            "model": list[schema.Answer],
            "description": "Answers, in the order of the requests.",
            "content": {"application/json": {"example": schema.EXAMPLE_ANSWERS}},
        }
    }

    @router.post(
        "/v1/predict",
        summary="Answer a list of requests",
        openapi_extra=body(listed),
        responses={**answers, **refusals(400, 401, 404, 408, 413, 415, 422, 503, 504)},
    )
    async def predict(request: Request) -> Response:
        """Each request is answered by its own adapter. A request that cannot be answered has an error in its own
        answer; if none can, the status says why, and the body contains the answers as `answers`. `X-Timeout-Ms` sets a
        lower time limit than the server's."""
        check_content_type(request.headers, "application/json")
        service.ready_bank()
        if service.batcher.room <= 0:
            raise service.batcher.full()
        seconds = service.seconds(request)
        requests = service.parser.parse_list(await request.body())
        async with hang_up(request) as gone:
            job = await service.predict(requests, seconds, gone, request.scope["log"])
        return json_answer(job.answers)

    @router.post(
        "/v1/predict/stream",
        summary="Answer a stream of requests",
        openapi_extra=body(ndjson),
        responses={
            200: {"description": "One line per answer, in order.", "content": {"application/x-ndjson": {}}},
            **refusals(401, 415, 503),
        },
        response_class=Response,
    )
    async def stream(request: Request) -> Response:
        """One line of JSON per request and per answer, in order, while more requests arrive. A line that cannot be
        answered has an error in its own answer. If the server stopped before the end, a last line without `id` says
        why."""
        check_content_type(request.headers, "application/x-ndjson")
        service.ready_bank()
        return Stream(service, request.scope["log"])

    return [router]
