"""Label sets with a digest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from adapters.core.errors import Faults
from adapters.core.files import digest_value


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


def refuse_unknown(
    subject: str, examples: Iterable[Any], labels_of: Callable[[Any], Iterable[str]], known: Sequence[str]
) -> None:
    """Raises DataError, with `file:line` of the first ones, where examples have labels that train lacks.

    Args:
        subject: what is being read, for the message.
        examples: each with its place as `where`.
        labels_of: the labels in an example's gold answer.
        known: the labels of train, in the order in which the message lists them.
    """
    faults, in_train = Faults(subject), frozenset(known)
    listed = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    for example in examples:
        for label in sorted(set(labels_of(example.gold)) - in_train):
            advice = f"train has {listed}. Remove the label, or add examples of it to train."
            faults.add(example.where, f"label {label!r} does not occur in train", advice)
    faults.raise_if_any()
