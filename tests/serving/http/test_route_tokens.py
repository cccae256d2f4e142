"""Every path of a server with all applications is public by name here, or needs a token before anything else."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shop
from conftest import REPOSITORY
from desk import Desk
from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from servers import Site

from adapters.applications.news_monitor.serving import NewsMonitorSite
from adapters.applications.news_monitor.settings import NewsMonitorSettings
from adapters.serving.http.auth import Tokens
from adapters.serving.http.refusal import Refusal
from adapters.serving.http.token_router import TokenCheck, TokenRoute, token_router

PUBLIC = {"/healthz", "/readyz", "/docs", "/openapi.json"}
PAGES = {
    "/": {"", "page.css", "page.js", "talk.js"},
    "/customer_service/": {"", "chat.js", "service.css", "staff.html", "staff.js"},
    "/news_monitor/": {"", "news.css", "news.js"},
    "/recommendation/": {"", "recommend.css", "recommend.js"},
}
ADMIN = {
    ("PUT", "/v1/adapters/{id}"),
    ("DELETE", "/v1/adapters/{id}"),
    ("POST", "/v1/adapters/{id}/rollback"),
    ("PUT", "/v1/router"),
    ("DELETE", "/v1/router"),
}
STAFF = {
    ("GET", "/v1/inbox"),
    ("PUT", "/v1/inbox/{id}"),
    ("DELETE", "/v1/customers/{owner}"),
    ("POST", "/v1/news"),
    ("POST", "/v1/recommend/items"),
}
GUARDED = 31
"""Operations that need a token."""
TOKENS = Tokens(predict=b"predict-token", staff=b"staff-token", admin=b"admin-token")


def applications(folder: Path) -> list[Any]:
    """One of each, without a model."""
    for name in ("desk", "news", "shop"):
        (folder / name).mkdir()
    news = NewsMonitorSite(folder / "news", NewsMonitorSettings())
    return [Desk(folder / "desk"), news, shop.Shop(folder / "shop", [])]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with every application that is not open yet: whatever gets past its token is refused by 503."""
    every = applications(tmp_path_factory.mktemp("applications"))
    found = {path.parent.name for path in REPOSITORY.glob("adapters/applications/*/serving.py")} - {"base"}
    assert {one.name for one in every} == found
    made = Site(None, TOKENS, every)
    yield made
    made.close()


def guarded(site: Site) -> list[tuple[str, APIRoute]]:
    """Method and route of each operation that is not public by name."""
    public = PUBLIC | {f"{below}{name}" for below, names in PAGES.items() for name in names}
    found = [route for route in site.app.routes if route.path not in public]
    return [(method, route) for route in found for method in sorted(route.methods)]


def filled(path: str) -> str:
    return path.replace("{owner}", "0" * 32).replace("{id}", "1").replace("{user}", "ada")


async def asked(app: Any, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of what an application answers to a request whose body, too large, must not be read."""
    messages: list[Any] = []

    async def receive() -> Any:
        assert messages, "the body was read"  # after the answer it is, to be thrown away
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    given = {"host": "localhost", "content-type": "application/json", "content-length": "2000000", **headers}
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "http_version": "1.1"}
    named = [(name.encode(), value.encode()) for name, value in given.items()]
    await app({**scope, "headers": named}, receive, send)
    answered = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return messages[0]["status"], answered, json.loads(messages[1]["body"])


def test_every_route_needs_a_token_or_is_public_by_name(site: Site) -> None:
    every = guarded(site)
    assert len(every) == GUARDED
    for method, route in every:
        assert isinstance(route, TokenRoute), route
        (check,) = [one.dependency for one in route.dependencies if isinstance(one.dependency, TokenCheck)]
        place = (method, route.path)
        wanted = "check_admin" if place in ADMIN else "check_staff" if place in STAFF else "check_predict"
        assert check.check == getattr(TOKENS, wanted), place
        assert check in [one.call for one in route.dependant.dependencies]
    assert {(method, route.path) for method, route in every} >= ADMIN | STAFF


def test_the_openapi_says_which_operations_need_a_token(site: Site) -> None:
    document = site.ask("GET", "/openapi.json").json()
    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    secured = {
        (method.upper(), path): operation.get("security")
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert {place for place, needed in secured.items() if needed is None} == {("GET", "/healthz"), ("GET", "/readyz")}
    wanted = {(method, route.path_format): [{"token": []}] for method, route in guarded(site)}
    assert {place: needed for place, needed in secured.items() if needed is not None} == wanted


@pytest.mark.parametrize("authorization", ["", "Bearer wrong-token", "Basic predict-token", "Bearer"])
def test_no_body_is_read_and_nothing_else_is_said_without_the_token(site: Site, authorization: str) -> None:
    headers = {"authorization": authorization} if authorization else {}
    sent = authorization == "Bearer wrong-token"
    for method, route in guarded(site):
        for path in (filled(route.path), re.sub("{.*?}", "~", route.path)):  # no id is a tilde
            status, answered, body = asyncio.run(asked(site.app, method, path, **headers))
            assert status == 401, (method, path, body)
            assert answered["www-authenticate"] == "Bearer"
            assert body == {
                "error": "The token is wrong." if sent else "The request has no token.",
                "expected": "the header Authorization: Bearer TOKEN",
                "found": "another token" if sent else "none",
            }


@pytest.mark.parametrize("role", ["predict", "staff", "admin"])
def test_each_route_takes_the_token_of_its_role_and_that_of_the_admin(site: Site, role: str) -> None:
    for method, route in guarded(site):
        place = (method, route.path)
        owner = "admin" if place in ADMIN else "staff" if place in STAFF else "predict"
        given = {"authorization": f"Bearer {role}-token", "x-customer-key": "a-secret-of-a-customer"}
        status = site.ask(method, filled(route.path), headers=given).status_code
        assert (status != 401) == (role in (owner, "admin")), (place, status)


def test_what_is_public_answers_without_a_token(site: Site) -> None:
    assert site.ask("GET", "/healthz").status_code == 200 and site.ask("GET", "/readyz").status_code == 503
    assert site.ask("GET", "/docs").status_code == 200
    files = {route.path for route in site.app.routes if not isinstance(route, TokenRoute)} - PUBLIC
    assert files == {f"{below}{name}" for below, names in PAGES.items() for name in names}
    for path in files:
        assert site.ask("GET", path).headers["content-security-policy"].startswith("default-src 'none'"), path


def test_a_route_that_declares_no_token_is_not_made() -> None:
    with pytest.raises(AssertionError, match="/v1/open: declares no token"):
        APIRouter(route_class=TokenRoute).add_api_route("/v1/open", lambda: Response())


def test_an_application_with_a_route_that_needs_no_token_is_not_served(tmp_path: Path) -> None:
    class Open(Desk):
        def routes(self, service: Any) -> list[APIRouter]:
            router = token_router(service.tokens.check_predict)
            router.add_route("/v1/open", lambda request: Response())
            return [*super().routes(service), router]

    with pytest.raises(AssertionError, match=r"customer_service: .*/v1/open.* was not added to a token_router"):
        Site(None, TOKENS, [Open(tmp_path)])


def test_the_token_is_checked_before_what_a_group_depends_on_besides() -> None:
    site = Site(None, TOKENS, workers=2)
    found = [
        site.ask("DELETE", "/v1/router", headers={"authorization": f"Bearer {role}-token"}).status_code
        for role in ("predict", "admin")
    ]
    assert found == [401, 409]
    site.close()


def test_a_check_refuses_by_the_header_that_it_is_given() -> None:
    with pytest.raises(Refusal, match="The request has no token"):
        TokenCheck(TOKENS.check_staff).check(None)
    TokenCheck(TOKENS.check_staff).check("bearer  staff-token ")
