"""schemathesis, which asks the server whatever its own OpenAPI allows and forbids, finds nothing.

It is imported where it is used: that takes seconds, and each worker of pytest imports all files of tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from desk import Desk
from hypothesis import HealthCheck, Phase, given, settings

from adapters.serving.http.auth import Tokens

pytestmark = pytest.mark.slow

TOKEN = b"token-of-the-fuzzer"
HEADERS = {
    "authorization": f"Bearer {TOKEN.decode()}",
    "host": "localhost",
    "X-Customer-Key": "a-secret-of-the-fuzzer",
}
OPERATIONS = 22


def lines(_: Any, value: Any) -> bytes:
    """Of whatever schemathesis thinks of."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def described(
    tiny_bert: Path, served_root: Path, one_thread: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """The OpenAPI of a server with an application, that asks for tokens."""
    import schemathesis

    schemathesis.serializer("application/x-ndjson")(lines)
    bank = servers.bank_of(tiny_bert, served_root)
    tokens, desk = Tokens(predict=TOKEN, admin=TOKEN), Desk(tmp_path_factory.mktemp("desk"))
    more = {"adapter_root": str(served_root), "read_timeout_s": 5}
    with servers.site(bank, tokens=tokens, applications=[desk], **more) as site:
        yield schemathesis.openapi.from_asgi("/openapi.json", lasting(site.app))


def lasting(app: Any) -> Any:
    """The application, which does not end with each request, as schemathesis would have it."""

    async def called(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})

    return called


def operations(described: Any) -> list[Any]:
    return [found.ok() for found in described.get_all_operations()]


def test_every_operation_is_asked(described: Any) -> None:
    assert len(operations(described)) == OPERATIONS


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("number", range(OPERATIONS))
def test_nothing_that_the_openapi_allows_or_forbids_breaks_the_server(described: Any, number: int, mode: str) -> None:
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

    # What inputs an adapter takes is its task's business, not the schema's; tokens have tests of their own.
    not_asked = [positive_data_acceptance, ignored_auth]
    operation = operations(described)[number]
    if mode == "negative" and operation.path in ("/healthz", "/readyz"):
        return  # nothing can be wrong with a request that has neither a body nor a parameter

    @given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    def called(case: Any) -> None:
        in_place = [negative_data_rejection] if case.path.endswith("/stream") else []  # a line's error is its answer
        case.call_and_validate(headers=HEADERS, excluded_checks=[*not_asked, *in_place])

    called()
