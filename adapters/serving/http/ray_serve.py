"""The bank on many machines with Ray Serve: replicas of one base, each request routed to one that has its adapter.

    serve run adapters.serving.http.ray_serve:build base=minilm adapter_root=/shared/adapters replicas=4
    curl http://127.0.0.1:8000/v1/predict -H 'serve_multiplexed_model_id: ner' -H 'Content-Type: application/json' \
        -d '[{"adapter": "ner", "inputs": "Ada Lovelace lived in London."}]'

An adapter's name is that of its folder in `adapter_root`, which all machines can read. The header names the adapter
of a request, so that Ray routes it to a replica that has loaded it; without the header, to any replica. The body is
that of `/v1/predict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from adapters.core.errors import UserError
from adapters.serving.bank.adapter_name import NAME
from adapters.serving.http.auth import Tokens
from adapters.serving.http.refusal import Refusal
from adapters.serving.http.service import Service
from adapters.serving.http.settings import Settings
from adapters.serving.http.telemetry import RequestLog, request_id

CAPACITY = 64
"""Adapters in memory in one replica, for Ray's router and for the bank."""


@serve.deployment(max_ongoing_requests=256)
class Replica:
    """One base, and the adapters that requests have named."""

    def __init__(self, base: str, adapter_root: str) -> None:
        """Args: the base, and the folder of all adapters."""
        self.service = Service(Settings(base=base, adapter_root=adapter_root, capacity=CAPACITY), Tokens())
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

    async def __call__(self, request: Request) -> Response:
        """Answers to a list of requests, as by `POST /v1/predict`."""
        log = RequestLog(id=request_id(request.scope))
        try:
            answers = await self._answers(request, log)
            return Response(orjson.dumps(answers), 200, dict(_decoded(log.headers)), "application/json")
        except Refusal as refusal:
            return Response(orjson.dumps(refusal.body), refusal.status, refusal.headers, "application/json")

    async def _answers(self, request: Request, log: RequestLog) -> list[dict[str, Any]]:
        service = self.service
        requests = service.parser.parse_list(await request.body())
        for name in {one.adapter for one in requests if one.adapter is not None and NAME.fullmatch(one.adapter)}:
            try:
                await self.adapter(name)
            except UserError:  # the bank's answer will say that the adapter is unknown
                continue
        return (await service.predict(requests, service.settings.timeout_ms / 1000, None, log)).answers


def build(arguments: Mapping[str, Any]) -> Any:
    """The application. Args: `base`, `adapter_root`, and the number of `replicas`."""
    replica: Any = Replica
    options = replica.options(num_replicas=int(arguments.get("replicas", 1)))
    return options.bind(str(arguments.get("base", "minilm")), str(arguments["adapter_root"]))


def _decoded(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in headers]
