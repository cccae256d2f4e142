"""Files that are parts of one split: `train-00000-of-00002.parquet`, `train-00001-of-00002.parquet`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.core.errors import DataError, Faults
from adapters.core.files import digest_value
from adapters.data.rows import Row, RowSource, format_of, notes_of

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{1,6})-of-(?P<total>\d{1,6})(?P<ending>\..*)?")


def grouped(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """The files by name; the shards of one split together, in order, as `train-*-of-00002.parquet`.

    Raises DataError where a shard is missing.
    """
    groups: dict[str, dict[int, Path]] = {}
    found: dict[str, list[Path]] = {}
    for path in paths:
        shard = _SHARD.fullmatch(path.name)
        if shard is None:
            found[path.name] = [path]
        else:
            name = f"{shard['stem']}-*-of-{shard['total']}{shard['ending'] or ''}"
            groups.setdefault(name, {})[int(shard["number"])] = path
    for name, shards in groups.items():
        total = int(name.rpartition("-of-")[2].partition(".")[0])
        missing = [number for number in range(min(total, 100_000)) if number not in shards]
        if missing or len(shards) != total:
            first = next(iter(shards.values()))
            shown = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
            raise DataError(
                f"{first.parent / name}: {len(shards):,} of {total:,} parts are there"
                f"{f'; missing: {shown}' if missing else ''}. Fetch them all, or give one by --train_file."
            )
        found[name] = [shards[number] for number in range(total)]
    return found


def joined(name: str, parts: Sequence[RowSource]) -> RowSource:
    """The rows of several sources as one. Raises DataError where their columns differ."""
    first = parts[0]
    for part in parts[1:]:
        if set(part.columns) != set(first.columns):
            apart = sorted(set(part.columns) ^ set(first.columns))[:10]
            raise DataError(
                f"{part.name}: has other columns than {first.name}: only one of them has {', '.join(apart)}. The parts "
                "of a split need the same columns."
            )
    return first if len(parts) == 1 else JoinedSource(name=name, parts=tuple(parts))


@dataclass(frozen=True, kw_only=True)
class JoinedSource:
    """Rows of several sources, one after the other; each row has the name of its own file."""

    name: str
    parts: tuple[RowSource, ...]
    said: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Those of each part."""
        return self.parts[0].columns

    @property
    def aliases(self) -> Mapping[str, str]:
        """Second names of columns."""
        found: Mapping[str, str] = getattr(self.parts[0], "aliases", {})
        return found

    @property
    def format(self) -> str:
        """That of the parts."""
        return f"{format_of(self.parts[0])}, {len(self.parts):,} parts"

    @property
    def notes(self) -> list[str]:
        """Those of the parts, each once."""
        return list(dict.fromkeys(note for part in self.parts for note in notes_of(part)))

    @property
    def named(self) -> bool:
        """Whether the user named the columns."""
        return any(getattr(part, "named", False) for part in self.parts)

    def digest(self) -> str:
        """sha256, in hex, of the parts' data."""
        return digest_value([part.digest() for part in self.parts])

    def rows(self, faults: Faults) -> Iterator[Row]:
        """The rows of each part in turn."""
        for part in self.parts:
            yield from part.rows(faults)
