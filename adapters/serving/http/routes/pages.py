"""Pages, which anyone may open: the server's, an application's, and `/docs`. What they show needs a token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from adapters.serving.http.application import Application
from adapters.serving.http.openapi_page import page_headers, page_of

PAGE = Path(__file__).parents[1] / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
"""Files of a page that are served, by their suffix."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def own_pages() -> APIRouter:
    """The server's page, and the documentation of all paths."""
    router = APIRouter(include_in_schema=False)
    _add_files(router, PAGE, "/")

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        page = page_of(request.app.openapi())
        return Response(page, media_type="text/html; charset=utf-8", headers=page_headers())

    return router


def application_page(application: Application) -> APIRouter:
    """The page of an application, below its name; nothing where it has none."""
    router = APIRouter(include_in_schema=False)
    if application.page is not None:
        _add_files(router, application.page, f"/{application.name}/")
    return router


def _add_files(router: APIRouter, folder: Path, below: str) -> None:
    """Serve the files of a page, `index.html` at the path itself."""
    for path in sorted(folder.iterdir()):
        if path.suffix in KINDS:
            name = "" if path.name == "index.html" else path.name
            router.add_api_route(f"{below}{name}", _file(path))


def _file(path: Path) -> Callable[[], Awaitable[Response]]:
    async def file() -> Response:
        if not path.is_file():
            raise HTTPException(404)
        headers = {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
            "Referrer-Policy": "no-referrer",
        }
        return Response(path.read_bytes(), media_type=f"{KINDS[path.suffix]}; charset=utf-8", headers=headers)

    return file
