"""The server's state: whether it lives and is ready, which anyone may ask, and what it counts."""

from __future__ import annotations

from fastapi import APIRouter, Response

from adapters.serving.http import schema
from adapters.serving.http.answers import json_answer
from adapters.serving.http.openapi import refusals
from adapters.serving.http.service import READY, Service
from adapters.serving.http.token_router import token_router


def routes(service: Service) -> list[APIRouter]:
    """What is public, and what needs the predict token."""
    return [_probes(service), _counts(service)]


def _probes(service: Service) -> APIRouter:
    """For whoever restarts the process or sends it requests, and has no token."""
    router = APIRouter()

    @router.get("/healthz", summary="Whether the process is alive", responses={200: {"model": schema.State}})
    async def healthz() -> Response:
        """Always, while it is."""
        return json_answer({"status": "alive"})

    @router.get(
        "/readyz",
        summary="Whether the server answers requests",
        responses={200: {"model": schema.State}, **refusals(503)},
    )
    async def readyz() -> Response:
        """Not before the base is warm, nor after the server has begun to stop."""
        service.ready_bank()
        return json_answer({"status": READY})

    return router


def _counts(service: Service) -> APIRouter:
    router = token_router(service.tokens.check_predict)

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **refusals(401)},
    )
    async def metrics() -> Response:
        """Counts and times. Needs the predict token, as it names adapters."""
        service.count_waiting()
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get(
        "/v1/drift",
        summary="Compare the answers with those on dev",
        responses={200: {"model": schema.DriftReport}, **refusals(401, 503)},
    )
    async def drift() -> Response:
        """Labels, confidence and unknown tokens of each adapter's last window of answers, against its card. Of several
        workers, the one that answers tells its own counts."""
        service.ready_bank()
        window, rate = service.settings.drift_window, service.settings.drift_rate
        return json_answer({"format": 1, "window": window, "rate": rate, "adapters": service.drift.report()})

    return router
