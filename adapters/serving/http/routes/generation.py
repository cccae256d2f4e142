"""`/v1/generate`: texts written by a causal base, under an adapter or without one."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from adapters.serving.http import schema
from adapters.serving.http.answers import json_answer
from adapters.serving.http.generator import GenerationStream
from adapters.serving.http.openapi import body, refusals, schema_of
from adapters.serving.http.refusal import check_content_type
from adapters.serving.http.service import Service, hang_up
from adapters.serving.http.token_router import token_router


def routes(service: Service) -> list[APIRouter]:
    """A text as a whole, or as a stream."""
    router = token_router(service.tokens.check_predict)
    examples = {"a completion": {"value": schema.EXAMPLE_TEXT}, "a stream": {"value": schema.EXAMPLE_STREAM}}
    content = {"application/json": {"schema": schema_of(service.parser.generated), "examples": examples}}
    lines = b"\n".join(map(orjson.dumps, [*schema.EXAMPLE_PARTS, schema.EXAMPLE_WRITTEN])).decode()
    answers: dict[int | str, dict[str, Any]] = {
        200: {
            "model": schema.Answer,
            "description": "The answer; of a stream: one line per new part of the text, then the answer.",
            "content": {
                "application/json": {"example": schema.EXAMPLE_WRITTEN},
                "application/x-ndjson": {"schema": {"type": "string"}, "example": lines},
            },
        }
    }

    @router.post(
        "/v1/generate",
        summary="Continue a text",
        openapi_extra=body(content),
        responses={**answers, **refusals(400, 401, 404, 408, 413, 415, 422, 503, 504)},
    )
    async def generate(request: Request) -> Response:
        """Writes after a text, under an adapter that generates or the base alone. Texts that arrive together are
        written together; each has its own sampling. With `stream`, the answer is NDJSON: `{id, adapter, text}` for each
        new part, and a last line with the whole answer, or with an `error`. `X-Timeout-Ms` sets a lower time limit than
        the server's."""
        check_content_type(request.headers, "application/json")
        service.ready_bank()
        seconds = service.seconds(request)
        given, log = service.parser.parse_generate(await request.body()), request.scope["log"]
        text, sampling = service.generation_request(given, log), given.sampling()
        if given.stream:
            return GenerationStream(service.generator, text, sampling, seconds, log)
        async with hang_up(request) as gone:
            return json_answer(await service.generator.answer(text, sampling, seconds, gone, log))

    return [router]
