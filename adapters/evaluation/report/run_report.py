"""The report of a run in 80 columns, and entities marked in their text."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from adapters.core.errors import numbered, verb
from adapters.data.word_splitter import joined
from adapters.evaluation.evaluate import Evaluation
from adapters.evaluation.metrics.base.any_metric import Section, score_title
from adapters.tasks.base.example import Example

WIDTH = 80
NAME_WIDTH = 24
"""Characters of a table's width for the names of its rows; longer names are folded."""
LONGEST_NAME = 120
SHOWN = 60
"""Characters of a text in a command that is suggested."""
ON_DEV = (
    "these are scores of the dev examples by which epochs and settings were chosen, so they are too high; those of a "
    "test split (--test_file) are not."
)
_NUMBER_WIDTH = 9
_STYLES = ("bold cyan", "bold green", "bold magenta", "bold yellow", "bold blue", "bold red")


def run_report(record: Mapping[str, Any], evaluation: Evaluation) -> RenderableType:
    """The report at the end of a run: the tables of each metric, the main score with its interval, the cost."""
    parts: list[RenderableType] = [Text(_headline(record, evaluation), style="bold"), Text()]
    for metric in evaluation.metrics:
        for section in evaluation.sections(metric):
            parts += [_table(section), Text(section.remark, style="italic"), Text()]
    return Group(*parts, Text(main_line(evaluation), style="bold"), *(Text(line) for line in _cost_lines(record)))


def main_line(evaluation: Evaluation) -> str:
    """The main score with its interval, in words."""
    metric, main, how = evaluation.metrics[0], evaluation.main, bootstrap_of(evaluation.units.record())
    return (
        f"{evaluation.split} {score_title(metric)}: {100 * main['value']:.2f}  "
        f"(95 % interval {100 * main['low']:.2f} to {100 * main['high']:.2f}, {how})"
    )


def bootstrap_of(resampled: Mapping[str, Any]) -> str:
    """How an interval was made: `bootstrap`, and of how many documents where whole ones were resampled."""
    return (
        f"bootstrap of {numbered(resampled['documents'], 'documents')}"
        if resampled["units"] == "documents"
        else "bootstrap"
    )


def plain(renderable: RenderableType) -> str:
    """The report as text for a file, without colours, 80 columns wide."""
    stream = io.StringIO()
    Console(file=stream, width=WIDTH, color_system=None, highlight=False).print(renderable)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def show(renderable: RenderableType) -> None:
    """Print to standard output, with colours where it is a terminal."""
    console = Console(highlight=False)
    Console(highlight=False, width=min(console.width, WIDTH) if console.is_terminal else WIDTH).print(renderable)


def predict_arguments(example: Example) -> str:
    """Arguments of `predict` for an example, as a user would write them."""
    inputs = dict(example.inputs)
    if set(inputs) <= {"text", "tokens", "offsets"}:
        text = str(inputs.get("text") or joined(inputs["tokens"])[0])
        # Between two words if it can be; text without blanks has no such place.
        return shlex.quote(shorten(text, SHOWN, placeholder="") or text.strip()[:SHOWN])
    return f"--input requests.jsonl   (each line: {json.dumps(dict.fromkeys(inputs, '…'), ensure_ascii=False)})"


def highlight(output: Mapping[str, Any]) -> Text:
    """A text with its entities marked; the type follows each, so that nothing depends on colours."""
    text, shown, at = str(output["text"]), Text(), 0
    kinds = sorted({entity["label"] for entity in output["entities"]})
    for entity in output["entities"]:
        style = _STYLES[kinds.index(entity["label"]) % len(_STYLES)]
        shown.append(text[at : entity["start"]])
        shown.append(f"[{text[entity['start'] : entity['end']]} {entity['label']}]", style=style)
        at = entity["end"]
    shown.append(text[at:])
    return shown


def _headline(record: Mapping[str, Any], evaluation: Evaluation) -> str:
    data = record["dataset"]
    what = f"{record['method']} for {record['task']}{on_base(record['base'])}"
    return f"{what}: {data['name']} {evaluation.split}, n = {len(evaluation.examples):,}"


def chosen_on_what_is_scored(record: Mapping[str, Any]) -> bool:
    """Whether the scores of a run are of the dev examples by which it chose its epoch."""
    return bool(record["dataset"]["split"] == "dev" and record["labelled"].get("validation"))


def _cost_lines(record: Mapping[str, Any]) -> list[str]:
    cost = record["cost"]
    lines = _training_lines(record) if "trainable_params" in cost else []  # which is not known of every artifact
    lines.append(
        f"prediction: {_rate(cost['examples_per_second'])} examples/s in batches{_latency(cost['latency_ms'])}"
    )
    if chosen_on_what_is_scored(record):
        lines.append(f"note: {ON_DEV}")
    shared = record["overlap"]
    if shared["count"]:
        lines.append(
            f"note: {numbered(shared['count'], 'examples')} of {record['dataset']['split']} "
            f"{verb(shared['count'], 'are')} in train too, as the tokenizer sees texts; to the letter: "
            f"{shared['equal']:,} (scores.json, overlap)"
        )
    return lines


def _training_lines(record: Mapping[str, Any]) -> list[str]:
    cost = record["cost"]
    share = 100 * cost["trainable_params"] / max(cost["total_params"], 1)
    speed = f", {cost['train_tokens_per_second']:,.0f} tokens/s" if cost["train_tokens_per_second"] else ""
    training = f"training: {cost['train_seconds']:.0f} s{speed}"
    stored = "no artifact" if cost["artifact_bytes"] is None else f"artifact {cost['artifact_bytes'] / 1e6:.1f} MB"
    return [
        *_prompt_lines(record),
        f"parameters trained: {cost['trainable_params']:,} of {cost['total_params']:,} ({share:.2f} %); {stored}",
        *([f"of the base, {record['left_out']}"] if record["left_out"] else []),
        f"{training if cost['trainable_params'] else 'no training'}; "
        f"peak memory {cost['peak_memory_bytes'] / 1024**3:.2f} GiB",
    ]


def _rate(per_second: float) -> str:
    """A rate with a digit that says something: whole from ten on, two digits below."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"


def _prompt_lines(record: Mapping[str, Any]) -> list[str]:
    """The prompt of a prompted model and its failures; nothing for other methods."""
    notes, n, failed = record["method_notes"], record["dataset"]["n"], record["parse_failures"]
    if not notes:
        return []
    dropped = f" (some dropped for lack of space in {record['shots_dropped']:,} of {n:,} prompts)"
    lines = [
        f"prompt: {notes['prompt']}, shots: {notes['shots']}{dropped if record['shots_dropped'] else ''}",
        f"chat template: {notes.get('chat_template', 'no')}",
        f"parse failures: {failed:,} of {numbered(n, 'answers')}, {100 * failed / max(n, 1):.1f} % "
        "(what could be parsed of them counts)",
    ]
    if record["truncated"]:
        lines.append(
            f"truncated: {numbered(record['truncated'], 'inputs')} too long for the model, with an empty answer"
        )
    return lines


def _latency(milliseconds: Mapping[str, float] | None) -> str:
    """The time of one example, where it was measured (with several processes it is not)."""
    if milliseconds is None:
        return ""
    return f"; a single one {milliseconds['p50']:.1f} ms (p95 {milliseconds['p95']:.1f} ms)"


def _table(section: Section) -> Table:
    """A section in 80 columns. Where its heads are too wide, those that name a row are replaced by its number."""
    names = [on_one_line(name) for name, _ in section.rows]
    heads = [on_one_line(column) for column in section.columns]
    cells = [number_cells(section, values) for _, values in section.rows]
    room = WIDTH - min(NAME_WIDTH, max(map(cell_len, names), default=0)) - 2
    own = [max(map(cell_len, column)) for column in zip(heads, *cells, strict=True)]
    least = _NUMBER_WIDTH if sum(max(width, _NUMBER_WIDTH) + 2 for width in own) <= room else None
    if least is None and sum(width + 2 for width in own) > room:
        numbers = {name: str(number) for number, (name, _) in enumerate(section.rows, 1)}
        heads = [numbers.get(column, head) for column, head in zip(section.columns, heads, strict=True)]
        names = [f"{number} {name}" for number, name in enumerate(names, 1)]
    table = Table(
        title=Text(section.title),
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("", overflow="fold")
    for head in heads:
        table.add_column(Text(head), justify="right", min_width=least, overflow="fold")
    for name, row in zip(names, cells, strict=True):
        table.add_row(Text(name), *row)
    return table


def on_base(name: str) -> str:
    """` on minilm`; nothing for a method without a base model, whose name of a base is empty."""
    return f" on {name}" if name else ""


def number_cells(section: Section, values: Sequence[float]) -> list[str]:
    """Shares in percent with two decimals, counts as whole numbers; others as they are, to four digits."""
    if section.as_given:
        return [f"{value:,.4g}" for value in values]
    return [
        f"{value:,.0f}" if column in section.counts else f"{100 * value:.2f}"
        for column, value in zip(section.columns, values, strict=True)
    ]


def on_one_line(name: str) -> str:
    """A user's name on one line, without control characters; the middle of a long one is left out."""
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    half = LONGEST_NAME // 2
    return plain if len(plain) <= LONGEST_NAME else f"{plain[:half]}…{plain[-half:]}"
