"""Resolve a name to a local folder: a path, an alias of `aliases.toml`, or a Hub id, looked up in that order."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from adapters.core.errors import SourceError, did_you_mean
from adapters.core.sources import huggingface
from adapters.core.sources.e5s1 import e5s1_to_safetensors
from adapters.core.sources.gguf import gguf_to_safetensors
from adapters.core.sources.wheels import Wheel, local_folder, say

Kind = Literal["model", "dataset"]

ALIASES = Path(__file__).with_name("aliases.toml")
_HUB_ID = re.compile(r"(?P<repository>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?", re.ASCII)
_WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
_CONVERSIONS = {".gguf": gguf_to_safetensors, ".bin": e5s1_to_safetensors}
"""What makes a transformers folder of an alias's file, by its suffix."""
_HUB_SECONDS = 15.0
_HUB_SECONDS_NEAR_AN_ALIAS = 3.0
_DATA_SUFFIXES = frozenset(
    {".txt", ".conll", ".csv", ".tsv", ".json", ".jsonl", ".bz2", ".gz", ".xz", ".zip", ".parquet"}
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Location and names of a model or a dataset."""

    name: str
    """The name as given."""
    path: Path | None
    """A folder, or the file of a dataset. None for a Hub dataset, which `datasets.load_dataset` downloads itself."""
    alias: str | None = None
    hub_id: str | None = None
    """Also of an alias whose weights are identical to those on the Hub."""
    revision: str | None = None
    """The commit on the Hub; for an alias without a Hub id, the pinned package as `name==version`."""
    notice: str | None = None
    """A notice that `resolve` has printed to stderr; cards may repeat it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Settings of an alias for reading its data."""

    @property
    def public_name(self) -> str:
        """The name for cards: the Hub id, the alias, or the name of the local folder, never its full path."""
        if self.hub_id or self.alias:
            return self.hub_id or self.alias or ""
        assert self.path is not None
        return self.path.name


@dataclass(frozen=True, kw_only=True)
class _Alias:
    name: str
    kind: Kind
    wheel: Wheel
    hub_id: str | None
    notice: str | None
    options: Mapping[str, Any]
    defaults: Mapping[str, Mapping[str, Any]]


def resolve(name: str, kind: Kind, *, aliases: Path = ALIASES) -> Source:
    """Locate a model or a dataset, downloading it if needed.

    `name` is a local path, an alias of the file `aliases`, or a Hub id (`id@revision` for a pinned revision). A Hub id
    with the same bytes as an alias is resolved to the alias, so that an artifact that names it works without the Hub.

    Raises SourceError if it cannot be found or downloaded.
    """
    known = _read_aliases(aliases)
    if name and os.path.exists(os.path.expanduser(name)):
        if name in known:
            say(f"{name} is the local path {os.path.abspath(name)}, not the alias of that name")
        return _from_path(name, kind)
    if name in known:
        return _from_alias(known[name], kind, known)
    for alias in known.values():
        if alias.hub_id == name:
            return _from_alias(alias, kind, known)
    hub_id = _HUB_ID.fullmatch(name)
    if not hub_id or name.startswith(".") or Path(name).suffix in _DATA_SUFFIXES:
        raise SourceError(_unknown(name, kind, known, ""))
    return _from_hub(name, hub_id["repository"], hub_id["revision"], kind, known)


def base_defaults(name: str | None, method: str, *, aliases: Path = ALIASES) -> dict[str, Any]:
    """Defaults of a method's settings on a base with an alias, where they are not those on other bases.

    `name` is as of `resolve`; the Hub id of an alias means the alias.
    """
    found = _meant(name or "", aliases)
    return {} if found is None else dict(found.defaults.get(method, {}))


def alias_of(name: str, *, aliases: Path = ALIASES) -> str | None:
    """The alias that a name or a Hub id means; None where it has none. Nothing is fetched."""
    found = _meant(name, aliases)
    return None if found is None else found.name


def _meant(name: str, aliases: Path) -> _Alias | None:
    if not name or os.path.exists(os.path.expanduser(name)):
        return None
    known = _read_aliases(aliases)
    return known.get(name) or next((one for one in known.values() if one.hub_id == name), None)


def _read_aliases(path: Path) -> dict[str, _Alias]:
    import tomllib  # `--help` imports this module and needs no aliases

    with path.open("rb") as stream:
        tables = tomllib.load(stream)
    return {name: _alias(name, table) for name, table in tables.items()}


def _alias(name: str, table: Mapping[str, Any]) -> _Alias:
    wheel = Wheel(
        package=table["package"],
        version=table["version"],
        sha256=table["sha256"],
        members=tuple(table["members"]),
        disk_bytes=table.get("disk_bytes", 0),
        platform=table.get("platform", ""),
        member_sha256=table.get("member_sha256", {}),
    )
    return _Alias(
        name=name,
        kind=table["kind"],
        wheel=wheel,
        hub_id=table.get("hub_id"),
        notice=table.get("notice"),
        options=table.get("options", {}),
        defaults=table.get("defaults", {}),
    )


def _from_path(name: str, kind: Kind) -> Source:
    path = Path(os.path.abspath(os.path.expanduser(name)))
    if kind == "model":
        fault = _model_fault(path)
        if fault:
            raise SourceError(f"model {name!r}: {fault}")
    hub_id, revision = _hub_snapshot(path)
    return Source(name=name, path=path, hub_id=hub_id, revision=revision)


def _hub_snapshot(path: Path) -> tuple[str | None, str | None]:
    """Hub id and commit of a folder in the Hub's cache, `models--owner--name/snapshots/<commit>`."""
    repository = path.parent.parent.name
    if path.parent.name != "snapshots" or not repository.startswith(("models--", "datasets--")):
        return None, None
    return repository.split("--", 1)[1].replace("--", "/"), path.name


def _model_fault(path: Path) -> str:
    """Why a path is not a model folder with safetensors weights, and what to do; empty if it is one."""
    if not path.is_dir():
        return f"{path} is a file; a model is a folder with config.json, a tokenizer and safetensors weights"
    if (path / "adapter_config.json").exists() and not (path / "config.json").exists():
        return f"{path} contains an adapter; give the base model here, and the adapter where an artifact is expected"
    if not (path / "config.json").exists():
        return f"{path} has no config.json; give the folder that `save_pretrained` wrote"
    index = path / "model.safetensors.index.json"
    if index.exists():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return f"{index} cannot be read ({error!r}); download the model again"
        missing = sorted(shard for shard in shards if not (path / shard).exists())
        return (
            f"{path} lacks {', '.join(missing[:3])}, which {index.name} lists; download the model again"
            if missing
            else ""
        )
    if (path / "model.safetensors").exists():
        return ""
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"})
    if pickles:
        return (
            f"{path} has its weights only as {', '.join(pickles[:3])}; loading such a pickle can run code, so only "
            "safetensors are accepted. If you trust it, convert it once: load the folder with its transformers class "
            "(say, AutoModelForCausalLM.from_pretrained), call save_pretrained on a new folder, and give that one"
        )
    return f"{path} has no model.safetensors; give the folder that `save_pretrained` wrote"


def _from_alias(alias: _Alias, kind: Kind, known: Mapping[str, _Alias]) -> Source:
    if alias.kind != kind:
        fitting = ", ".join(sorted(entry.name for entry in known.values() if entry.kind == kind))
        raise SourceError(
            f"{alias.name!r} is the alias of a {alias.kind}, but a {kind} is needed here; {kind}s: {fitting}"
        )
    if alias.notice:
        say(alias.notice)
    members = alias.wheel.members
    convert = _CONVERSIONS.get(Path(members[0]).suffix) if kind == "model" else None
    folder = local_folder(alias.name, alias.wheel, convert)
    lone_file = kind == "dataset" and len(members) == 1
    return Source(
        name=alias.name,
        path=folder / members[0].rpartition("/")[2] if lone_file else folder,
        alias=alias.name,
        hub_id=alias.hub_id,
        revision=None
        if alias.hub_id
        else alias.wheel.pin,  # together with a Hub id, a revision would be read as a Hub commit
        notice=alias.notice,
        options=alias.options,
    )


def _from_hub(name: str, repository: str, revision: str | None, kind: Kind, known: Mapping[str, _Alias]) -> Source:
    """Resolve a Hub id; if the Hub cannot be reached, its cache is used."""
    import huggingface_hub

    resembles_alias = "/" not in name and "did you mean" in did_you_mean(name, known)
    seconds = _HUB_SECONDS_NEAR_AN_ALIAS if resembles_alias else _HUB_SECONDS
    api = huggingface_hub.HfApi()
    ask = api.dataset_info if kind == "dataset" else api.model_info
    commit, folder = revision, None
    try:
        info: Any = huggingface.within(seconds, lambda: ask(repository, revision=revision, timeout=seconds))
    except (
        Exception
    ) as error:  # the exceptions of the Hub's client depend on its HTTP library, which has changed more than once
        folder = huggingface.in_cache(repository, revision, kind)
        if not folder:
            raise SourceError(_unknown(name, kind, known, huggingface.fault(error, repository, revision))) from None
    else:
        commit = info.sha
        if kind == "model":
            folder = _download_snapshot(name, repository, revision, [file.rfilename for file in info.siblings or ()])
    if kind == "dataset":
        return Source(name=name, path=None, hub_id=repository, revision=commit)
    assert folder is not None
    fault = _model_fault(folder)
    if fault:
        raise SourceError(f"model {name!r}, in the Hub's cache: {fault}")
    return Source(name=name, path=folder, hub_id=repository, revision=folder.name)


def _download_snapshot(name: str, repository: str, revision: str | None, listed: list[str]) -> Path:
    """Download config, tokenizer and safetensors of a model into the Hub's cache; no pickles, no Python files."""
    import huggingface_hub

    if not any(_WEIGHTS.fullmatch(file) for file in listed):
        raise SourceError(
            f"model {name!r}: on the Hub it has no safetensors weights, and pickled weights can run code. Look for a "
            f"revision with safetensors (on its page: Community, pull requests) and give `{repository}@refs/pr/1`, "
            "or convert it if you trust it and give the folder"
        )
    try:
        folder = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=list(huggingface.FILES), ignore_patterns=["*/*"]
        )
    except Exception as error:  # as above; a full disk too
        cache = huggingface_hub.constants.HF_HUB_CACHE
        raise SourceError(
            f"model {name!r}: the download from the Hub to {cache} failed: {huggingface.first_line(error)}. Downloaded "
            "parts are kept there; try again, or set HF_HOME to a folder with enough room"
        ) from error
    return Path(folder)


def _unknown(name: str, kind: Kind, known: Mapping[str, _Alias], reason: str) -> str:
    """The message for an unknown name: where it was looked for, similar names, and what could be given."""
    aliases = [alias.name for alias in known.values() if alias.kind == kind]
    parent, last = os.path.split(name)
    try:
        neighbours = [os.path.join(parent, entry) for entry in os.listdir(os.path.expanduser(parent) or ".") if last]
    except OSError:
        neighbours = []
    hint = did_you_mean(name, [*aliases, *neighbours])
    hint = f"; {hint}" if hint.startswith("did you mean") else ""  # a list of all files in the folder would not help
    where = f"{kind} {name!r} is neither a local path nor an alias" + (f", and {reason}" if reason else "")
    wanted = "a folder with safetensors" if kind == "model" else "a file or a folder"
    return f"{where}. Give {wanted}, a Hub id, or an alias ({', '.join(sorted(aliases))}){hint}"
