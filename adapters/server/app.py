"""The routes: adapters listed, loaded, unloaded; requests answered; how the server is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from adapters import __version__
from adapters.server import Refusal, schema
from adapters.server.docs import page_headers, page_of
from adapters.server.limits import Limits
from adapters.server.observing import Observed
from adapters.server.service import READY, Service
from adapters.server.stream import Stream

PAGE = Path(__file__).with_name("page")
FILES = {"/": ("index.html", "text/html"), "/page.css": ("page.css", "text/css"),
         "/page.js": ("page.js", "text/javascript")}  # fmt: skip
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
WRONG = {
    400: "no JSON", 401: "a wrong or missing token", 403: "not allowed here", 404: "no such adapter",
    408: "the body did not come in time", 409: "the name is taken, or there is no room", 413: "too large",
    415: "another content type", 422: "what was given cannot be used", 503: "not now; Retry-After says when",
    504: "it took too long",
}  # fmt: skip
SECURED: dict[str, Any] = {"security": [{"token": []}]}


def create(service: Service, *, opens: bool = False) -> FastAPI:
    """The application.

    Args:
        service: what it serves; the application closes it at its end.
        opens: open the service when the application starts (else its maker does).
    """

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        if opens:
            await service.aside(service.open)
        yield
        service.drain()
        await asyncio.get_running_loop().run_in_executor(None, service.close)

    app = FastAPI(title="taskswap", version=__version__, lifespan=life, docs_url=None, redoc_url=None,
                  description="Many adapters on one base model: each request names its own.")  # fmt: skip
    app.state.service = service
    app.add_middleware(Limits, settings=service.settings)
    app.add_middleware(Observed, metrics=service.metrics)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    _add_answering(app, service)
    _add_adapters(app, service)
    _add_state(app, service)
    _describe(app)
    return app


def wrong(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusals, for the OpenAPI."""
    return {status: {"model": schema.Wrong, "description": WRONG[status].capitalize() + "."} for status in statuses}


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _add_answering(app: FastAPI, service: Service) -> None:
    listed = service.reader.many.json_schema(ref_template="#/components/schemas/{model}")
    listed.pop("$defs")
    body = {"requestBody": {"required": True, "content": {"application/json": {
        "schema": listed, "examples": {"two adapters": {"value": schema.EXAMPLE}}}}}}  # fmt: skip
    lines = "\n".join(orjson.dumps(one).decode() for one in schema.EXAMPLE)
    ndjson = {"requestBody": {"required": True, "content": {"application/x-ndjson": {
        "schema": {"type": "string"}, "example": lines}}}}  # fmt: skip
    answered: dict[int | str, dict[str, Any]] = {200: {
        "model": list[schema.Answer], "description": "Answers, in the order of the requests.",
        "content": {"application/json": {"example": schema.ANSWERED}}}}  # fmt: skip

    @app.post("/v1/predict", summary="Answer a list of texts", openapi_extra={**body, **SECURED}, responses={
        **answered, **wrong(400, 401, 404, 408, 413, 415, 422, 503, 504)})  # fmt: skip
    async def predict(request: Request) -> Response:
        """Each request under its own adapter. A request that cannot be answered has its error in its own place; where
        none can, the status says why, and the answers are in the body as `answers`. `X-Timeout-Ms` asks for less time
        than the server allows."""
        service.tokens.check_predict(request.headers.get("authorization"))
        _check_type(request, "application/json")
        service.there()
        if service.collector.room <= 0:
            raise service.collector.full()
        seconds = service.seconds(request.headers.get("x-timeout-ms"))
        requests = service.reader.read(await request.body())
        gone = asyncio.ensure_future(request.receive())
        try:
            job = await service.predict(requests, seconds, gone, request.scope["told"])
        finally:
            gone.cancel()
        return _json(job.answers)

    @app.post("/v1/predict/stream", summary="Answer lines of JSON", openapi_extra={**ndjson, **SECURED}, responses={
        200: {"description": "A line an answer, in order.", "content": {"application/x-ndjson": {}}},
        **wrong(401, 415, 503)}, response_class=Response)  # fmt: skip
    async def stream(request: Request) -> Response:
        """A line a request in, a line an answer out, in order, while more come in. A line that cannot be answered has
        its error in its own place. A last line without `id` says why the server stopped before the end, if it did."""
        service.tokens.check_predict(request.headers.get("authorization"))
        _check_type(request, "application/x-ndjson")
        service.there()
        return Stream(service, request.scope["told"])


def _add_adapters(app: FastAPI, service: Service) -> None:
    def admin(request: Request) -> None:
        service.tokens.check_admin(request.headers.get("authorization"), request.headers.get("host"))
        if service.settings.workers > 1:
            raise Refusal(
                409, "workers", "This server has several workers, of which loading would reach one. Restart it with "
                "other --adapter, or with one worker.", expected="a server of one worker",
                found=f"{service.settings.workers} workers",
            )  # fmt: skip

    @app.get("/v1/adapters", summary="All adapters", responses={
        200: {"model": schema.Adapters}, **wrong(401, 503)}, openapi_extra=SECURED)  # fmt: skip
    async def adapters(request: Request) -> Response:
        """What is known of each."""
        service.tokens.check_predict(request.headers.get("authorization"))
        bank = service.there()
        base = {"name": bank.base.name, "kind": bank.base.kind}
        return _json({"format": 1, "base": base, "adapters": [service.told(told) for told in bank.adapters()]})

    @app.get("/v1/adapters/{id}", summary="One adapter", responses={
        200: {"model": schema.Card}, **wrong(401, 404, 422, 503)}, openapi_extra=SECURED)  # fmt: skip
    async def card(id: schema.Id, request: Request) -> Response:
        """With its artifact's card: task, method, base, scores, digests."""
        service.tokens.check_predict(request.headers.get("authorization"))
        return _json(service.card(id))

    @app.put("/v1/adapters/{id}", summary="Load or reload an adapter", status_code=201, responses={
        200: {"model": schema.Told, "description": "A new generation of an adapter that was there."},
        201: {"model": schema.Told, "description": "A new adapter."},
        **wrong(400, 401, 403, 408, 409, 413, 422, 503)}, openapi_extra=SECURED)  # fmt: skip
    async def load(id: schema.Id, given: schema.Folder, request: Request) -> Response:
        """The whole folder is verified first; where anything is wrong, nothing has changed. Requests under way finish
        on the generation they began on."""
        admin(request)
        told, new = await service.aside(lambda: service.load(id, given))
        return _json(told, 201 if new else 200)

    @app.delete("/v1/adapters/{id}", summary="Unload an adapter", status_code=204, response_class=Response,
                responses=wrong(401, 403, 404, 409, 422, 503), openapi_extra=SECURED)  # fmt: skip
    async def unload(id: schema.Id, request: Request) -> Response:
        """Requests under way finish."""
        admin(request)
        await service.aside(lambda: service.unload(id))
        return Response(status_code=204)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the process lives", responses={200: {"model": schema.State}})
    async def healthz() -> Response:
        """Always, while it does."""
        return _json({"status": "alive"})

    @app.get("/readyz", summary="Whether requests are answered", responses={
        200: {"model": schema.State}, **wrong(503)})  # fmt: skip
    async def readyz() -> Response:
        """Not before the base is warm, nor once the server is to stop."""
        service.there()
        return _json({"status": READY})

    @app.get("/metrics", summary="For Prometheus", response_class=Response, responses={
        200: {"content": {"text/plain": {}}}, **wrong(401)}, openapi_extra=SECURED)  # fmt: skip
    async def metrics(request: Request) -> Response:
        """Counts and times. Asks for the token for predicting, as adapters are named."""
        service.tokens.check_predict(request.headers.get("authorization"))
        service.metrics.queue.set(service.collector.waiting)
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        described = app.openapi()
        return Response(page_of(described), media_type="text/html; charset=utf-8", headers=page_headers())

    for path, (name, kind) in FILES.items():
        app.add_api_route(path, _file(PAGE / name, kind), include_in_schema=False)


def _file(path: Path, kind: str) -> Any:
    async def file() -> Response:
        if not path.is_file():
            raise HTTPException(404)
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache",
                   "Referrer-Policy": "no-referrer"}  # fmt: skip
        return Response(path.read_bytes(), media_type=f"{kind}; charset=utf-8", headers=headers)

    return file


def _check_type(request: Request, wanted: str) -> None:
    """Raises Refusal where a body is of another type: a page of another site can only send plain ones unasked."""
    found = request.headers.get("content-type", "")
    if found.partition(";")[0].strip().lower() != wanted:
        raise Refusal(
            415, "type", f"Say what the body is: with curl, -H 'Content-Type: {wanted}'.", expected=wanted,
            found=schema.shown(found),
        )  # fmt: skip


async def _of_http(request: Request, error: Exception) -> Response:
    """No such route, or no such method on it."""
    assert isinstance(error, HTTPException)
    path, method = request.url.path, request.method
    told = {404: "There is nothing at this path; /docs lists all.", 405: f"{method} is not for this path.",
            400: "The body cannot be read."}  # fmt: skip
    found = f"{method} {schema.shown(path)}"
    allowed = (error.headers or {}).get("Allow", "")
    body = {"error": told.get(error.status_code, str(error.detail)), "expected": allowed or "a path of /openapi.json",
            "found": found}  # fmt: skip
    return Response(orjson.dumps(body), error.status_code, dict(error.headers or {}), "application/json")


async def _of_validation(request: Request, error: Exception) -> Response:
    """A path or a body that FastAPI has checked."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    malformed = first["type"] == "json_invalid"
    where = ".".join(str(part) for part in first["loc"][1:]) or "body"
    message = f"The body is not JSON: {first['ctx']['error']}." if malformed else f"{where}: {first['msg']}."
    body = {"error": message, "expected": "what /docs says of this path", "found": schema.shown(first.get("input"))}
    return _json(body, 400 if malformed else 422)


def _describe(app: FastAPI) -> None:
    """The OpenAPI, with the requests' schema and the tokens in it."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            parts = made.setdefault("components", {})
            parts["schemas"]["Asked"] = schema.Asked.model_json_schema()
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way of changing it
