"""What the labels of all rows say together: that some are no classes, are scores, are ids, or differ in case alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from adapters.core.errors import DataError, Faults, numbered
from adapters.data.label_cells import SCORES, LabelForm, is_number

PLACEHOLDERS = frozenset(
    ("-", "--", "?", "n/a", "#n/a", "na", "nan", "null", "<na>", "unlabeled", "unlabelled", "not labeled")
)
"""Labels, in lower case, that people and their tools write for none."""
_EITHER = "none"
"""Python's word for no label, but a class of stances, hate speech and intents as well: it is read, and said."""
_NOT_ANNOTATED = "-1"
_COMMA = re.compile(r"[-+]?\d+(?:,\d+)+")
_SHOWN = 5
_FEWEST = 50
"""Rows from which on labels that hardly repeat are refused."""


def check_labels(
    splits: Mapping[str, tuple[str, str, Iterable[Any]]],
    counts: Mapping[str, Counter[str]],
    form: LabelForm,
    lead: str,
) -> list[str]:
    """What is to be said of the labels. Raises DataError where they seem to be no classes.

    Args:
        splits: of each split what it was read from, its label column, and its examples, each with its place as `where`.
        counts: of each split how often each label occurs.
        form: what the user said of labels.
        lead: the split whose labels are the classes.
    """
    together: Counter[str] = sum(counts.values(), Counter())
    for name, (subject, column, examples) in splits.items():
        if not form.names:
            refuse_scores(subject, column, counts[name])
        refuse_placeholders(subject, examples, together, form.names)
    if form.names:
        return [*([] if form.several else _class_0_missing(form.names, together)), *look_alike(together)]
    subject, column, _ = splits[lead]
    others = {label for name, found in counts.items() if name != lead for label in found}
    said = [] if form.several else refuse_ids(subject, column, counts[lead], others)
    return [*said, *look_alike(together), *perhaps_none(together)]


def _class_0_missing(names: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    """A note where the first of --label_names never occurs: classes that are counted from 1 would be read so."""
    if counts.get(names[0]) or not counts:
        return []
    return [
        f"warning: no row is of class 0, {names[0]}: --label_names counts from 0; if the labels are numbers from 1 on, "
        "it needs one more name before the others, which no row has"
    ]


def unused_drops(form: LabelForm, said: Collection[str]) -> list[str]:
    """A note for each label of --drop_label that no row had, by what was said of the rows left out."""
    return [
        f"warning: --drop_label {name}: no row has this label"
        for name in form.dropped
        if not any(f"labelled {name!r}, left out" in one for one in said)
    ]


def refuse_placeholders(subject: str, examples: Iterable[Any], names: Collection[str], known: Collection[str]) -> None:
    """Raises DataError, with the places, where labels that mean none are among real ones.

    Args:
        subject: what is being read, for the message.
        examples: each with its place as `where`; read only if there is such a label.
        names: the labels of all splits.
        known: the names that the user gave classes, which are classes whatever they are.
    """
    real = [name for name in names if name.lower() not in PLACEHOLDERS and name != _NOT_ANNOTATED]
    textual = any(not is_number(name) for name in real)
    odd = {
        name
        for name in names
        if name not in known and (name.lower() in PLACEHOLDERS or (name == _NOT_ANNOTATED and textual))
    }
    if not odd or not real:
        return
    faults = Faults(subject)
    classes = ",".join([*sorted(real)[:_SHOWN], *(["…"] if len(real) > _SHOWN else []), *sorted(odd)])
    advice = (
        f"Leave such rows out with --drop_label {','.join(sorted(odd))}; or if it is a class, name all classes: "
        f"--label_names {classes}"
    )
    for example in examples:
        for name in {*([example.gold] if isinstance(example.gold, str) else example.gold)} & odd:
            faults.add(example.where, f"label {name!r} seems to mean that there is none", advice)
    faults.raise_if_any()


def refuse_scores(subject: str, column: str, names: Collection[str]) -> None:
    """Raises DataError where all labels are numbers, and not all of them whole; a comma may be a decimal point."""
    real = [name for name in names if name.lower() not in PLACEHOLDERS]
    with_comma = sorted(name for name in real if _COMMA.fullmatch(name))
    if with_comma and all(name in with_comma or is_number(name) for name in real):
        raise DataError(
            f"{subject}: column {column!r} contains numbers with a comma ({', '.join(map(repr, with_comma[:3]))}"
            f"{', …' if len(with_comma) > 3 else ''}). If they are decimal numbers, write them with a decimal point. "
            f"{SCORES} If they are several labels of a text, add --multi_label."
        )
    decimal = [name for name in real if not name.lstrip("+-").isdecimal()]
    if decimal and all(map(is_number, real)):
        raise DataError(
            f"{subject}: column {column!r} contains decimal numbers ({', '.join(sorted(decimal)[:3])}"
            f"{', …' if len(decimal) > 3 else ''}). {SCORES} Or name another column: --label_column_name."
        )


def refuse_ids(subject: str, column: str, counts: Mapping[str, int], others: Collection[str]) -> list[str]:
    """Raises DataError where more than nine tenths of at least fifty rows have a label of their own.

    Not where the other splits have labels, and train has all of them: one example of each class is enough for few-shot
    learning. Returns what is to be said where more than half have.

    Args:
        subject: what is being read, for the message.
        column: the label column.
        counts: how often each label occurs in train.
        others: the labels of the other splits.
    """
    rows, kinds = sum(counts.values()), len(counts)
    repeated = bool(others) and set(others) <= set(counts)
    said = f"{kinds:,} different labels in {rows:,} rows"
    if rows >= _FEWEST and kinds > 0.9 * rows and not repeated:
        raise DataError(
            f"{subject}: column {column!r} has {said}: it seems to contain ids or texts, not classes. Name the column "
            "of the labels: --label_column_name. (If they are classes, name them with --label_names.)"
        )
    return [f"{said}: most classes have one example"] if rows >= 20 and kinds > rows / 2 else []


def look_alike(names: Collection[str]) -> list[str]:
    """A note for labels that differ in case, or in white space, alone."""
    alike: dict[str, list[str]] = {}
    for name in sorted(names):
        alike.setdefault("".join(name.casefold().split()), []).append(name)
    groups = [" and ".join(map(repr, same)) for same in alike.values() if len(same) > 1]
    if not groups:
        return []
    listed = "; ".join(islice(groups, _SHOWN)) + ("; …" if len(groups) > _SHOWN else "")
    return [f"warning: labels that differ in case or blanks alone are different classes: {listed}"]


def perhaps_none(counts: Counter[str]) -> list[str]:
    """Notes for `none` among the labels, and for -1 next to 0, 1, 2, …, which may mean that there is no label."""
    said = [
        f"warning: the label {name} ({numbered(counts[name], 'rows')}) is read as a class; if it means that there is "
        "none, "
        f"--drop_label {name} leaves its rows out"
        for name in counts
        if name.lower() == _EITHER
    ]
    return [*said, *_minus_one(counts)]


def _minus_one(counts: Counter[str]) -> list[str]:
    whole = all(name.isdecimal() for name in counts if name != _NOT_ANNOTATED)
    if not counts.get(_NOT_ANNOTATED) or not whole or len(counts) < 4:  # -1, 0 and 1 are negative, neutral, positive
        return []
    return [
        f"warning: the label -1 ({numbered(counts[_NOT_ANNOTATED], 'rows')}) is read as a class; if it means that "
        "there is none, "
        "--drop_label -1 leaves its rows out"
    ]


def disagreement(
    rows: Iterable[Mapping[str, Any]], column: str, other: str, name_of: Callable[[Any], str | None]
) -> str:
    """A note where two label columns do not divide the rows alike; empty where they do."""
    forth: dict[str, str] = {}
    back: dict[str, str] = {}
    for row in rows:
        one, two = name_of(row.get(column)), name_of(row.get(other))
        if one is None or two is None:
            continue
        if forth.setdefault(one, two) != two:
            return f"{column} and {other} disagree: {one!r} is both {forth[one]!r} and {two!r} in {other}"
        if back.setdefault(two, one) != one:
            return f"{column} and {other} disagree: {two!r} in {other} is both {back[two]!r} and {one!r}"
    return ""
