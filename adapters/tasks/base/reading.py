"""What was understood of the data: which columns were read as what, which were left, which labels there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from adapters.core.errors import numbered
from adapters.core.files import digest_value
from adapters.core.processes import is_first
from adapters.core.progress import say
from adapters.tasks.base.example import Example, Examples

T = TypeVar("T")
MAX_LABELS = 8
"""Labels that a line names."""


def reading_record(splits: Mapping[str, Examples]) -> dict[str, Any]:
    """For the record of a run, by split: format, columns by role, columns left, notes."""
    return {name: split.notes["reading"] for name, split in splits.items() if "reading" in split.notes}


def reading_lines(splits: Mapping[str, Examples]) -> list[str]:
    """What is said of the splits: how they were read, and a warning where labels contradict each other."""
    lines = how_read(splits)
    if found := contradictions(splits):
        said = f"{numbered(len(found), 'examples')} with the inputs of an earlier one, but another answer"
        more = "; `taskswap data` lists more" if len(found) > 1 else ""
        lines.append(f"warning: {said} (the first: {' and '.join(found[0])}{more})")
    return lines


def tell(splits: Mapping[str, Examples]) -> None:
    """Print what is said of the splits; only the main process goes through their examples for it."""
    if is_first():
        say(*reading_lines(splits))


def how_read(splits: Mapping[str, Examples]) -> list[str]:
    """Two lines or more of the first split, and of each other one that was read differently."""
    lines: list[str] = []
    said: list[Any] = []
    notes: set[str] = set()
    for split in splits.values():
        reading = split.notes.get("reading")
        if reading is None or "cut_from_train" in split.notes:
            continue
        understood = {key: value for key, value in reading.items() if key != "notes"}
        if understood not in said:
            said.append(understood)
            lines.append(_columns(split, reading))
        lines += [f"  {split.name}: {note}" for note in reading["notes"] if note not in notes]
        notes.update(reading["notes"])
    return lines


def contradictions(splits: Mapping[str, Examples]) -> list[tuple[str, str]]:
    """Places of examples with equal inputs but different labels, within a split or across: the first and a later one.

    Empty where answers are not labels: of a text, there are several summaries, translations or answers.
    """
    if not are_labelled(splits):
        return []
    placed = ((example.where, example) for split in splits.values() for example in split)
    return [(first, where) for where, _, first, differs in with_first(placed) if first is not None and differs]


def are_labelled(splits: Mapping[str, Examples]) -> bool:
    """Whether answers are labels, so that equal inputs must have equal ones."""
    return any(split.label_counts() for split in splits.values())


def with_first(examples: Iterable[tuple[T, Example]]) -> Iterator[tuple[T, Example, T | None, bool]]:
    """Examples at their places, each with the place of the first one of equal inputs, and whether its answer differs.

    The place is None for the first itself.
    """
    seen: dict[bytes, tuple[T, bytes]] = {}
    for place, example in examples:
        inputs, answer = bytes.fromhex(example.digest())[:12], bytes.fromhex(digest_value(example.gold))[:8]
        if inputs in seen:
            first, other = seen[inputs]
            yield place, example, first, answer != other
        else:
            seen[inputs] = place, answer
            yield place, example, None, False


def _columns(split: Examples, reading: Mapping[str, Any]) -> str:
    """`read train.csv (csv): text <- sentence, label <- gold_label (3 labels: …); not read: idx`."""
    roles = ", ".join(f"{role} <- {'+'.join(names)}" for role, names in reading["columns"].items() if role != "id")
    counts = split.label_counts()
    labels = f" ({labels_in_words(counts)})" if counts else ""
    left = f"; not read: {', '.join(reading['unused'])}" if reading["unused"] else ""
    return f"read {split.notes['source']} ({reading['format']}): {roles}{labels}{left}"


def labels_in_words(counts: Counter[str]) -> str:
    """`3 labels: a, b, c, most frequent 41 %`, the most frequent ones first."""
    listed = counts.most_common()
    names = ", ".join(name for name, _ in listed[:MAX_LABELS]) + (", …" if len(listed) > MAX_LABELS else "")
    kinds = numbered(len(listed), "labels")
    return f"{kinds}: {names}; most frequent {listed[0][0]}, {100 * listed[0][1] / counts.total():.0f} %"
