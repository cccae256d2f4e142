"""An adapter's folder read, verified and made ready for a base, with nothing of the base or its bank changed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters import artifact, peft_folder
from adapters.changes import Change, Saved
from adapters.errors import ArtifactError, ModelError, SettingsError, UserError
from adapters.files import digest_value
from adapters.heads import Head, Heads
from adapters.mixed_inference import Placed
from adapters.model import Base
from adapters.predictor import parts
from adapters.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an adapter is, and how to read it.

    Attributes:
        folder: its folder.
        require_card: refuse a plain PEFT folder.
        task: of a plain PEFT folder, where its config does not say.
        labels: of a plain PEFT folder, in the head's order.
    """

    folder: Path
    require_card: bool = False
    task: str | None = None
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Staged:
    """An adapter ready to be put into a bank.

    Attributes:
        card: of its folder, or the one made for a plain PEFT folder, `unchecked` in it.
        task: encodes and decodes.
        budget: pieces of a window.
        change: what it does to its rows.
        head: None where the base writes the answers.
        digest: tells one content of the folder from another.
        nbytes: of its tensors as the bank holds them.
    """

    card: Mapping[str, Any]
    task: Task
    budget: int
    change: Change
    head: Head | None
    digest: str
    nbytes: int


@dataclass(kw_only=True, eq=False)
class Adapter:
    """One generation of an adapter. It is changed only under the residency's lock.

    Attributes:
        name: in the bank.
        generation: 1, and one more with each reload.
        source: where it is read from.
        card: of its folder.
        digest: of its content; an evicted one must have the same when it is read again.
        nbytes: of its tensors.
        pinned: never evicted.
        held: where batches find it; None while it is evicted.
        users: batches that are using it.
        used: when it was last asked for, as a count.
        retired: replaced or removed; it goes when its last user has gone.
        aliases: its other names.
    """

    name: str
    generation: int
    source: Source
    card: dict[str, Any]
    digest: str
    nbytes: int
    pinned: bool = False
    held: Placed | None = None
    users: int = 0
    used: int = 0
    retired: bool = False
    aliases: set[str] = field(default_factory=set)

    @property
    def placed(self) -> Placed:
        """Where batches find it, while it is leased."""
        assert self.held is not None, self.name
        return self.held

    def told(self) -> dict[str, Any]:
        """What users are told of it."""
        return {
            "name": self.name,
            "aliases": sorted(self.aliases),
            "generation": self.generation,
            "task": self.card["task"]["name"],
            "labels": list(self.card["task"]["labels"]),
            "method": self.card["method"]["name"],
            "base": self.card["base"]["name"],
            "folder": str(self.source.folder),
            "resident": self.held is not None,
            "pinned": self.pinned,
            "bytes": self.nbytes,
            "scores": self.card.get("scores"),
            "unchecked": list(self.card.get("unchecked", ())),
        }


class Stage:
    """Reads adapters for one base."""

    def __init__(
        self, base: Base, body: Any, *, writes: bool, root: Path | None = None, plugin_dirs: Sequence[str] = ()
    ) -> None:
        """Args:
        base: the base model.
        body: its headless model.
        writes: whether it has its language-model head.
        root: folder in which all adapters must lie, links followed.
        plugin_dirs: folders with methods and tasks of your own.
        """
        self.base, self.body, self.writes, self.plugin_dirs = base, body, writes, plugin_dirs
        self.root = None if root is None else root.resolve()
        self.heads = Heads(base, next(body.parameters()).device)

    def read(self, source: Source) -> Staged:
        """Verify an adapter and make it ready. Raises ArtifactError, ModelError, SettingsError."""
        try:
            return self._read(source)
        except OSError as error:
            raise ArtifactError(f"{str(source.folder)[:200]}: cannot be read ({error.strerror}).") from error

    def _read(self, source: Source) -> Staged:
        """As `read`. Raises OSError where a file cannot be read."""
        folder = self._inside(source.folder)
        if not source.require_card and peft_folder.is_plain(folder):
            card, tensors = peft_folder.read(
                folder, self.base, task=source.task, labels=source.labels, plugin_dirs=self.plugin_dirs
            )
            digest = digest_value(card)
        else:
            card, tensors = artifact.open_adapter(folder)
            digest = card["digest"]
        task, method = parts(card, folder, self.plugin_dirs)
        if "unchecked" not in card:
            peft_folder.check_agrees(folder, method, tensors, self.plugin_dirs)
        artifact.check_base(card, self.base.name, self.base.digest, self.base.tokenizer_digest)
        task = task.on(self.base.kind)
        method.check(self.base, task)
        if not task.has_head and not self.writes:
            raise ModelError(
                f"{folder}: {task.name} is written by the base; {self.base.name} has no head to do it with."
            )
        saved = Saved(
            tensors, self.body, body_name=self.heads.body_name(task), modules=self.heads.body_modules(task),
            subject=str(folder),
        )  # fmt: skip
        try:
            change = method.change(saved, self.base, task)
        except SettingsError as error:
            raise ArtifactError(f"{folder}: its settings do not fit {self.base.name}: {error}") from error
        head = None
        if task.has_head:
            head = self.heads.build(task, saved, reads_prompt=change.prompt_read)
        else:
            saved.head({})
        budget = method.budget(self.base, int(card["max_length"]))
        if "unchecked" in card:
            warnings.warn(f"{folder}: no card, so it was not checked {'; '.join(card['unchecked'])}.", stacklevel=4)
        size = change.nbytes(next(self.body.parameters()).element_size()) + (head.nbytes if head else 0)
        return Staged(card=card, task=task, budget=budget, change=change, head=head, digest=digest, nbytes=size)

    def _inside(self, folder: Path) -> Path:
        """The folder, which with everything in it lies under the root. Raises ArtifactError."""
        try:
            place = folder.resolve()
            within = self.root is not None and place.is_relative_to(self.root)
            names = [path.resolve() for path in place.rglob("*")] if within else []
        except (OSError, ValueError, RuntimeError) as error:  # a NUL, a name too long, links in a ring
            raise ArtifactError(f"{str(folder)[:200]!r}: not the name of a folder ({error}).") from error
        if self.root is not None:
            outside = [path for path in (place, *names) if not path.is_relative_to(self.root)]
            if outside:
                raise ArtifactError(f"{str(folder)[:200]}: lies outside {self.root}, or links there. Copy it there.")
        return folder


def read_again(read: Callable[[Source], Staged], adapter: Adapter) -> Staged | UserError:
    """An evicted adapter from its folder, or what is wrong: it must be what it was."""
    try:
        staged = read(adapter.source)
    except UserError as error:
        return error
    if staged.digest == adapter.digest:
        return staged
    return ArtifactError(
        f"{adapter.source.folder}: has changed since {adapter.name} was loaded from it. Reload it to use what is "
        "there now."
    )
