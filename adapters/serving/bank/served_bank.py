"""What a server asks of a bank: one of adapters on a base model (`AdapterBank`) can do all of it, one of exports
(`ExportBank`) answers, and says in words what it cannot do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from adapters.core.errors import UserError
from adapters.tasks.base.requests import Request

if TYPE_CHECKING:
    from adapters.artifacts.explaining.base.attribution import Options
    from adapters.artifacts.explaining.base.explanation import Explanation
    from adapters.models.continuation import Sampling
    from adapters.serving.bank.adapter_cache import BankStats
    from adapters.serving.bank.answering import Observed
    from adapters.serving.bank.text_generation import NextRequest, OnComplete, OnText


class ServedBase(Protocol):
    """What is said of the base model of a bank."""

    @property
    def name(self) -> str:
        """The base model."""

    @property
    def kind(self) -> str:
        """`encoder` or `causal`."""


class ServedBank(Protocol):
    """Adapters that answer requests. Several threads call any method at once; `AdapterBank` says more of each.

    Attributes:
        generates: whether it can `generate`.
        explains: whether it can `explain`.
        loads: whether it can load adapters, former versions of them and routers once it answers.
    """

    generates: bool
    explains: bool
    loads: bool

    @property
    def base(self) -> ServedBase:
        """The base model; of several exports, that of the first."""

    # what there is ----------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of the adapters."""

    def adapters(self) -> list[dict[str, Any]]:
        """The `info` of each adapter, sorted by name."""

    def info(self, name: str, *, with_card: bool = False) -> dict[str, Any]:
        """What is known of an adapter, and its `card`. Raises UnknownAdapterError."""

    def stats(self) -> BankStats:
        """How many adapters are known, in memory, and have been evicted."""

    def router(self) -> dict[str, Any] | None:
        """What is known of the router that answers for `auto`; None if there is none."""

    # answers ----------------------------------------------------------------------------------------------------------

    def predict(
        self,
        requests: Iterable[Request | Mapping[str, Any]],
        faults: dict[int, UserError] | None = None,
        observed: Observed | None = None,
    ) -> list[dict[str, Any]]:
        """Answers in the order of the requests, each of which may be for another adapter."""

    def generate(
        self,
        requests: Iterable[Request | Mapping[str, Any]],
        sampling: Sampling | Sequence[Sampling] | None = None,
        *,
        faults: dict[int, UserError] | None = None,
        on_text: OnText | None = None,
        on_complete: OnComplete | None = None,
        more: NextRequest = ...,
    ) -> list[dict[str, Any]]:
        """Continuations of texts. Raises BankError where nothing generates."""

    def explain(
        self,
        request: Request | Mapping[str, Any],
        *,
        method: str | None = None,
        target: str | None = None,
        options: Options | None = None,
        proceed: Callable[[], None] = ...,
    ) -> tuple[int, Explanation]:
        """The version of an adapter, and why it answers as it does. Raises BankError where nothing can be explained."""

    # changes ----------------------------------------------------------------------------------------------------------

    def load(
        self,
        name: str,
        folder: str | Path,
        *,
        pin: bool = False,
        require_card: bool = False,
        task: str | None = None,
        labels: Sequence[str] | None = None,
        multi_label: bool | None = None,
        pair: bool | None = None,
        max_length: int | None = None,
        replace: bool = False,
    ) -> dict[str, Any]:
        """Load an adapter; returns its `info`. Raises ArtifactError, BankError, ModelError."""

    def moved(self) -> list[str]:
        """Names of the adapters that `reload` would read from another folder."""

    def reload(self, name: str) -> dict[str, Any]:
        """Load a new version of an adapter from its folder. Raises as `load`."""

    def rollback(self, name: str) -> dict[str, Any]:
        """Load the former version of an adapter again. Raises ArtifactError, BankError, ModelError."""

    def unload(self, name: str) -> None:
        """Forget an adapter. Raises UnknownAdapterError."""

    def load_router(self, folder: str | Path) -> dict[str, Any]:
        """Load a router. Raises ArtifactError, BankError."""

    def follow_router(self) -> dict[str, Any] | None:
        """Load the router again if it has moved. Raises ArtifactError, BankError."""

    def unload_router(self) -> None:
        """Forget the router. Raises BankError if there is none."""
