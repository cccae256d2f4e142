"""Label sets with a digest."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from adapters.core.errors import Faults, most_similar
from adapters.core.files import digest_value

_LISTED = 20
"""Labels, or columns, that a message lists."""
_ALIKE = 0.8
"""Similarity from which on a label may be a misspelt one: one letter of five."""
_NO_DIGITS = re.compile(r"\D")


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of label names; the position of a name is its class in the model's head."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a set that would make two classes one."""
        assert len(set(self.names)) == len(self.names), self.names

    @cached_property
    def index(self) -> dict[str, int]:
        """Class of each name."""
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def digest(self) -> str:
        """sha256 of the ordered names."""
        return digest_value(list(self.names))

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.names)


def learnable(found: Mapping[str, Collection[str]]) -> set[str]:
    """The labels of train, of those found in each split; of all splits where train has none."""
    return set(found.get("train") or set().union(*found.values()))


def refuse_unknown(
    splits: Mapping[str, Any],
    found: Mapping[str, Collection[str]],
    labels_of: Callable[[Any], Iterable[str]],
    known: Sequence[str],
    *,
    role: str = "label",
    flag: str = "--label_column_name",
) -> None:
    """Raises DataError, with `file:line` of the first ones, where examples of a split have labels that train lacks.

    Args:
        splits: examples, each with its place as `where`; their `name`, and the `notes` on how they were read.
        found: the labels of each split; only one with others than train's is read.
        labels_of: the labels in an example's gold answer.
        known: the labels of train, in the order in which the message lists them.
        role: of the column of the labels.
        flag: by which the user names that column; empty where no flag does.
    """
    in_train = frozenset(known)
    for name, split in splits.items():
        if in_train.issuperset(found[name]):
            continue
        reading = split.notes.get("reading", {})
        columns, others = reading.get("columns", {}).get(role, []), reading.get("unused", [])
        column = f", column {', '.join(map(repr, columns))}" if columns else ""
        faults = Faults(f"{split.notes['source']} ({split.name}){column}")
        advice = f"train has {_listed(known)}. Correct or remove the label, or add examples of it to train."
        if flag:
            left = f" (not read: {_listed(others)})" if others else ""
            advice += f" If another column contains the labels{left}, name it: {flag}."
        for example in split:
            for label in sorted(set(labels_of(example.gold)) - in_train):
                faults.add(example.where, f"label {label!r} does not occur in train{meant(label, known)}", advice)
        faults.raise_if_any()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")


def meant(label: str, known: Sequence[str]) -> str:
    """`: did you mean 'positive'?` after a label that is nearly a known one; labels that differ in a number do not."""
    alike = [name for name in known if _NO_DIGITS.sub("", name) == _NO_DIGITS.sub("", label)]
    near = most_similar(label, alike, least=_ALIKE)
    return f": did you mean {near[0]!r}?" if near else ""
