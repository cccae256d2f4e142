"""Reads an adapter's folder, verifies it and prepares it for a base, without changing the base or its bank."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from adapters.artifacts import artifact, loading, plain_peft
from adapters.artifacts.heads import Head, Heads
from adapters.artifacts.loaded import LoadedArtifact
from adapters.artifacts.peft_config import PeftConfig
from adapters.artifacts.published import located
from adapters.core.errors import ArtifactError, ModelError, SettingsError, UnmixableError
from adapters.core.files import digest_value
from adapters.methods.base.delta import AdapterDelta, AdapterTensors
from adapters.methods.base.method import Method
from adapters.methods.base.peft_layout import PeftLayout, layout, with_full_parameters
from adapters.methods.base.peft_method import CONFIG, PeftMethod
from adapters.models.base_model import Base
from adapters.serving.bank.mixed_inference import Alone, ResidentAdapter
from adapters.tasks.base.task import InferenceTask, Task, load_task


@dataclass(frozen=True, kw_only=True)
class AdapterSource:
    """Where an adapter is, and how to read it.

    Attributes:
        folder: an artifact, the folder of its run, or a plain PEFT folder; a link to one, or a folder whose
            `current.json` names one.
        require_card: refuse a plain PEFT folder.
        reading: how a plain PEFT folder is read.
    """

    folder: Path
    require_card: bool = False
    reading: plain_peft.Reading = field(default_factory=plain_peft.Reading)


@dataclass(frozen=True, kw_only=True)
class PreparedAdapter:
    """An adapter that can be added to a bank.

    Attributes:
        card: the artifact's card, or the one made for a plain PEFT folder, with `unchecked` in it.
        task: encodes and decodes.
        budget: tokens in a window.
        delta: the adapter delta.
        head: None where the base generates the answers.
        alone: what answers by itself, of an adapter that cannot join a mixed batch.
        digest: of the folder's content.
        nbytes: size of its tensors in the bank.
        folder: from which it was read, as `located` finds it.
    """

    card: Mapping[str, Any]
    task: Task
    budget: int
    delta: AdapterDelta
    head: Head | None
    digest: str
    nbytes: int
    folder: Path
    alone: Alone | None = None


@dataclass(frozen=True, kw_only=True)
class FormerVersion:
    """A version that was replaced, and can be loaded again.

    Attributes:
        version: its number.
        source: as it was given.
        folder: from which it was read.
        digest: of the folder's content, which must be the same.
    """

    version: int
    source: AdapterSource
    folder: Path
    digest: str


@dataclass(kw_only=True, eq=False)
class LoadedAdapter:
    """One version of an adapter. Only the cache modifies it, under its lock.

    Attributes:
        name: in the bank.
        version: 1, and one more with each reload and rollback.
        source: as it was given.
        folder: from which it was read, as `located` finds it.
        followed: what the source's link or `current.json` named when it was last looked at.
        former: versions that it can be rolled back to, the last one first.
        card: the artifact's card.
        digest: of the folder's content, which must be the same when an evicted adapter is read again.
        nbytes: size of its tensors.
        mixed: whether it joins others in a batch, or answers alone.
        pinned: never evicted.
        entry: the adapter in memory; None while it is evicted.
        users: leases on it.
        last_used: the cache's clock at its last lease.
        retired: replaced or unloaded; freed when its last lease ends.
        aliases: its other names.
    """

    name: str
    version: int
    source: AdapterSource
    folder: Path
    followed: Path
    former: tuple[FormerVersion, ...] = ()
    card: dict[str, Any]
    digest: str
    nbytes: int
    mixed: bool = True
    pinned: bool = False
    entry: ResidentAdapter | None = None
    users: int = 0
    last_used: int = 0
    retired: bool = False
    aliases: set[str] = field(default_factory=set)

    @property
    def resident(self) -> ResidentAdapter:
        """The adapter in memory. It must be leased."""
        assert self.entry is not None, self.name
        return self.entry

    def as_former(self) -> FormerVersion:
        """The version, once another has replaced it."""
        return FormerVersion(version=self.version, source=self.source, folder=self.folder, digest=self.digest)

    def info(self) -> dict[str, Any]:
        """What `AdapterBank.info` returns."""
        return {
            "name": self.name,
            "aliases": sorted(self.aliases),
            "version": self.version,
            "task": self.card["task"]["name"],
            "labels": list(self.card["task"]["labels"]),
            "method": self.card["method"]["name"],
            "base": self.card["base"]["name"] if self.card["base"] else "",
            "folder": str(self.folder),
            "followed": None if self.folder == self.source.folder else str(self.source.folder),
            "former": [one.version for one in self.former],
            "resident": self.entry is not None,
            "pinned": self.pinned,
            "mixed": self.mixed,
            "bytes": self.nbytes,
            "scores": self.card.get("scores"),
            "unchecked": list(self.card.get("unchecked", ())),
        }


class AdapterLoader:
    """Reads adapters for one base."""

    def __init__(
        self, base: Base, body: Any, *, generates: bool, root: Path | None = None, plugin_dirs: Sequence[str] = ()
    ) -> None:
        """Args:
        base: the base model.
        body: the model without its language-model head.
        generates: whether the base has a language-model head.
        root: folder that must contain all adapters, after links are resolved.
        plugin_dirs: folders with additional methods and tasks.
        """
        self.base, self.body, self.generates, self.plugin_dirs = base, body, generates, plugin_dirs
        self.root = None if root is None else root.resolve()
        self.heads = Heads(base, next(body.parameters()).device)
        self._asking_peft = threading.Lock()  # filters of warnings are the process's

    def read(self, source: AdapterSource) -> PreparedAdapter:
        """Verify an adapter and prepare it. Raises ArtifactError, ModelError, SettingsError."""
        try:
            prepared = self._read(source)
        except OSError as error:
            raise ArtifactError(f"{str(source.folder)[:200]}: cannot be read ({error.strerror}).") from error
        if unchecked := prepared.card.get("unchecked"):
            warnings.warn(
                f"{prepared.folder}: no card, so these were not checked: {'; '.join(unchecked)}.", stacklevel=3
            )
        return prepared

    def _read(self, source: AdapterSource) -> PreparedAdapter:
        """As `read`. Raises OSError if a file cannot be read."""
        folder = self.inside(source.folder)
        if not source.require_card and plain_peft.is_plain(folder):
            config = PeftConfig(folder)
            if not config.mixes(self.plugin_dirs):
                return self._alone(folder, partial(loading.load_plain, reading=source.reading, base=self.base))
            card, tensors = plain_peft.read(config, self.base, source.reading, self.plugin_dirs)
            digest = digest_value(card)
        else:
            card, tensors = artifact.open_adapter(folder)
            digest = card["digest"]
        task, method = loading.task_and_method(card, folder, self.plugin_dirs)
        if method.self_contained:
            return self._alone(folder, loading.load)
        if not method.mixes:
            return self._alone(folder, partial(loading.load, base=self.base))
        if "unchecked" not in card and (folder / CONFIG).is_file():
            PeftConfig(folder).check_agrees(method, tensors, self.plugin_dirs)
        artifact.check_base(card["base"], self.base)
        task = task.on(self.base.kind)
        method.check(self.base, task)
        if not task.has_head and not self.generates:
            raise ModelError(
                f"{folder}: the base generates the answers of {task.name}; {self.base.name} has no language-model head."
            )
        planned, head_layers = self._layout(card, task, method, folder)
        modules = self.heads.body_modules(task)
        saved = AdapterTensors(
            tensors,
            self.body,
            body_name=self.heads.body_name(task),
            modules=modules,
            subject=str(folder),
            adapted=planned.adapted if planned else None,
            head_layers=head_layers,
        )
        self._check_body(saved, modules)
        try:
            delta = method.delta(saved, self.base, task)
        except UnmixableError:
            return self._alone(folder, partial(loading.load, base=self.base))
        except SettingsError as error:
            raise ArtifactError(f"{folder}: its settings do not fit {self.base.name}: {error}") from error
        if planned is not None:
            delta = with_full_parameters(delta, saved, planned.full)
        head = None
        if task.has_head:
            head = self.heads.build(
                task,
                saved,
                reads_prompt=delta.prompt_read,
                updates=delta.head,
                required=planned.full if planned else None,
            )
        else:
            saved.head({})
        budget = method.budget(self.base, int(card["max_length"]))
        if "unchecked" in card:
            card["unchecked"].append(f"the length of the texts it was trained on (longer than {budget} tokens are cut)")
        size = delta.nbytes(next(self.body.parameters()).element_size()) + (head.nbytes if head else 0)
        return PreparedAdapter(
            card=card, task=task, budget=budget, delta=delta, head=head, digest=digest, nbytes=size, folder=folder
        )

    def _alone(self, folder: Path, load: Callable[..., LoadedArtifact]) -> PreparedAdapter:
        """An adapter that cannot join a mixed batch, with all that it needs to answer by itself."""
        place = next(self.body.parameters())
        loaded = load(
            folder, device=str(place.device), dtype=str(place.dtype).rpartition(".")[2], plugin_dirs=self.plugin_dirs
        )
        card = loaded.card
        return PreparedAdapter(
            card=card,
            task=loaded.task,
            budget=int(card["max_length"]),
            delta=AdapterDelta(),
            head=None,
            digest=card["digest"] if "digest" in card else digest_value(card),
            nbytes=loaded.nbytes or sum(path.stat().st_size for path in folder.iterdir()),
            folder=folder,
            alone=Alone(loaded.predictor),
        )

    def generating(self, adapter: str, own: InferenceTask, name: str) -> Task:
        """Another task for requests to an adapter that generates its answers.

        Raises SettingsError: the task is unknown; or it or the adapter's own has a head, which belongs to one task.
        """
        task = load_task(name, self.plugin_dirs)
        if not isinstance(own, Task) or own.has_head or task.has_head:
            raise SettingsError(
                f"task {name}: {adapter} is an adapter for {own.name}. Only one that generates its answers can do "
                "another task, and only one whose answers are generated."
            )
        return task.of_head(()).on(self.base.kind)

    def _layout(
        self, card: Mapping[str, Any], task: Task, method: Method, folder: Path
    ) -> tuple[PeftLayout | None, dict[str, Any]]:
        """What PEFT makes of a folder without a card, and the base's own layers of the head that it adapts."""
        if not card["method"].get("peft_options"):
            return None, {}
        assert isinstance(method, PeftMethod), method
        with self._asking_peft, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"peft\.|transformers\.")  # about how to train or to save
            found = layout(
                card["method"]["peft_options"],
                method.peft_type,
                self.heads.headed(task),
                str(folder / CONFIG),
            )
        in_head = [name for name in found.adapted if not name.startswith(f"{self.heads.body_name(task)}.")]
        if in_head and not task.has_head:
            raise ArtifactError(f"{folder}: adapts {', '.join(in_head)}, which all adapters of a bank share.")
        return found, {name: self.heads.of_base(task).layer(name, str(folder)) for name in in_head}

    def _check_body(self, saved: AdapterTensors, modules: Set[str]) -> None:
        """Raises ArtifactError if the base's weights lack a part of the body, and the adapter does not bring it."""
        random = [name for name in getattr(self.body, "newly_initialised", ()) if name.rpartition(".")[0] in modules]
        lost = [name for name in random if f"{saved.body_name}.{name}" not in saved.tensors]
        if lost:
            raise ArtifactError(
                f"{saved.subject}: needs {', '.join(lost)}, which neither it nor the weights of {self.base.name} have: "
                "they were random when it was trained, and are lost. Train it again with the pooler in "
                "modules_to_save, or use the checkpoint with them that it was trained on."
            )

    def inside(self, folder: Path) -> Path:
        """The located folder, if it and everything in it lie below the root. Raises ArtifactError."""
        try:
            resolved = folder.resolve()
            within = self.root is not None and resolved.is_relative_to(self.root)
            if within or self.root is None:
                folder = located(folder)
                resolved = folder.resolve()
            contents = [path.resolve() for path in resolved.rglob("*")] if within else []
        except ArtifactError:
            raise
        except (OSError, ValueError, RuntimeError) as error:  # a NUL, a name too long, a cycle of links
            raise ArtifactError(f"{str(folder)[:200]!r}: not a valid folder name ({error}).") from error
        if self.root is not None and not all(path.is_relative_to(self.root) for path in (resolved, *contents)):
            raise ArtifactError(
                f"{str(folder)[:200]}: lies outside {self.root}, or contains a link that leads outside. Copy it there."
            )
        return folder


def read_unchanged(
    read: Callable[[AdapterSource], PreparedAdapter], version: LoadedAdapter | FormerVersion, called: str, remedy: str
) -> PreparedAdapter:
    """A version, read again from its folder.

    Args:
        read: verifies an adapter and prepares it.
        version: to read again.
        called: what messages call it.
        remedy: what to do if its folder has changed.

    Raises:
        ArtifactError: its folder has changed. Else what `read` raises.
    """
    prepared = read(replace(version.source, folder=version.folder))
    if prepared.digest != version.digest:
        raise ArtifactError(f"{version.folder}: has changed since {called} was loaded from it. {remedy}")
    return prepared
