"""Groups of routes that need a token: the group declares which one, and no route of it can be left open."""

# No `from __future__ import annotations`: FastAPI 0.118 does not resolve such annotations of an object that is called.
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi import APIRouter, Request, Response, Security
from fastapi.params import Depends
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute

Check = Callable[[str | None], None]
"""Raises Refusal unless a request's `Authorization` header has the token."""


class TokenCheck(HTTPBearer):
    """A token that routes need: a dependency of FastAPI, which also describes it in the OpenAPI."""

    def __init__(self, check: Check) -> None:
        """Args: what checks the header."""
        super().__init__(scheme_name="token", auto_error=False)
        self.check = check

    async def __call__(self, request: HTTPConnection) -> None:
        """Raises Refusal."""
        self.check(request.headers.get("authorization"))


class TokenRoute(APIRoute):
    """A route that needs a token: one that declares none is not made."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Answers a request whose token is checked before its body is read."""
        answer = super().get_route_handler()
        checks = [one.dependency for one in self.dependencies if isinstance(one.dependency, TokenCheck)]
        if not checks:
            raise AssertionError(f"{self.path}: declares no token. Add it to a token_router.")
        if self.body_field is None:
            return answer

        # FastAPI reads a declared body before it runs a dependency, and answers 400 to whatever goes wrong with it: to
        # one that is too large or too slow as well.
        async def checked(request: Request) -> Response:
            for check in checks:
                await check(request)
            await request.body()
            return await answer(request)

        return checked


def token_router(check: Check, *, prefix: str = "", dependencies: Iterable[Depends] = ()) -> APIRouter:
    """A group of routes that need a token.

    Args:
        check: `check_predict`, `check_staff` or `check_admin` of the server's tokens.
        prefix: of the paths.
        dependencies: what else all of them depend on, once the token is right.
    """
    needed = [Security(TokenCheck(check)), *dependencies]
    return APIRouter(prefix=prefix, dependencies=needed, route_class=TokenRoute)


def without_token(router: APIRouter) -> list[BaseRoute]:
    """The routes of a group that are not known to need a token: those that were not added to a `token_router`."""
    return [route for route in router.routes if not isinstance(route, TokenRoute)]
