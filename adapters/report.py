"""What people read: the report of a run in 80 columns, the model card, entities shown in their text."""

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

from adapters.evaluation import Evaluation
from adapters.metrics import Metric, Section
from adapters.tasks import Example

WIDTH = 80
NAME_WIDTH = 24
"""So much of a table's width is left to the names of its rows; longer names are folded."""
LONGEST_NAME = 120
_USE = ("## Use", "", "```python", "from adapters.predictor import load", "",
        'print(load("this/folder").answer(["A text."]))', "```", "")  # fmt: skip
_NUMBER_WIDTH = 9
_STYLES = ("bold cyan", "bold green", "bold magenta", "bold yellow", "bold blue", "bold red")


def run_report(record: Mapping[str, Any], evaluation: Evaluation) -> RenderableType:
    """The report at the end of a run: each metric's tables, the main score with its interval, the cost."""
    parts: list[RenderableType] = [Text(_headline(record, evaluation), style="bold"), Text()]
    for metric in evaluation.metrics:
        for section in evaluation.sections(metric):
            parts += [_table(section), Text(section.remark, style="italic"), Text()]
    return Group(*parts, Text(main_line(evaluation), style="bold"), *(Text(line) for line in _cost_lines(record)))


def main_line(evaluation: Evaluation) -> str:
    """The score that stands for the task, with its interval, in words."""
    metric, main = evaluation.metrics[0], evaluation.main
    return (
        f"{evaluation.split} {_score_name(metric)}: {100 * main['value']:.2f}  "
        f"(95 % interval {100 * main['low']:.2f} to {100 * main['high']:.2f}, bootstrap)"
    )


def _score_name(metric: Metric) -> str:
    """The main score of a metric, not said twice where it bears the metric's name."""
    return metric.name if metric.name == metric.main else f"{metric.name} {metric.main}"


def plain(renderable: RenderableType) -> str:
    """As text for a file, without colours, 80 columns wide."""
    stream = io.StringIO()
    Console(file=stream, width=WIDTH, color_system=None, highlight=False).print(renderable)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def show(renderable: RenderableType) -> None:
    """Print to standard output, with colours where it is a terminal."""
    console = Console(highlight=False)
    Console(highlight=False, width=min(console.width, WIDTH) if console.is_terminal else WIDTH).print(renderable)


def asked(example: Example) -> str:
    """Arguments of `predict` that ask about an example as a user would write it."""
    inputs = dict(example.inputs)
    if set(inputs) <= {"text", "tokens", "offsets"}:
        return shlex.quote(shorten(str(inputs.get("text") or " ".join(inputs["tokens"])), 60, placeholder=""))
    return f"--input requests.jsonl   (each line: {json.dumps(dict.fromkeys(inputs, '…'), ensure_ascii=False)})"


def highlight(output: Mapping[str, Any]) -> Text:
    """A text with its entities marked; the type stands behind each, so that nothing hangs on colours."""
    text, shown, at = str(output["text"]), Text(), 0
    kinds = sorted({entity["label"] for entity in output["entities"]})
    for entity in output["entities"]:
        style = _STYLES[kinds.index(entity["label"]) % len(_STYLES)]
        shown.append(text[at : entity["start"]])
        shown.append(f"[{text[entity['start'] : entity['end']]} {entity['label']}]", style=style)
        at = entity["end"]
    shown.append(text[at:])
    return shown


def model_card(
    card: Mapping[str, Any], record: Mapping[str, Any], evaluation: Evaluation, settings: Mapping[str, Any]
) -> str:
    """A Hugging Face model card with the numbers of this run."""
    method, task, base = card["method"]["name"], card["task"]["name"], card["base"]["name"]
    main, cost, data = evaluation.main, record["cost"], record["dataset"]
    metric = evaluation.metrics[0]
    chosen = ("learning_rate", "num_train_epochs", "train_batch_pieces", "weight_decay", "dropout", "seed")
    rows = {**{name: settings.get(name) for name in chosen}, **card["method"]["settings"]}
    labels = f"; labels: {', '.join(card['task']['labels'])}" if card["task"]["labels"] else ""
    lines = [
        "---",
        f"base_model: {base}",
        f"library_name: {card['method']['library']}",
        f"tags: [taskswap, {task}, {method}]",
        "---",
        f"# {method} for {task} on {base}",
        "",
        f"Made with taskswap from {data['name']}{labels}.",
        "",
        "## Results",
        "",
        "| split | examples | metric | value | 95 % interval |",
        "|---|---|---|---|---|",
        f"| {evaluation.split} | {len(evaluation.examples)} | {_score_name(metric)} "
        f"| {100 * main['value']:.2f} | {100 * main['low']:.2f} to {100 * main['high']:.2f} |",
        "",
        *_markdown(metric.sections(evaluation.counts[metric.name].sum(0))),
        f"The interval is a bootstrap over examples. {record['overlap']['count']} of the examples stand in train too.",
        "",
        "## Training",
        "",
        f"{cost['trainable_params']:,} of {cost['total_params']:,} parameters trained in {cost['train_seconds']:.0f} s "
        f"on {record['hardware']['cpu']} ({record['hardware']['cores']} cores"
        f"{', ' + record['hardware']['gpu'] if record['hardware']['gpu'] else ''}).",
        *(f"The base was held in {card['base'][name]} {name} meanwhile." for name in ("bits",) if name in card["base"]),
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
        "",
        *_USE,
    ]
    return "\n".join(lines)


def _headline(record: Mapping[str, Any], evaluation: Evaluation) -> str:
    data = record["dataset"]
    what = f"{record['method']} for {record['task']} on {record['base']}"
    return f"{what}: {data['name']} {evaluation.split}, n = {len(evaluation.examples):,}"


def _cost_lines(record: Mapping[str, Any]) -> list[str]:
    cost = record["cost"]
    share = 100 * cost["trainable_params"] / max(cost["total_params"], 1)
    training = f"training: {cost['train_seconds']:.0f} s, {cost['train_pieces_per_second']:,.0f} pieces/s"
    lines = [
        *_prompt_lines(record),
        f"parameters trained: {cost['trainable_params']:,} of {cost['total_params']:,} ({share:.2f} %); "
        f"artifact {cost['artifact_bytes'] / 1e6:.1f} MB",
        f"{training if cost['trainable_params'] else 'no training'}; "
        f"peak memory {cost['peak_memory_bytes'] / 1024**3:.2f} GiB",
        f"answering: {cost['examples_per_second']:,.0f} examples/s in batches{_latency(cost['latency_ms'])}",
    ]
    both = record["overlap"]["count"]
    if both:
        lines.append(
            f"note: {both} of the {record['dataset']['split']} examples stand in train too (scores.json, overlap)"
        )
    return lines


def _prompt_lines(record: Mapping[str, Any]) -> list[str]:
    """What a prompted model was asked, and how often that went wrong; nothing for other methods."""
    notes, n = record["method_notes"], record["dataset"]["n"]
    if not notes:
        return []
    dropped = f" (some dropped, for want of room, in {record['shots_dropped']:,} of {n:,} prompts)"
    lines = [
        f"prompt: {notes['prompt']}, shots: {notes['shots']}{dropped if record['shots_dropped'] else ''}",
        f"answers not readable whole: {record['parse_failures']:,} of {n:,} (what was readable in them counts)",
    ]
    if record["truncated"]:
        lines.append(f"inputs too long for the model, answered with nothing: {record['truncated']:,}")
    return lines


def _latency(milliseconds: Mapping[str, float] | None) -> str:
    """One example's time, where it was measured (with several processes it is not)."""
    if milliseconds is None:
        return ""
    return f"; one alone {milliseconds['p50']:.1f} ms (p95 {milliseconds['p95']:.1f} ms)"


def _table(section: Section) -> Table:
    """A section in 80 columns. Where its heads are too wide, those that name a row give way to that row's number."""
    names, heads = [_shown(name) for name, _ in section.rows], [_shown(column) for column in section.columns]
    cells = [_cells(section, values) for _, values in section.rows]
    room = WIDTH - min(NAME_WIDTH, max(map(cell_len, names), default=0)) - 2
    own = [max(map(cell_len, column)) for column in zip(heads, *cells, strict=True)]
    least = _NUMBER_WIDTH if sum(max(width, _NUMBER_WIDTH) + 2 for width in own) <= room else None
    if least is None and sum(width + 2 for width in own) > room:
        numbers = {name: str(number) for number, (name, _) in enumerate(section.rows, 1)}
        heads = [numbers.get(column, head) for column, head in zip(section.columns, heads, strict=True)]
        names = [f"{number} {name}" for number, name in enumerate(names, 1)]
    table = Table(
        title=Text(section.title), title_justify="left", title_style="bold", box=None, pad_edge=False,
        padding=(0, 2, 0, 0),
    )  # fmt: skip
    table.add_column("", overflow="fold")
    for head in heads:
        table.add_column(Text(head), justify="right", min_width=least, overflow="fold")
    for name, row in zip(names, cells, strict=True):
        table.add_row(Text(name), *row)
    return table


def _cells(section: Section, values: Sequence[float]) -> list[str]:
    """Shares in percent with two decimals, counts as whole numbers."""
    return [f"{value:,.0f}" if column in section.counts else f"{100 * value:.2f}"
            for column, value in zip(section.columns, values, strict=True)]  # fmt: skip


def _shown(name: str) -> str:
    """A name of the user's on one line: no characters that steer a terminal, the middle of a long one left out."""
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    half = LONGEST_NAME // 2
    return plain if len(plain) <= LONGEST_NAME else f"{plain[:half]}…{plain[-half:]}"


def _markdown(sections: Sequence[Section]) -> list[str]:
    lines = []
    for section in sections:
        table = [("", *section.columns), *((name, *_cells(section, values)) for name, values in section.rows)]
        head, *rows = ["| " + " | ".join(_shown(cell).replace("|", "\\|") for cell in row) + " |" for row in table]
        lines += [head, "|---" * (len(section.columns) + 1) + "|", *rows, ""]
    return lines
