"""`/v1/explain`: what each word of a text adds to its answer."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from adapters.serving.http import schema
from adapters.serving.http.answers import json_answer
from adapters.serving.http.openapi import body, refusals, schema_of
from adapters.serving.http.refusal import check_content_type
from adapters.serving.http.service import Service, hang_up
from adapters.serving.http.token_router import token_router


def routes(service: Service) -> list[APIRouter]:
    """One text at a time."""
    router = token_router(service.tokens.check_predict)
    examples = {"a text": {"value": schema.EXAMPLE_EXPLAIN}}
    content = {"application/json": {"schema": schema_of(service.parser.explained), "examples": examples}}

    @router.post(
        "/v1/explain",
        summary="Explain an answer",
        openapi_extra=body(content),
        responses={
            200: {"model": schema.Explained, "description": "What each word adds to the answer."},
            **refusals(400, 401, 403, 404, 408, 413, 415, 422, 503, 504),
        },
    )
    async def explain(request: Request) -> Response:
        """What each word adds to the score of an adapter's answer. One explanation is computed at a time; those that
        wait have a limit of their own (`--max_explanations`), and so has the number of words
        (`--max_explained_words`). `X-Timeout-Ms` sets a lower time limit than the server's."""
        check_content_type(request.headers, "application/json")
        bank, seconds = service.ready_bank(), service.seconds(request)
        asked = service.parser.parse_explain(await request.body())
        service.log_texts([asked.request()], request.scope["log"])
        async with hang_up(request) as gone:
            return json_answer(await service.explainer.answer(bank, asked, seconds, gone))

    return [router]
