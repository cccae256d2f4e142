"""What a data set contains, as a run would read it: columns, examples, labels, lengths, and what is odd about it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from adapters.core.errors import numbered, verb
from adapters.core.files import digest_value
from adapters.core.progress import ProgressBar
from adapters.data.columns import NUMBERED
from adapters.data.word_splitter import joined, split_words
from adapters.data.writing import folded, unspaced, writing_notes
from adapters.evaluation.report.run_report import highlight
from adapters.evaluation.report.tables import Column, number_column, rich_table
from adapters.tasks.base.example import Example, Examples
from adapters.tasks.base.reading import are_labelled, how_read, reading_record, with_first
from adapters.tasks.base.task import Task

SAMPLE = 10_000
"""Examples of a split whose lengths are measured."""
PERCENTILES = (5, 50, 95, 100)
RARE = 10
"""A label with fewer examples in train is named."""
SHOWN = 5
"""Places, or labels, that a note lists."""
WORDS_ARE_CHARACTERS = 0.1
"""Share of the words from which on it is said that they are characters."""
MANY = 50_000
"""From this number of examples on, a progress bar is shown."""
_BARS, _BINS = "▁▂▃▄▅▆▇█", 12

CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""The number of tokens of each text."""


def describe(
    task: Task, splits: Mapping[str, Examples], *, count_tokens: CountTokens | None = None, longest: int, first: int
) -> dict[str, Any]:
    """The description of what was read, as JSON, without faults.

    Args:
        task: which read the splits.
        splits: at least one.
        count_tokens: the base model's, if there is one.
        longest: tokens of an input that a run reads at once.
        first: number of examples to show.
    """
    main = next(iter(splits.values()))
    reading = reading_record(splits)
    counts: Counter[str] = Counter(dict.fromkeys(task.label_names(), 0))
    by_split = {name: split.label_counts() for name, split in splits.items()}
    for found in by_split.values():
        counts.update(found)
    documents = {name: own for name, split in splits.items() if "" not in (own := split.documents())}
    sampled = {name: _sampled(split) for name, split in splits.items()}
    lengths = {name: _lengths(*found, count_tokens, longest) for name, found in sampled.items()}
    return {
        "task": task.name,
        **{key: reading.get(main.name, {}).get(key) for key in ("format", "columns", "unused")},
        "splits": {name: len(split) for name, split in splits.items()},
        "documents": {name: len(set(own)) for name, own in documents.items()},
        "labels": dict(counts),
        "labels_by_split": {name: dict(found) for name, found in by_split.items()},
        "lengths": lengths,
        "first": [
            {"inputs": task.shown_inputs(example), "gold": task.gold_output(example)} for example in main[:first]
        ],
        "notes": [
            *_reading_notes(reading),
            *_unit_notes(sampled.values()),
            *(f"{name}: {note}" for name, (texts, _) in sampled.items() for note in writing_notes(texts)),
            *_label_notes(by_split),
            *_repetitions(splits),
            *_shared_documents(documents),
            *_long(lengths, longest),
        ],
        "faults": [],
    }


def _reading_notes(reading: Mapping[str, Any]) -> list[str]:
    """What was said in reading the splits, each sentence with the first split that it is of."""
    first: dict[str, str] = {}
    for name, found in reading.items():
        for note in found["notes"]:
            first.setdefault(note, name)
    return [f"{name}: {note}" for note, name in first.items()]


def text_of(example: Example) -> str:
    """All inputs of an example as one text."""
    inputs = example.inputs
    if "tokens" in inputs:
        return str(inputs.get("text") or joined(inputs["tokens"])[0])
    return " ".join(map(str, inputs.values()))


def _sampled(split: Examples) -> tuple[list[str], list[int]]:
    """The texts of up to `SAMPLE` examples, and their numbers of words."""
    chosen: Sequence[Example] = split
    if len(split) > SAMPLE:
        chosen = split.select(sorted(random.Random(0).sample(range(len(split)), SAMPLE)))
    texts, words = [], []
    for example in chosen:
        texts.append(text_of(example))
        words.append(len(example.inputs["tokens"]) if "tokens" in example.inputs else len(split_words(texts[-1])))
    return texts, words


def _lengths(
    texts: Sequence[str], words: Sequence[int], count_tokens: CountTokens | None, longest: int
) -> dict[str, Any]:
    """Percentiles and a histogram of lengths in words, and in tokens."""
    found = {"words": _distribution(words, longest)}
    if count_tokens is not None:
        found["tokens"] = _distribution(count_tokens(texts), longest)
    return {"examples": len(texts), **found}


def _unit_notes(sampled: Iterable[tuple[Sequence[str], Sequence[int]]]) -> list[str]:
    """What a word is, where many are characters."""
    characters = words = 0
    for texts, counts in sampled:
        characters, words = characters + unspaced(texts), words + sum(counts)
    share = characters / max(words, 1)
    if share < WORDS_ARE_CHARACTERS:
        return []
    return [
        "lengths in words: each character of a script without blanks is a word, and so is each punctuation mark "
        f"({100 * share:.0f} % of the words are such characters)"
    ]


def _distribution(values: Sequence[int], longest: int) -> dict[str, Any]:
    array = np.array(values)
    edges = np.linspace(array.min(), max(np.percentile(array, 99), array.min() + 1), _BINS + 1)
    counts, _ = np.histogram(np.minimum(array, edges[-1]), edges)
    return {
        "percentiles": {str(p): int(np.percentile(array, p, method="nearest")) for p in PERCENTILES},
        "histogram": {"edges": [round(float(edge), 1) for edge in edges], "counts": counts.tolist()},
        "above_max_length": int((array > longest).sum()),
    }


def _label_notes(by_split: Mapping[str, Counter[str]]) -> list[str]:
    """Rare labels of train, and labels of one split that others lack."""
    train = by_split.get("train")
    if not train:
        return []
    notes = []
    rare = [name for name, count in train.items() if count < RARE]
    if rare and len(rare) < len(train):
        occur = f"{len(rare)} of {len(train)} labels {verb(len(rare), 'occur')}"
        notes.append(f"{occur} fewer than {RARE} times in train: {_listed(rare)}")
    for name, found in by_split.items():
        lacking = sorted(set(train) - set(found)) if found and name != "train" else []
        if lacking:
            notes.append(f"{name} lacks {len(lacking)} of the labels of train: {_listed(lacking)}")
    return notes


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _repetitions(splits: Mapping[str, Examples]) -> list[str]:
    """Equal inputs: within a split, in several splits, and with other labels; and inputs that look equal."""
    alike: dict[bytes, tuple[str, int]] = {}
    twice: Counter[str] = Counter()
    shared: Counter[tuple[str, str]] = Counter()
    places: dict[Any, list[str]] = {}
    similar = 0
    unlike: list[tuple[str, str]] = []
    labelled = are_labelled(splits)
    placed = (((name, number), example) for name, number, example in _all(splits))
    for (name, number), example, earlier, differs in with_first(placed):
        if earlier is None:
            first, index = alike.setdefault(_overlooked(example), (name, number))
            if (first, index) != (name, number):
                similar += 1
                if "similar" not in places:
                    places["similar"] = [f"{example.where} as {splits[first][index].where}"]
            continue
        other, index = earlier
        if differs and labelled:
            unlike.append((splits[other][index].where, example.where))
        kind: Any = name if other == name else (other, name)
        if other == name:
            twice[name] += 1
        else:
            shared[other, name] += 1
        if len(places.setdefault(kind, [])) < 1:
            places[kind].append(f"{example.where} as {splits[other][index].where}")
    notes = [
        f"{name}: {numbered(count, 'examples')} with the inputs of an earlier one (the first: {places[name][0]})"
        for name, count in twice.items()
    ]
    notes += [
        f"{numbered(count, 'examples')} of {name} also in {other} (the first: {places[other, name][0]})"
        for (other, name), count in shared.items()
    ]
    if unlike:
        shown = "; ".join(" and ".join(pair) for pair in unlike[:SHOWN])
        notes.append(f"{numbered(len(unlike), 'examples')} with equal inputs but another label: {shown}")
    if similar:
        notes.append(
            f"{numbered(similar, 'examples')} with the inputs of an earlier one but for full-width forms, upper case "
            f"or white space (the first: {places['similar'][0]})"
        )
    return notes


def _overlooked(example: Example) -> bytes:
    """A digest of the inputs without what a reader overlooks."""
    return bytes.fromhex(digest_value(folded(text_of(example))))[:12]


def _all(splits: Mapping[str, Examples]) -> Iterator[tuple[str, int, Example]]:
    """Every example with its split and its number, with a progress bar where there are many."""
    total = sum(map(len, splits.values()))
    with ProgressBar("comparing", total // 1000 + 1, shown=total >= MANY) as bar:
        done = 0
        for name, split in splits.items():
            for number, example in enumerate(split):
                yield name, number, example
                done += 1
                if done % 1000 == 0:
                    bar.step("thousand examples")


def _shared_documents(documents: Mapping[str, Sequence[str]]) -> list[str]:
    """Documents of two splits, by their names; of those that are numbered in their files, nothing is known."""
    notes = []
    named = {name: dict.fromkeys(one for one in own if not one.startswith(NUMBERED)) for name, own in documents.items()}
    for first, other in combinations(named, 2):
        both = [one for one in named[other] if one in named[first]]
        if both:
            notes.append(
                f"{numbered(len(both), 'documents')} of {other} also in {first} (the first: {both[0]}): scores of "
                f"{other} are too good, if what is in one part of a document helps with another"
            )
    return notes


def _long(lengths: Mapping[str, Any], longest: int) -> list[str]:
    """How many inputs have more tokens than a run reads at once."""
    notes = []
    for name, found in lengths.items():
        above = found.get("tokens", {}).get("above_max_length", 0)
        if above:
            notes.append(
                f"{name}: {100 * above / found['examples']:.1f} % of the inputs have more than {longest} tokens "
                "(--max_length): they are read in windows, or truncated"
            )
    return notes


def report(record: Mapping[str, Any], splits: Mapping[str, Examples], task: Task) -> RenderableType:
    """The description for a terminal."""
    parts: list[RenderableType] = []
    if splits:
        parts += [Text(line) for line in how_read(splits) if line.startswith("read ")]
        parts += [Text(), _split_table(record), Text()]
        if record["documents"]:
            counts = ", ".join(f"{name} {count:,}" for name, count in record["documents"].items())
            parts += [Text(f"documents: {counts}"), Text()]
    if record["labels"]:
        parts += [_label_table(record), Text()]
    parts += [Text(f"note: {note}") for note in record["notes"]]
    if record["first"]:
        several = len(record["first"]) > 1
        which = f"the first {len(record['first'])} examples, as they are" if several else "the first example, as it is"
        parts += [Text(), Text(f"{which} learned:", style="bold")]
        main = next(iter(splits.values()))
        parts += [_drawn(task, example, shown) for example, shown in zip(main, record["first"], strict=False)]
    return Group(*parts)


def _split_table(record: Mapping[str, Any]) -> RenderableType:
    """A row for each split and unit of length."""
    rows = []
    for name, count in record["splits"].items():
        measured = record["lengths"][name]
        for unit in ("words", "tokens"):
            if unit in measured:
                found = measured[unit]
                rows.append({"split": name, "examples": count, "unit": unit, **found["percentiles"], **found})
    columns = [
        Column(title="split", shown=lambda row: row["split"]),
        number_column("examples", "examples", ",.0f"),
        Column(title="length in", shown=lambda row: row["unit"]),
        *(number_column(f"{p} %" if p < 100 else "most", str(p), ",.0f") for p in PERCENTILES),
        Column(title="histogram", shown=lambda row: _bars(row["histogram"])),
    ]
    return rich_table(columns, rows, width=None)


def _bars(histogram: Mapping[str, Any]) -> str:
    most = max(histogram["counts"])
    bars = "".join(_BARS[min(7, round(7 * count / most))] if count else " " for count in histogram["counts"])
    return f"{histogram['edges'][0]:.0f} {bars} {histogram['edges'][-1]:.0f}"


def _label_table(record: Mapping[str, Any]) -> RenderableType:
    """The labels by frequency, with their counts in each split."""
    names = sorted(record["labels"], key=lambda name: -record["labels"][name])
    most = max(*record["labels"].values(), 1)
    rows: list[dict[str, Any]] = []
    for label in names[:30]:
        counts = {split: found.get(label, 0) for split, found in record["labels_by_split"].items()}
        rows.append({"label": label, "share": record["labels"][label] / most, **counts})
    columns = [Column(title="label", shown=lambda row: row["label"])]
    columns += [number_column(split, split, ",.0f") for split in record["labels_by_split"]]
    columns.append(Column(title="", shown=lambda row: "█" * max(round(24 * row["share"]), int(row["share"] > 0))))
    table = rich_table(columns, rows, width=None)
    left = len(names) - len(rows)
    return Group(table, Text(f"… and {numbered(left, 'labels')} more")) if left else table


def _drawn(task: Task, example: Example, shown: Mapping[str, Any]) -> Text:
    """One example: its entities marked, or its inputs and its answer."""
    if task.highlights:
        gold = shown["gold"]
        return Text.assemble("  ", highlight({"text": text_of(example), "entities": gold}))
    lines = [f"  {name}: {value}" for name, value in shown["inputs"].items()]
    return Text("\n".join([*lines, f"  -> {shown['gold']}", ""]))
