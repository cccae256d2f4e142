"""The ASGI application: the server's routes, those of what is served beside them, and what surrounds all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from fastapi import APIRouter, FastAPI

from adapters.core.environment import versions
from adapters.serving.http.answers import answer_errors_in_json
from adapters.serving.http.application import Application
from adapters.serving.http.limits import Limits
from adapters.serving.http.openapi import add_schemas
from adapters.serving.http.routes import adapters, explanation, generation, pages, predictions, state
from adapters.serving.http.service import Service
from adapters.serving.http.telemetry import RequestLogging
from adapters.serving.http.token_router import without_token


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
    answer_errors_in_json(app)
    for group in (predictions, generation, explanation, adapters, state):
        for router in group.routes(service):
            _include(app, router)
    _include(app, pages.own_pages())
    for application in applications:
        service.on_start.append(application.open)
        service.on_close.append(application.close)
        for router in application.routes(service):
            if found := without_token(router):
                raise AssertionError(f"{application.name}: {found[0]} was not added to a token_router.")
            _include(app, router)
        _include(app, pages.application_page(application))
    add_schemas(app)
    return app


def _include(app: FastAPI, router: APIRouter) -> None:
    """Add a group's routes, which have its prefix and dependencies already.

    Under `FastAPI.include_router`, of 0.165 for one, each request is matched twice, which takes 10 µs of the 170 that
    a prediction takes without its model.
    """
    app.router.routes.extend(router.routes)
