"""Requests without an adapter's name: for `auto` a bank's router chooses, by the base's own vector of the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from adapters.artifacts.artifact import check_base
from adapters.artifacts.published import leads_elsewhere
from adapters.core.errors import BankError, DataError, UnknownAdapterError, UserError
from adapters.models.base_model import Base
from adapters.serving.bank.adapter_name import AUTO
from adapters.serving.bank.router import Embed, Routed, Router
from adapters.tasks.base.requests import Request, inputs_of

SHOWN = 3
"""Adapters whose shares an answer has."""
ADVICE = "Load one: bank.load_router(folder), `taskswap serve --router FOLDER`, or PUT /v1/router."


class UnroutedError(DataError):
    """No adapter of the router fits a text."""


class Routing:
    """The router of a bank, if it has one. Threads may load and choose at once."""

    def __init__(self, base: Base, embed: Embed, find: Callable[[str], object]) -> None:
        """Args:
        base: of the features.
        embed: makes them.
        find: finds an adapter by name or alias. Raises UnknownAdapterError.
        """
        self.base, self.embed, self.find = base, embed, find
        self._loaded: tuple[Router, Path] | None = None
        self._given: Path | None = None

    def load(self, folder: Path, *, given: Path) -> dict[str, Any]:
        """Verify a router and use it. Raises ArtifactError, BankError; the router before then stays.

        Args:
            folder: of the router.
            given: by which it was named: it, a link, or a folder of versions.
        """
        router = Router.load(folder, embed=self.embed)
        assert router.base is not None
        check_base(router.base, self.base)
        missing = [name for name in router.names if not self._is_known(name)]
        if missing:
            raise BankError(
                f"{folder}: routes to {', '.join(missing)}, which the bank has not loaded. Load them first, or give an "
                "adapter the name as an alias."
            )
        self._loaded, self._given = (router, folder), given
        return {**router.info(), "folder": str(folder)}

    def unload(self) -> None:
        """Forget the router. Raises BankError if there is none."""
        if self._loaded is None:
            raise BankError(f"No router is loaded. {ADVICE}")
        self._loaded = self._given = None

    @property
    def moved(self) -> Path | None:
        """The path by which the router was named, if its link or `current.json` names another folder than it did."""
        loaded, given = self._loaded, self._given
        if loaded is None or given is None:
            return None
        return given if leads_elsewhere(given, loaded[1]) else None

    def info(self) -> dict[str, Any] | None:
        """Kind, number of texts by adapter, threshold, rate, temperature, bytes and folder; None without a router."""
        if self._loaded is None:
            return None
        router, folder = self._loaded
        return {**router.info(), "folder": str(folder)}

    def choose(self, requests: Sequence[Request]) -> dict[int, Routed | UserError]:
        """What was chosen for each request for `auto`, by its number, or why nothing was."""
        found: dict[int, Routed | UserError] = {}
        texts: dict[int, str] = {}
        loaded = self._loaded
        for number, request in enumerate(requests):
            if request.adapter != AUTO:
                continue
            if loaded is None:
                found[number] = UnknownAdapterError(f"Adapter {AUTO!r} needs a router, and none is loaded. {ADVICE}")
                continue
            try:
                texts[number] = text_in(inputs_of(request))
            except DataError as error:
                found[number] = error
        if loaded is not None and texts:
            router = loaded[0]
            for number, routed in zip(texts, router.choose(self.embed([*texts.values()])), strict=True):
                found[number] = routed if routed.adapter is not None else _unrouted(router)
        return found

    def label(
        self,
        chosen: Mapping[int, Routed | UserError],
        answers: Mapping[int, dict[str, Any]],
        faults: MutableMapping[int, UserError],
    ) -> None:
        """Add to answers which adapter was chosen and how sure that is, and to errors what to do."""
        for number, routed in chosen.items():
            if not isinstance(routed, Routed):
                continue
            answer = answers[number]
            shares = [*routed.scores.items()][:SHOWN]
            answer["routed"] = {
                "confidence": round(routed.confidence, 4),
                "scores": {name: round(share, 4) for name, share in shares},
            }
            if isinstance(faults.get(number), UnknownAdapterError):
                faults[number] = UnknownAdapterError(
                    f"The router chose {routed.adapter}, which is no longer loaded. Load it again, or a "
                    "router without it."
                )
                answer["error"] = str(faults[number])

    def _is_known(self, name: str) -> bool:
        try:
            self.find(name)
        except UnknownAdapterError:
            return False
        return True


def text_in(inputs: Mapping[str, Any]) -> str:
    """The text by which inputs are routed: `text`; or `tokens`, joined by blanks; or all texts, a line each.

    Raises DataError if there is none.
    """
    text, tokens = inputs.get("text"), inputs.get("tokens")
    if isinstance(text, str):
        return text
    if isinstance(tokens, list | tuple) and tokens and all(isinstance(token, str) for token in tokens):
        return " ".join(tokens)
    texts = [value for value in inputs.values() if isinstance(value, str)]
    if not texts:
        raise DataError(
            f"a request for {AUTO!r} is routed by its text: it needs `text`, `tokens` (a list of words), or other "
            f"texts; found {', '.join(map(str, inputs)) or 'nothing'}. Add one, or name an adapter."
        )
    return "\n".join(texts)


def with_adapters(requests: Sequence[Request], chosen: Mapping[int, Routed | UserError]) -> dict[int, Request]:
    """The requests that can be answered, by number, each under the adapter that it names or that was chosen."""
    named: dict[int, Request] = {}
    for number, request in enumerate(requests):
        found = chosen.get(number)
        if found is None:
            named[number] = request
        elif isinstance(found, Routed):
            named[number] = changed(request, adapter=found.adapter)
    return named


def _unrouted(router: Router) -> UnroutedError:
    names = router.names
    return UnroutedError(
        f"No adapter fits this text. The router knows {', '.join(names[:20])}{', …' if len(names) > 20 else ''}: name "
        "one of them, or any other adapter, in the request."
    )
