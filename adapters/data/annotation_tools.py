"""Exports of annotation tools whose rows say more than a text and its entities: Label Studio and Prodigy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from adapters.core.errors import Faults
from adapters.data.row_views import RowView
from adapters.data.rows import Row, RowSource, first_rows

PRODIGY_ANSWERS = frozenset({"accept", "reject", "ignore"})
"""Words of Prodigy's column `answer`."""
_TEXTS = ("text", "content", "sentence", "document", "body", "message")


def in_plain_form(source: RowSource, sample: Sequence[Row]) -> RowSource:
    """The source with texts and entities as other tools have them; the source itself where it has them already."""
    columns, values = set(source.columns), [row.values for row in sample]
    for tasks in ("annotations", "completions"):
        if {"data", tasks} <= columns and any(_results(row.get(tasks)) is not None for row in values):
            return RowView(
                source=source,
                form="Label Studio",
                columns=["text", "entities", *(name for name in source.columns if name not in ("data", tasks))],
                change=partial(_label_studio, tasks=tasks),
            )
    if "answer" in columns and values and all(_is_answer(row.get("answer", "accept")) for row in values):
        columns_left = [*(name for name in source.columns if name not in ("answer", "spans")), "spans"]
        return RowView(source=source, form="Prodigy", columns=columns_left, change=_prodigy)
    return source


def _is_answer(value: Any) -> bool:
    """Whether it is one of Prodigy's answers, and no list or dict, which no set can be asked for."""
    return isinstance(value, str) and value in PRODIGY_ANSWERS


def _prodigy(rows: Iterator[Row], faults: Faults) -> Iterator[Row]:
    """The accepted rows; one without spans has none."""
    for row in rows:
        answer = row.values.get("answer", "accept")
        if not _is_answer(answer):
            faults.add(row.where(), f"the answer must be accept, reject or ignore, found {repr(answer)[:60]}")
        elif answer != "accept":
            faults.note(f"rows with the answer {answer} left out")
        else:
            spans, tokens = row.values.get("spans") or [], row.values.get("tokens")
            if isinstance(spans, list):
                spans = [_with_offsets(span, tokens) for span in spans]
            yield Row(row.file, row.line, row.line_step, {**row.values, "spans": spans})


def _with_offsets(span: Any, tokens: Any) -> Any:
    """A span that has numbers of tokens alone (the last one is inside), with the characters of these."""
    if not isinstance(span, dict) or "start" in span or not isinstance(tokens, list):
        return span
    try:
        first, last = tokens[span["token_start"]], tokens[span["token_end"]]
        return {**span, "start": first["start"], "end": last["end"]}
    except (KeyError, IndexError, TypeError):
        return span


def _results(tasks: Any) -> list[dict[str, Any]] | None:
    """The annotations of a Label Studio task; None if it is none. Its CSV has them as JSON in the cell."""
    if isinstance(tasks, str) and tasks.lstrip().startswith("["):
        try:
            tasks = json.loads(tasks)
        except (ValueError, RecursionError):
            return None
    if not isinstance(tasks, list):
        return None
    if not all(isinstance(one, dict) and isinstance(one.get("result"), list) for one in tasks):
        return None
    return tasks


def _label_studio(rows: Iterator[Row], faults: Faults, *, tasks: str) -> Iterator[Row]:
    """A row for each annotated task, with the spans of its text."""
    for row, text, results in _annotated(rows, faults, tasks):
        entities = []
        for value in (result.get("value") for result in results):
            if isinstance(value, dict) and "start" in value and "end" in value:
                labels = value.get("labels") or value.get("hypertextlabels")
                entities.append({**value, "labels": labels})
            else:
                faults.note("results of Label Studio other than spans of the text left out")
        yield Row(row.file, row.line, row.line_step, {**row.values, "text": text, "entities": entities})


def choices_as_labels(source: RowSource) -> RowSource:
    """A source of Label Studio's tasks with a column for each of its questions; any other source as it is.

    Where there is one question its column is `label`, else each has its own name.
    """
    for tasks in ("annotations", "completions"):
        if not {"data", tasks} <= set(source.columns):
            continue
        sample = (_results(row.values.get(tasks)) for row in first_rows(source))
        results = [result for found in sample for one in found or () for result in one["result"]]
        names = list(dict.fromkeys(str(one.get("from_name")) for one in results if _choices(one) is not None))
        if names:
            columns = {names[0]: "label"} if len(names) == 1 else {name: name for name in names}
            return RowView(
                source=source,
                form="Label Studio",
                columns=["text", *columns.values()],
                change=partial(_label_studio_choices, tasks=tasks, columns=columns),
                settings=(tasks, *columns),
            )
    return source


def _label_studio_choices(
    rows: Iterator[Row], faults: Faults, *, tasks: str, columns: Mapping[str, str]
) -> Iterator[Row]:
    """A row for each annotated task, with what was chosen for each question."""
    for row, text, results in _annotated(rows, faults, tasks):
        values: dict[str, Any] = {"text": text}
        if "id" in row.values:
            values["id"] = row.values["id"]
        for result in results:
            chosen, name = _choices(result), str(result.get("from_name"))
            if chosen is None or name not in columns:
                faults.note("results of Label Studio other than choices left out")
            elif "start" in result["value"]:
                faults.note("choices for a part of the text left out")
            else:
                values[columns[name]] = [*values.get(columns[name], ()), *chosen]
        yield Row(row.file, row.line, row.line_step, values)


def _choices(result: Any) -> list[Any] | None:
    """What was chosen; None if this is another kind of result."""
    value = result.get("value") if isinstance(result, dict) else None
    chosen = value.get("choices") if isinstance(value, dict) else None
    return chosen if isinstance(chosen, list) else None


def _annotated(rows: Iterator[Row], faults: Faults, tasks: str) -> Iterator[tuple[Row, str, list[dict[str, Any]]]]:
    """Each annotated task with its text and its results.

    Of several annotations, the one marked as ground truth is read, else the first that was not cancelled.
    """
    for row in rows:
        annotations, data = _results(row.values.get(tasks)), row.values.get("data")
        if annotations is None or not isinstance(data, dict):
            faults.add(row.where(), f"a Label Studio task needs a dict in 'data' and a list in {tasks!r}")
            continue
        valid = [one for one in annotations if not one.get("was_cancelled")]
        if not valid:
            faults.note("tasks without an annotation, or with cancelled ones alone, left out")
            continue
        if len(valid) > 1:
            faults.note("annotations left out: one of a task is read, the ground truth, else the first", len(valid) - 1)
        chosen = next((one for one in valid if one.get("ground_truth")), valid[0])
        text = next((data[name] for name in _TEXTS if isinstance(data.get(name), str)), None)
        if text is None:
            texts = [value for value in data.values() if isinstance(value, str)]
            text = texts[0] if len(texts) == 1 else None
        if text is None:
            faults.add(row.where(), f"no text in 'data', which has {', '.join(map(str, data)) or 'nothing'}")
            continue
        yield row, text, [result for result in chosen["result"] if isinstance(result, dict)]
