"""`/v1/adapters` and `/v1/router`: what is loaded, for clients; loading and unloading, for who has the admin token."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from adapters.serving.http import schema
from adapters.serving.http.administration import Administration
from adapters.serving.http.answers import json_answer
from adapters.serving.http.openapi import refusals
from adapters.serving.http.refusal import Refusal
from adapters.serving.http.service import Service
from adapters.serving.http.token_router import token_router


def routes(service: Service) -> list[APIRouter]:
    """What is loaded, and changes of it."""
    administration = Administration(service)
    return [_reading(service, administration), _loading(service, administration)]


def _reading(service: Service, administration: Administration) -> APIRouter:
    group = token_router(service.tokens.check_predict, prefix="/v1")

    @group.get(
        "/adapters",
        summary="List the adapters",
        responses={200: {"model": schema.Adapters}, **refusals(401, 503)},
    )
    async def adapters() -> Response:
        """Version, task, method, base and scores of each, and whether it is in memory."""
        bank = service.ready_bank()
        base = {"name": bank.base.name, "kind": bank.base.kind}
        every = [administration.public_info(info) for info in bank.adapters()]
        return json_answer({"format": 1, "base": base, "adapters": every})

    @group.get(
        "/adapters/{id}",
        summary="Show an adapter",
        responses={200: {"model": schema.Card}, **refusals(401, 404, 422, 503)},
    )
    async def card(id: schema.Id) -> Response:
        """The same, with its artifact's card: task, method, base, scores, digests."""
        return json_answer(administration.card(id))

    @group.get(
        "/router",
        summary="Show the router",
        responses={200: {"model": schema.RouterState}, **refusals(401, 503)},
    )
    async def router() -> Response:
        """Kind, adapters and threshold of the router that answers for `auto`; null if there is none."""
        return json_answer({"format": 1, "router": administration.router()})

    return group


def _loading(service: Service, administration: Administration) -> APIRouter:
    async def one_worker() -> None:
        """Raises Refusal."""
        if service.settings.workers > 1:
            raise Refusal(
                409,
                "workers",
                "This server has several workers, and loading would reach only one. Restart it with "
                "other --adapter flags, or with one worker.",
                expected="a server with one worker",
                found=f"{service.settings.workers} workers",
            )

    group = token_router(service.tokens.check_admin, prefix="/v1", dependencies=[Depends(one_worker)])

    @group.put(
        "/adapters/{id}",
        summary="Load or reload an adapter",
        status_code=201,
        responses={
            200: {"model": schema.AdapterInfo, "description": "A new version of an adapter."},
            201: {"model": schema.AdapterInfo, "description": "A new adapter."},
            **refusals(400, 401, 403, 408, 409, 413, 422, 503),
        },
    )
    async def load(id: schema.Id, given: schema.LoadRequest) -> Response:
        """The whole folder is verified first; if anything is wrong, nothing has changed. Requests in progress finish on
        the version with which they began."""
        info = await service.in_background(lambda: administration.load(id, given))
        return json_answer(info, 201 if info["version"] == 1 else 200)

    @group.post(
        "/adapters/{id}/rollback",
        summary="Return to the former version of an adapter",
        responses={200: {"model": schema.AdapterInfo}, **refusals(401, 403, 404, 409, 422, 503)},
    )
    async def rollback(id: schema.Id) -> Response:
        """Its folder is verified and loaded again, as a version with a new number; the version that is left is
        forgotten. Requests in progress finish on the version with which they began."""
        return json_answer(await service.in_background(lambda: administration.rollback(id)))

    @group.delete(
        "/adapters/{id}",
        summary="Unload an adapter",
        status_code=204,
        response_class=Response,
        responses=refusals(401, 403, 404, 409, 422, 503),
    )
    async def unload(id: schema.Id) -> Response:
        """Requests in progress finish."""
        await service.in_background(lambda: administration.unload(id))
        return Response(status_code=204)

    @group.put(
        "/router",
        summary="Load or replace the router",
        responses={200: {"model": schema.RouterInfo}, **refusals(400, 401, 403, 408, 409, 413, 422, 503)},
    )
    async def load_router(given: schema.LoadRouterRequest) -> Response:
        """The whole folder is verified first, and that all adapters it routes to are loaded; if anything is wrong,
        nothing has changed."""
        return json_answer(await service.in_background(lambda: administration.load_router(given.folder)))

    @group.delete(
        "/router",
        summary="Unload the router",
        status_code=204,
        response_class=Response,
        responses=refusals(401, 403, 404, 409, 503),
    )
    async def unload_router() -> Response:
        """Requests for `auto` are refused from then on."""
        await service.in_background(administration.unload_router)
        return Response(status_code=204)

    return group
