"""The bank on many machines with Ray Serve: replicas of one base, each request routed to one that has its adapter.

    serve run adapters.serving.http.ray_serve:build base=minilm adapter_root=/shared/adapters replicas=4
    curl http://127.0.0.1:8000/v1/predict -H 'serve_multiplexed_model_id: ner' -H 'Content-Type: application/json' \
        -d '[{"adapter": "ner", "inputs": "Ada Lovelace lived in London."}]'

An adapter's name is that of its folder in `adapter_root`, which all machines can read. The header names the adapter
of a request, so that Ray routes it to a replica that has loaded it; without the header, to any replica. A path that
ends in `/generate` has the body and the answer of `/v1/generate`; any other those of `/v1/predict`. Bodies have the
server's bounds and type; where a predict token is set, requests need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
from ray import serve
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.core.errors import UserError
from adapters.serving.bank.adapter_name import NAME
from adapters.serving.http.auth import Tokens
from adapters.serving.http.generator import GenerationStream
from adapters.serving.http.limits import Bodies
from adapters.serving.http.refusal import Refusal, check_content_type
from adapters.serving.http.service import Service
from adapters.serving.http.settings import Settings
from adapters.serving.http.telemetry import RequestLog, request_id

CAPACITY = 64
"""Adapters in memory in one replica, for Ray's router and for the bank."""


@serve.deployment(max_ongoing_requests=256)
class Replica:
    """One base, and the adapters that requests have named."""

    def __init__(self, base: str, adapter_root: str, predict_token_file: str | None = None) -> None:
        """Args: the base, the folder of all adapters, and the file with the token that requests need."""
        settings = Settings(
            base=base, adapter_root=adapter_root, capacity=CAPACITY, predict_token_file=predict_token_file
        )
        self.service, self.bodies = Service(settings, Tokens.of(settings)), Bodies(settings)
        self.service.open()

    @serve.multiplexed(max_num_models_per_replica=CAPACITY)  # type: ignore[untyped-decorator]  # Ray's
    async def adapter(self, name: str) -> str:
        """Load an adapter if it is unknown. Ray records which replica has it; the bank evicts and reads again."""
        await self.service.in_background(lambda: self._load(name))
        return name

    def _load(self, name: str) -> None:
        bank, root = self.service.ready_bank(), self.service.root
        assert root is not None
        if name not in bank.names():
            bank.load(name, root / name)
        elif not bank.info(name)["resident"]:  # it is read anyway, and its folder may have a new version by now
            bank.reload(name)

    async def __call__(self, request: Request) -> Response:
        """Answers as by `POST /v1/predict` or `POST /v1/generate`."""
        log = RequestLog(id=request_id(request.scope))
        try:
            self.service.tokens.check_predict(request.headers.get("authorization"))
            check_content_type(request.headers, "application/json")
            body = await self.bodies.read(request.scope, request.receive)
            if request.url.path.endswith("/generate"):
                return await self._written(body, log)
            answers = await self._answers(body, log)
            return Response(orjson.dumps(answers), 200, dict(_decoded(log.headers)), "application/json")
        except Refusal as refusal:
            return _refused(refusal)

    async def _answers(self, body: bytes, log: RequestLog) -> list[dict[str, Any]]:
        service = self.service
        requests = service.parser.parse_list(body)
        for name in {one.adapter for one in requests}:
            await self._have(name)
        return (await service.predict(requests, service.settings.timeout_ms / 1000, None, log)).answers

    async def _written(self, body: bytes, log: RequestLog) -> Response:
        service = self.service
        given = service.parser.parse_generate(body)
        await self._have(given.adapter)
        text, seconds = service.generation_request(given, log), service.settings.timeout_ms / 1000
        if given.stream:
            return _Lines(GenerationStream(service.generator, text, given.sampling(), seconds, log))
        answer = await service.generator.answer(text, given.sampling(), seconds, None, log)
        return Response(orjson.dumps(answer), 200, media_type="application/json")

    async def _have(self, name: str | None) -> None:
        """Load an adapter unless that is impossible: the bank's answer will then say that it is unknown."""
        if name is not None and NAME.fullmatch(name):
            with suppress(UserError):
                await self.adapter(name)
                if not self.service.ready_bank().info(name)["resident"]:  # the bank has let go of it before Ray did
                    await self.service.in_background(lambda: self._load(name))


class _Lines(Response):
    """A text as it is written, or why it cannot be: here no middleware answers a refusal."""

    def __init__(self, lines: GenerationStream) -> None:
        super().__init__()
        self.lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.lines(scope, receive, send)
        except Refusal as refusal:
            if refusal.status != 499:  # who has hung up is told nothing
                await _refused(refusal)(scope, receive, send)


def _refused(refusal: Refusal) -> Response:
    return Response(orjson.dumps(refusal.body), refusal.status, refusal.headers, "application/json")


def build(arguments: Mapping[str, Any]) -> Any:
    """The application. Args: `base`, `adapter_root`, the number of `replicas`, and `predict_token_file`."""
    replica: Any = Replica
    options = replica.options(num_replicas=int(arguments.get("replicas", 1)))
    token = arguments.get("predict_token_file")
    return options.bind(
        str(arguments.get("base", "minilm")), str(arguments["adapter_root"]), None if token is None else str(token)
    )


def _decoded(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in headers]
