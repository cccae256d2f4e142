"""What a server has loaded, as clients may see it, and changes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.errors import ArtifactError, BankError, ModelError, SettingsError
from adapters.serving.http.answers import without_paths
from adapters.serving.http.refusal import Refusal, named, of_exports, shown
from adapters.serving.http.schema import LoadRequest
from adapters.serving.http.service import Service, with_its_link

if TYPE_CHECKING:
    from adapters.serving.bank.served_bank import ServedBank


class Administration:
    """The adapters of a server and their router: shown, loaded, rolled back and unloaded."""

    def __init__(self, service: Service) -> None:
        """Args: the server's."""
        self.service, self.root = service, service.root

    def public_info(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """The info of an adapter, with its drift, or of a router; folders are relative to the root if there is one."""
        folders = {name: info[name] for name in ("folder", "followed") if info.get(name) is not None}
        if self.root is not None:
            folders = {name: Path(folder).relative_to(self.root).as_posix() for name, folder in folders.items()}
        drift = {"drift": self.service.drift.state(info["name"], info["version"])} if "version" in info else {}
        return {**info, **folders, **drift}

    def card(self, name: str) -> dict[str, Any]:
        """An adapter's public info, with its card. Raises Refusal."""
        with named(name):
            info = self.service.ready_bank().info(name, with_card=True)
        return {**self.public_info(info), "card": without_paths(info["card"])}

    def router(self) -> dict[str, Any] | None:
        """The router's public info; None if there is none. Raises Refusal."""
        info = self.service.ready_bank().router()
        return None if info is None else self.public_info(info)

    def load(self, name: str, request: LoadRequest) -> dict[str, Any]:
        """Load an adapter, or a new version of one. Returns its public info. Raises Refusal."""
        bank = self._loading_bank()
        folder = self._below_root(request.folder)
        try:
            info = bank.load(
                name,
                folder,
                pin=request.pin,
                require_card=request.require_card,
                task=request.task,
                labels=request.labels,
                multi_label=request.multi_label,
                pair=request.pair,
                max_length=request.max_length,
                replace=True,
            )
        except (ArtifactError, ModelError, SettingsError) as error:
            raise Refusal(
                422,
                "folder",
                self.service.without_root(str(error)),
                expected="an adapter of this base, below --adapter_root",
                found=shown(request.folder),
            ) from None
        except BankError as error:
            raise Refusal(409, "bank", str(error), expected="a free name, and room", found=shown(name)) from None
        self.service.metrics.count_adapters(bank)
        return self.public_info(info)

    def rollback(self, name: str) -> dict[str, Any]:
        """Load the former version of an adapter again. Returns its public info. Raises Refusal."""
        bank = self._loading_bank()
        try:
            with named(name):
                info = bank.rollback(name)
        except (ArtifactError, BankError, ModelError, SettingsError) as error:
            raise Refusal(
                409,
                "rollback",
                self.service.without_root(str(error)),
                expected="an adapter with a former version whose folder is unchanged",
                found=shown(name),
            ) from None
        self.service.metrics.count_adapters(bank)
        return self.public_info(info)

    def unload(self, name: str) -> None:
        """Forget an adapter. Raises Refusal."""
        bank = self.service.ready_bank()
        with named(name):
            bank.unload(name)
        self.service.metrics.count_adapters(bank)

    def load_router(self, folder: str) -> dict[str, Any]:
        """Load a router. Returns its public info. Raises Refusal."""
        bank, resolved = self._loading_bank(), self._below_root(folder)
        try:
            return self.public_info(bank.load_router(resolved))
        except (ArtifactError, BankError) as error:
            raise Refusal(
                422 if isinstance(error, ArtifactError) else 409,
                "router",
                self.service.without_root(str(error)),
                expected="a router of this base, below --adapter_root, for adapters that are loaded",
                found=shown(folder),
            ) from None

    def unload_router(self) -> None:
        """Forget the router. Raises Refusal."""
        try:
            self.service.ready_bank().unload_router()
        except BankError as error:
            raise Refusal(404, "router", str(error), expected="a server with a router", found="one without") from None

    def _loading_bank(self) -> ServedBank:
        """The bank, if it can load adapters. Raises Refusal."""
        bank = self.service.ready_bank()
        if not bank.loads:
            raise of_exports("answers with the adapters that it was started with. Start it anew.")
        return bank

    def _below_root(self, folder: str) -> Path:
        """A folder with links resolved, which the bank still has to verify. Raises Refusal if not below the root."""
        if self.root is None:
            raise Refusal(
                403,
                "root",
                "Loading over HTTP is off. Start the server with --adapter_root FOLDER.",
                expected="a server with --adapter_root",
                found="one without",
            )
        try:
            resolved = (self.root / folder).resolve()
            if resolved.is_relative_to(self.root):
                return with_its_link(self.root / folder, self.root)
            error: Exception = ValueError("it lies outside, or a link leads outside")
        except (OSError, ValueError, RuntimeError) as invalid:  # a NUL, a name too long, a cycle of links
            error = invalid
        why = error.strerror if isinstance(error, OSError) else self.service.without_root(str(error))
        raise Refusal(
            422,
            "folder",
            f"{shown(folder)} is not a folder below --adapter_root ({why}).",
            expected="a folder below --adapter_root",
            found=shown(folder),
        )
