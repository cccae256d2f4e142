"""The bank on many machines, by Ray Serve: replicas of one base, each request sent to one that has its adapter.

    serve run adapters.server.ray_app:build base=minilm adapter_root=/shared/adapters replicas=4
    curl http://127.0.0.1:8000/v1/predict -H 'serve_multiplexed_model_id: ner' -H 'Content-Type: application/json' \
        -d '[{"adapter": "ner", "inputs": "Ada Lovelace lived in London."}]'

An adapter's name is its folder's below `adapter_root`, which all machines see. The header says which adapter a request
is for, so that Ray sends it to a replica that holds it; without it, it goes to any. The list is that of `/v1/predict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from adapters.errors import UserError
from adapters.residency import NAME
from adapters.server import Refusal, Settings
from adapters.server.observing import Told, request_id
from adapters.server.service import Service
from adapters.server.tokens import Tokens

HELD = 64
"""Adapters of a replica: what Ray is told, and the bank's capacity."""


@serve.deployment(max_ongoing_requests=256)
class Replica:
    """One base, and the adapters that it was asked for."""

    def __init__(self, base: str, adapter_root: str) -> None:
        """Args: the base, and the folder of all adapters."""
        self.service = Service(Settings(base=base, adapter_root=adapter_root, capacity=HELD), Tokens())
        self.service.open()

    @serve.multiplexed(max_num_models_per_replica=HELD)  # type: ignore[untyped-decorator]  # Ray's
    async def adapter(self, name: str) -> str:
        """Load an adapter if it is not there; Ray remembers who has it. The bank itself evicts, and brings back."""
        await self.service.aside(lambda: self._load(name))
        return name

    def _load(self, name: str) -> None:
        bank, root = self.service.there(), self.service.root
        assert root is not None
        if name not in bank.residency.known:
            bank.load(name, root / name)

    async def __call__(self, request: Request) -> Response:
        """A list of requests answered, as by `POST /v1/predict`."""
        told = Told(id=request_id(request.scope))
        try:
            answers = await self._answers(request, told)
            return Response(orjson.dumps(answers), 200, dict(_text(told.headers)), "application/json")
        except Refusal as refusal:
            return Response(orjson.dumps(refusal.body), refusal.status, refusal.headers, "application/json")

    async def _answers(self, request: Request, told: Told) -> list[dict[str, Any]]:
        service = self.service
        requests = service.reader.read(await request.body())
        for name in {one.adapter for one in requests if one.adapter is not None and NAME.fullmatch(one.adapter)}:
            try:
                await self.adapter(name)
            except UserError:  # the bank will say that it knows no such adapter
                continue
        return (await service.predict(requests, service.settings.timeout_ms / 1000, None, told)).answers


def build(given: Mapping[str, Any]) -> Any:
    """The application: `base`, `adapter_root`, and how many `replicas` there shall be."""
    replica: Any = Replica
    options = replica.options(num_replicas=int(given.get("replicas", 1)))
    return options.bind(str(given.get("base", "minilm")), str(given["adapter_root"]))


def _text(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in headers]
