"""The routes: predictions, adapters, the server's state."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from adapters.core.environment import versions
from adapters.serving.http import schema
from adapters.serving.http.application import Application
from adapters.serving.http.generator import GenerationStream
from adapters.serving.http.limits import Limits
from adapters.serving.http.openapi_page import page_headers, page_of
from adapters.serving.http.refusal import Refusal, misfit, shown
from adapters.serving.http.service import READY, Service
from adapters.serving.http.stream import Stream
from adapters.serving.http.telemetry import RequestLogging

PAGE = Path(__file__).with_name("page")
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/talk.js": ("talk.js", "text/javascript"),
}
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
"""Files of an application's page that are served, by their suffix."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
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
SECURED: dict[str, Any] = {"security": [{"token": []}]}


def create(service: Service, applications: Sequence[Application] = ()) -> FastAPI:
    """The ASGI application of a service and of what is served on its bank.

    The caller opens the service; it is closed when the ASGI application ends.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.drain()
        await asyncio.get_running_loop().run_in_executor(None, service.close)

    app = FastAPI(
        title="taskswap",
        version=versions()["taskswap"],
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        description="Many adapters on one base model: each request names its adapter.",
    )
    app.state.service = service
    app.add_middleware(Limits, settings=service.settings)
    app.add_middleware(RequestLogging, metrics=service.metrics)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    _add_predictions(app, service)
    _add_generation(app, service)
    _add_explanation(app, service)
    _add_adapters(app, service)
    _add_state(app, service)
    for application in applications:
        service.on_start.append(application.open)
        service.on_close.append(application.close)
        app.include_router(application.routes(service))
        _add_page(app, application)
    _describe(app)
    return app


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for the OpenAPI."""
    return {
        status: {"model": schema.ErrorBody, "description": REFUSALS[status].capitalize() + "."} for status in statuses
    }


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _add_predictions(app: FastAPI, service: Service) -> None:
    requests_schema = service.parser.many.json_schema(ref_template="#/components/schemas/{model}")
    requests_schema.pop("$defs")
    body = {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": requests_schema, "examples": {"two adapters": {"value": schema.EXAMPLE}}}
            },
        }
    }
    lines = "\n".join(orjson.dumps(one).decode() for one in schema.EXAMPLE)
    ndjson = {
        "requestBody": {
            "required": True,
            "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": lines}},
        }
    }
    answers: dict[int | str, dict[str, Any]] = {
        200: {
            "model": list[schema.Answer],
            "description": "Answers, in the order of the requests.",
            "content": {"application/json": {"example": schema.EXAMPLE_ANSWERS}},
        }
    }

    @app.post(
        "/v1/predict",
        summary="Answer a list of requests",
        openapi_extra={**body, **SECURED},
        responses={**answers, **refusals(400, 401, 404, 408, 413, 415, 422, 503, 504)},
    )
    async def predict(request: Request) -> Response:
        """Each request is answered by its own adapter. A request that cannot be answered has an error in its own
        answer; if none can, the status says why, and the body contains the answers as `answers`. `X-Timeout-Ms` sets a
        lower time limit than the server's."""
        service.tokens.check_predict(request.headers.get("authorization"))
        _check_type(request, "application/json")
        service.ready_bank()
        if service.batcher.room <= 0:
            raise service.batcher.full()
        seconds = service.seconds(request.headers.get("x-timeout-ms"))
        requests = service.parser.parse_list(await request.body())
        disconnected = asyncio.ensure_future(request.receive())
        try:
            job = await service.predict(requests, seconds, disconnected, request.scope["log"])
        finally:
            disconnected.cancel()
        return _json(job.answers)

    @app.post(
        "/v1/predict/stream",
        summary="Answer a stream of requests",
        openapi_extra={**ndjson, **SECURED},
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
        service.tokens.check_predict(request.headers.get("authorization"))
        _check_type(request, "application/x-ndjson")
        service.ready_bank()
        return Stream(service, request.scope["log"])


def _add_generation(app: FastAPI, service: Service) -> None:
    given = service.parser.generated.model_json_schema(ref_template="#/components/schemas/{model}")
    given.pop("$defs")
    examples = {"a completion": {"value": schema.EXAMPLE_TEXT}, "a stream": {"value": schema.EXAMPLE_STREAM}}
    body = {"requestBody": {"required": True, "content": {"application/json": {"schema": given, "examples": examples}}}}
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

    @app.post(
        "/v1/generate",
        summary="Continue a text",
        openapi_extra={**body, **SECURED},
        responses={**answers, **refusals(400, 401, 404, 408, 413, 415, 422, 503, 504)},
    )
    async def generate(request: Request) -> Response:
        """Writes after a text, under an adapter that generates or the base alone. Texts that arrive together are
        written together; each has its own sampling. With `stream`, the answer is NDJSON: `{id, adapter, text}` for each
        new part, and a last line with the whole answer, or with an `error`. `X-Timeout-Ms` sets a lower time limit than
        the server's."""
        service.tokens.check_predict(request.headers.get("authorization"))
        _check_type(request, "application/json")
        service.ready_bank()
        seconds = service.seconds(request.headers.get("x-timeout-ms"))
        given, log = service.parser.parse_generate(await request.body()), request.scope["log"]
        text, sampling = service.generation_request(given, log), given.sampling()
        if given.stream:
            return GenerationStream(service.generator, text, sampling, seconds, log)
        gone = asyncio.ensure_future(request.receive())
        try:
            return _json(await service.generator.answer(text, sampling, seconds, gone, log))
        finally:
            gone.cancel()


def _add_explanation(app: FastAPI, service: Service) -> None:
    given = schema.ExplainRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    given.pop("$defs", None)
    content = {"application/json": {"schema": given, "examples": {"a text": {"value": schema.EXAMPLE_EXPLAIN}}}}

    @app.post(
        "/v1/explain",
        summary="Explain an answer",
        openapi_extra={"requestBody": {"required": True, "content": content}, **SECURED},
        responses={
            200: {"model": schema.Explained, "description": "What each word adds to the answer."},
            **refusals(400, 401, 403, 404, 408, 413, 415, 422, 503, 504),
        },
    )
    async def explain(request: Request) -> Response:
        """What each word adds to the score of an adapter's answer. One explanation is computed at a time; those that
        wait have a limit of their own (`--max_explanations`), and so has the number of words
        (`--max_explained_words`). `X-Timeout-Ms` sets a lower time limit than the server's."""
        service.tokens.check_predict(request.headers.get("authorization"))
        _check_type(request, "application/json")
        bank, seconds = service.ready_bank(), service.seconds(request.headers.get("x-timeout-ms"))
        asked = service.parser.parse_explain(await request.body())
        service.log_texts([asked.request()], request.scope["log"])
        return _json(await service.explainer.answer(bank, asked, seconds))


def _add_adapters(app: FastAPI, service: Service) -> None:
    def admin(request: Request) -> None:
        service.tokens.check_admin(request.headers.get("authorization"))
        if service.settings.workers > 1:
            raise Refusal(
                409,
                "workers",
                "This server has several workers, and loading would reach only one. Restart it with "
                "other --adapter flags, or with one worker.",
                expected="a server with one worker",
                found=f"{service.settings.workers} workers",
            )

    @app.get(
        "/v1/adapters",
        summary="List the adapters",
        responses={200: {"model": schema.Adapters}, **refusals(401, 503)},
        openapi_extra=SECURED,
    )
    async def adapters(request: Request) -> Response:
        """Version, task, method, base and scores of each, and whether it is in memory."""
        service.tokens.check_predict(request.headers.get("authorization"))
        bank = service.ready_bank()
        base = {"name": bank.base.name, "kind": bank.base.kind}
        return _json({"format": 1, "base": base, "adapters": [service.public_info(info) for info in bank.adapters()]})

    @app.get(
        "/v1/adapters/{id}",
        summary="Show an adapter",
        responses={200: {"model": schema.Card}, **refusals(401, 404, 422, 503)},
        openapi_extra=SECURED,
    )
    async def card(id: schema.Id, request: Request) -> Response:
        """The same, with its artifact's card: task, method, base, scores, digests."""
        service.tokens.check_predict(request.headers.get("authorization"))
        return _json(service.card(id))

    @app.put(
        "/v1/adapters/{id}",
        summary="Load or reload an adapter",
        status_code=201,
        responses={
            200: {"model": schema.AdapterInfo, "description": "A new version of an adapter."},
            201: {"model": schema.AdapterInfo, "description": "A new adapter."},
            **refusals(400, 401, 403, 408, 409, 413, 422, 503),
        },
        openapi_extra=SECURED,
    )
    async def load(id: schema.Id, given: schema.LoadRequest, request: Request) -> Response:
        """The whole folder is verified first; if anything is wrong, nothing has changed. Requests in progress finish on
        the version with which they began."""
        admin(request)
        info = await service.in_background(lambda: service.load(id, given))
        return _json(info, 201 if info["version"] == 1 else 200)

    @app.post(
        "/v1/adapters/{id}/rollback",
        summary="Return to the former version of an adapter",
        responses={200: {"model": schema.AdapterInfo}, **refusals(401, 403, 404, 409, 422, 503)},
        openapi_extra=SECURED,
    )
    async def rollback(id: schema.Id, request: Request) -> Response:
        """Its folder is verified and loaded again, as a version with a new number; the version that is left is
        forgotten. Requests in progress finish on the version with which they began."""
        admin(request)
        return _json(await service.in_background(lambda: service.rollback(id)))

    @app.delete(
        "/v1/adapters/{id}",
        summary="Unload an adapter",
        status_code=204,
        response_class=Response,
        responses=refusals(401, 403, 404, 409, 422, 503),
        openapi_extra=SECURED,
    )
    async def unload(id: schema.Id, request: Request) -> Response:
        """Requests in progress finish."""
        admin(request)
        await service.in_background(lambda: service.unload(id))
        return Response(status_code=204)

    @app.get(
        "/v1/router",
        summary="Show the router",
        responses={200: {"model": schema.RouterState}, **refusals(401, 503)},
        openapi_extra=SECURED,
    )
    async def router(request: Request) -> Response:
        """Kind, adapters and threshold of the router that answers for `auto`; null if there is none."""
        service.tokens.check_predict(request.headers.get("authorization"))
        return _json({"format": 1, "router": service.router()})

    @app.put(
        "/v1/router",
        summary="Load or replace the router",
        responses={
            200: {"model": schema.RouterInfo},
            **refusals(400, 401, 403, 408, 409, 413, 422, 503),
        },
        openapi_extra=SECURED,
    )
    async def load_router(given: schema.LoadRouterRequest, request: Request) -> Response:
        """The whole folder is verified first, and that all adapters it routes to are loaded; if anything is wrong,
        nothing has changed."""
        admin(request)
        return _json(await service.in_background(lambda: service.load_router(given.folder)))

    @app.delete(
        "/v1/router",
        summary="Unload the router",
        status_code=204,
        response_class=Response,
        responses=refusals(401, 403, 404, 409, 503),
        openapi_extra=SECURED,
    )
    async def unload_router(request: Request) -> Response:
        """Requests for `auto` are refused from then on."""
        admin(request)
        await service.in_background(service.unload_router)
        return Response(status_code=204)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the process is alive", responses={200: {"model": schema.State}})
    async def healthz() -> Response:
        """Always, while it is."""
        return _json({"status": "alive"})

    @app.get(
        "/readyz",
        summary="Whether the server answers requests",
        responses={200: {"model": schema.State}, **refusals(503)},
    )
    async def readyz() -> Response:
        """Not before the base is warm, nor after the server has begun to stop."""
        service.ready_bank()
        return _json({"status": READY})

    @app.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **refusals(401)},
        openapi_extra=SECURED,
    )
    async def metrics(request: Request) -> Response:
        """Counts and times. Needs the predict token, as it names adapters."""
        service.tokens.check_predict(request.headers.get("authorization"))
        service.count_waiting()
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get(
        "/v1/drift",
        summary="Compare the answers with those on dev",
        responses={200: {"model": schema.DriftReport}, **refusals(401, 503)},
        openapi_extra=SECURED,
    )
    async def drift(request: Request) -> Response:
        """Labels, confidence and unknown tokens of each adapter's last window of answers, against its card. Of several
        workers, the one that answers tells its own counts."""
        service.tokens.check_predict(request.headers.get("authorization"))
        return _json(service.drift_report())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(page_of(app.openapi()), media_type="text/html; charset=utf-8", headers=page_headers())

    for path, (name, kind) in FILES.items():
        app.add_api_route(path, _file(PAGE / name, kind), include_in_schema=False)


def _add_page(app: FastAPI, application: Application) -> None:
    """The files of an application's page below its name."""
    for path in sorted(application.page.iterdir()) if application.page is not None else ():
        if path.suffix in KINDS:
            name = "" if path.name == "index.html" else path.name
            app.add_api_route(f"/{application.name}/{name}", _file(path, KINDS[path.suffix]), include_in_schema=False)


def _file(path: Path, kind: str) -> Any:
    async def file() -> Response:
        if not path.is_file():
            raise HTTPException(404)
        headers = {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
            "Referrer-Policy": "no-referrer",
        }
        return Response(path.read_bytes(), media_type=f"{kind}; charset=utf-8", headers=headers)

    return file


def _check_type(request: Request, expected: str) -> None:
    """Raises Refusal for another content type: without CORS a page of another site can only send simple ones."""
    found = request.headers.get("content-type", "")
    if found.partition(";")[0].strip().lower() != expected:
        raise Refusal(
            415,
            "type",
            f"The Content-Type must be {expected}: with curl, -H 'Content-Type: {expected}'.",
            expected=expected,
            found=shown(found),
        )


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
    first = error.errors()[0]
    malformed = first["type"] == "json_invalid"
    message = f"The body is not JSON: {first['ctx']['error']}." if malformed else misfit(first, first["loc"][1:])
    body = {
        "error": message,
        "expected": "what /docs documents for this path",
        "found": shown(first.get("input")),
    }
    return _json(body, 400 if malformed else 422)


def _describe(app: FastAPI) -> None:
    """Add the schema of requests and the tokens to the OpenAPI."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            components = document.setdefault("components", {})
            for model in (schema.PredictRequest, schema.TextInput):
                components["schemas"][model.__name__] = model.model_json_schema()
            components["schemas"].setdefault("JsonValue", {"description": "Any JSON value."})  # pydantic leaves it out
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
