"""The model card of an artifact: its README.md for the Hugging Face Hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.core.errors import numbered, verb
from adapters.data.regression_rows import LabelRange
from adapters.evaluation.evaluate import Evaluation
from adapters.evaluation.metrics.base.any_metric import Section, score_title
from adapters.evaluation.report.run_report import chosen_on_what_is_scored, number_cells, on_base, on_one_line
from adapters.evaluation.report.tables import markdown_lines
from adapters.methods.base.peft_method import PeftMethod

_SHOWN_SETTINGS = ("learning_rate", "num_train_epochs", "max_tokens_per_batch", "weight_decay", "dropout", "seed")


_COMPOSED = [
    "Prompts must be in Unicode's NFC, in which a letter and its mark are one character: the tokenizer composes them,",
    "llama.cpp does not, and would cut them into other tokens than the model was trained on. In Python:",
    '`unicodedata.normalize("NFC", prompt)`.',
    "",
]


def run_model_card(
    card: Mapping[str, Any], record: Mapping[str, Any], evaluation: Evaluation, settings: Mapping[str, Any]
) -> str:
    """The model card of a run's artifact.

    Args:
        card: contents of card.json.
        record: contents of scores.json.
        evaluation: on the split that the record names.
        settings: of the run.
    """
    method, task, base = card["method"]["name"], card["task"]["name"], card["base"]
    labels = f"; labels: {', '.join(card['task']['labels'])}" if card["task"]["labels"] else ""
    learnt = LabelRange.of_card(card["task"].get("label_range"))
    labels += f"; numbers {learnt}" if learnt else ""
    shown = _SHOWN_SETTINGS if base else ()  # those of the trainer
    rows = {**{name: settings.get(name) for name in shown}, **card["method"]["settings"]}
    return "\n".join(
        [
            *_front_matter(card, f"taskswap, {task}, {method}"),
            f"# {method} for {task}{on_base(base['name'] if base else '')}",
            "",
            f"Made with taskswap from {record['dataset']['train'] or record['dataset']['name']}{labels}.",
            "",
            *_results(record, evaluation),
            *_training(record, base or {}),
            *_reference(card),
            *(
                markdown_lines(("setting", "value"), [(name, str(value)) for name, value in rows.items()])
                if rows
                else []
            ),
            "",
            *_use(card),
            *_scale(card),
        ]
    )


def derived_model_card(card: Mapping[str, Any], description: Sequence[str]) -> str:
    """The model card of an artifact made of others (merged or combined); `description` says of which."""
    scores, result = card.get("scores"), "Not scored."
    if scores:
        result = _score(scores)
    title = f"# {card['task']['name']} on {card['base']['name']}"
    said = [*description, *_notice(card["base"])]
    return "\n".join([*_front_matter(card, "taskswap"), title, "", *said, "", result, "", *_use(card), *_scale(card)])


def _score(scores: Mapping[str, Any]) -> str:
    """The score of the run that trained it."""
    return "{dataset} {split}, n = {n}: {title} ".format(**scores) + f"{100 * scores['value']:.2f}."


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A request that an export answers, and what its graph is given for it.

    Attributes:
        request: as the task takes it.
        texts: of which tokenizer.json makes the row: one, or the two of a pair; none where the task does more.
        ids: the row's tokens.
        types: their types.
    """

    request: str | Mapping[str, Any]
    texts: Sequence[str]
    ids: Sequence[int]
    types: Sequence[int]


def export_model_card(card: Mapping[str, Any], sample: Sample) -> str:
    """The README of an export to ONNX, with the lines of code that run it, with our runtime and without.

    Args:
        card: contents of card.json.
        sample: of its adapter, or of the first of several.
    """
    record, scored = card["export"], card["export"].get("quantize", {}).get("scored")
    kind = f" in {record['quantize']['kind']}" if "quantize" in record else ""
    adapters: Mapping[str, Any] = card.get("adapters", {})
    of = ", ".join(adapters) or f"{card['task']['name']}, {card['method']['name']}"
    result = "Not scored."
    if scored:
        value = f"{100 * scored['value']:.2f}, in fp32 {100 * scored['before']:.2f}"
        result = f"{scored.get('title', scored['metric'])} on {scored['split']}, n = {scored['n']}: {value}."
    elif "scores" in card:
        result = _score(card["scores"])
    first = next(iter(adapters), None)
    named = "" if first is None else f", adapter={_quoted(first)}"
    return "\n".join(
        [
            f"# {of} on {card['base']['name']}, as ONNX{kind}",
            "",
            f"Opset {record['opset']}. {result}",
            "",
            *_notice(card["base"]),
            "## Use",
            "",
            "`taskswap-runtime` needs onnxruntime, tokenizers, numpy and regex; `python .ci/build_runtime.py` in a "
            "clone of taskswap makes its wheel.",
            "",
            "```python",
            "from taskswap_runtime import load  # without torch; or, where taskswap is: from adapters import load",
            "",
            f'model = load("this/folder"{named})',
            f"print(model({_quoted(sample.request)}))",
            "```",
            "",
            "In any other language, the graph takes int64 `input_ids` and `attention_mask` `[rows, tokens]` (and "
            "`token_type_ids`, if it lists them), made by tokenizer.json, padded on the right with "
            f"{record['pad_id']}, at most {_budget(card)} tokens"
            f"{'' if first is None else ', and the tensors of an adapter (below)'}:",
            "",
            "```python",
            *_without_runtime(sample, adapters),
            "```",
            "",
            *(_adapter_files(adapters) if adapters else []),
        ]
    )


def _without_runtime(sample: Sample, adapters: Mapping[str, Any]) -> list[str]:
    """Lines of Python that run a graph by ONNX Runtime alone, on the sample; of several adapters by the first."""
    first = next(iter(adapters.values()), None)
    lines = ["import numpy, onnxruntime, tokenizers"] if sample.texts else ["import numpy, onnxruntime"]
    lines += ["from safetensors.numpy import load_file"] if first else []
    lines += ["", 'session = onnxruntime.InferenceSession("model.onnx")']
    if sample.texts:
        lines += [
            'tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")',
            f"row = tokenizer.encode({', '.join(map(_quoted, sample.texts))})",
            'values = {"input_ids": row.ids, "attention_mask": row.attention_mask, "token_type_ids": row.type_ids}',
        ]
    else:
        lines += [
            "# The request above, as taskswap encodes it: its marks and line ends are the task's own.",
            f"ids, types = {[*sample.ids]}, {[*sample.types]}",
            'values = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": types}',
        ]
    lines += ["inputs = {name: numpy.array([value], numpy.int64) for name, value in values.items()}"]
    if first:
        lines += [f'inputs |= load_file("heads.safetensors") | load_file({_quoted(first["file"])})']
    listed = "{one.name: inputs[one.name] for one in session.get_inputs()}"
    outputs = None if first is None else [first["output"]]
    return [*lines, f"print(session.run({_quoted(outputs) if outputs else None}, {listed}))"]


def _adapter_files(adapters: Mapping[str, Any]) -> list[str]:
    """What a program passes and reads for each adapter of an export that has several."""
    rows = [(name, one["task"]["name"], one["file"], one["output"]) for name, one in adapters.items()]
    return [
        "An adapter is its file's tensors, given as inputs, and one output of the graph. All inputs must be given: "
        "those of heads that an adapter does not have are in heads.safetensors.",
        "",
        *markdown_lines(("adapter", "task", "file", "output"), rows),
        "",
    ]


def _quoted(value: Any) -> str:
    """A value in Python's and JSON's form."""
    return json.dumps(value, ensure_ascii=False)


def gguf_model_card(card: Mapping[str, Any], prompt: str) -> str:
    """The README of an export to GGUF; `prompt` is what the model is given for a text."""
    apart = card["export"]["apart"]
    files = "-m base.gguf --lora adapter.gguf" if apart else "-m model.gguf"
    return "\n".join(
        [
            f"# {card['task']['name']}, {card['method']['name']} on {card['base']['name']}, as GGUF",
            "",
            f"In f16. {_score(card['scores']) if 'scores' in card else 'Not scored.'}",
            "",
            *_notice(card["base"]),
            "## Use",
            "",
            "The model was trained on prompts of this form (here of an empty example):",
            "",
            "```text",
            prompt,
            "```",
            "",
            *(_COMPOSED if "normalizer" in card["export"] else []),
            "```bash",
            f"llama-cli {files} --temp 0 -no-cnv -p 'PROMPT'",
            "```",
            "",
        ]
    )


def _budget(card: Mapping[str, Any]) -> int:
    """The most tokens of a row."""
    return int(min(one["budget"] for one in card["adapters"].values()) if "adapters" in card else card["budget"])


def _use(card: Mapping[str, Any]) -> list[str]:
    """How it is used from Python, with a request that its task takes."""
    request = json.dumps(card.get("request", "A text."), ensure_ascii=False)
    call = f'print(adapters.load("this/folder")({request}))'
    return ["## Use", "", "```python", "import adapters", "", call, "```", "", *_use_in_peft(card)]


def _use_in_peft(card: Mapping[str, Any]) -> list[str]:
    """How stock PEFT loads it; nothing where it can't."""
    of_base = card["base"] or {}
    if card["method"]["library"] != PeftMethod.library or "class" not in of_base:
        return []
    named = "outputs" in of_base
    given = [f'    "{of_base["name"]}",']
    given += ["    num_labels=len(outputs),", "    id2label=dict(enumerate(outputs)),"] if named else []
    read = 'outputs = json.loads(Path("this/folder/card.json").read_text("utf-8"))["base"]["outputs"]'
    return [
        "In stock PEFT (without the Hub, give the folder of the base, which `taskswap inspect` prints):",
        "",
        "```python",
        *(["import json", "from pathlib import Path", ""] if named else []),
        "from peft import PeftModel",
        f"from transformers import {of_base['class']}",
        "",
        *([read] if named else []),
        f"base = {of_base['class']}.from_pretrained(",
        *given,
        ")",
        'model = PeftModel.from_pretrained(base, "this/folder")',
        "```",
        "",
    ]


def _scale(card: Mapping[str, Any]) -> list[str]:
    """How transformers and PEFT get a number from the head of a regression, whose output is a standard score."""
    learnt = LabelRange.of_card(card["task"].get("label_range"))
    if learnt is None:
        return []
    return [
        "Of transformers' or PEFT's own output, the number is",
        "",
        "```python",
        f"value = model(**inputs).logits[:, 0] * {learnt.sd!r} + {learnt.mean!r}",
        "```",
        "",
    ]


def _front_matter(card: Mapping[str, Any], tags: str) -> list[str]:
    return [
        "---",
        *([f"base_model: {card['base']['name']}"] if card["base"] else []),
        f"library_name: {card['method']['library']}",
        f"tags: [{tags}]",
        "---",
    ]


def _results(record: Mapping[str, Any], evaluation: Evaluation) -> list[str]:
    main, metric, shared = evaluation.main, evaluation.metrics[0], record["overlap"]["count"]
    chosen = chosen_on_what_is_scored(record)
    row = (
        record["dataset"]["name"],
        evaluation.split,
        str(len(evaluation.examples)),
        score_title(metric),
        f"{100 * main['value']:.2f}",
        f"{100 * main['low']:.2f} to {100 * main['high']:.2f}",
    )
    return [
        "## Results",
        "",
        *markdown_lines(("data", "split", "examples", "metric", "value", "95 % interval"), [row]),
        "",
        *section_tables(evaluation.tables(metric)),
        f"The interval is a bootstrap over {evaluation.units.name}. {numbered(shared, 'examples')} of "
        f"{record['dataset']['split']} {verb(shared, 'are')} in train too."
        + (" Epochs were chosen by these examples, so their scores are too high." if chosen else ""),
        "",
    ]


def _training(record: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    cost, hardware = record["cost"], record["hardware"]
    gpu = f", {hardware['gpu']}" if hardware["gpu"] else ""
    return [
        "## Training",
        "",
        f"{cost['trainable_params']:,} of {cost['total_params']:,} parameters trained in {cost['train_seconds']:.0f} s "
        f"on {hardware['cpu']} ({hardware['cores']} cores{gpu}).",
        *([f"The base was quantized to {base['bits']} bits in training."] if "bits" in base else []),
        *([f"Of the base, {record['left_out']}."] if record["left_out"] else []),
        *_notice(base),
        "",
    ]


def _notice(base: Mapping[str, Any]) -> list[str]:
    """What is said on each use of the base, such as that its weights were quantized before."""
    return [f"{base['notice']}."] if "notice" in base else []


def _reference(card: Mapping[str, Any]) -> list[str]:
    """What card.json says of the answers on dev."""
    reference = card.get("reference")
    if reference is None:
        return []
    said = [f"mean confidence {reference['confidence']['mean']:.2f}"] if "confidence" in reference else []
    said += [f"{reference['unknown']['mean']:.1%} unknown tokens"] if "unknown" in reference else []
    said += [f"{reference['tokens']:.0f} tokens per text"] if "tokens" in reference else []
    counted = f"On {reference['texts']:,} dev examples: {', '.join(said)}. " if said else ""
    return [
        f"{counted}`reference` in card.json has what it answers on dev; `taskswap serve` warns when answers drift from "
        "it.",
        "",
    ]


def section_tables(sections: Sequence[Section]) -> list[str]:
    """Sections as Markdown tables, each followed by an empty line."""
    lines = []
    for section in sections:
        titles = [on_one_line(title) for title in ("", *section.columns)]
        rows = [(on_one_line(name), *number_cells(section, values)) for name, values in section.rows]
        lines += [*markdown_lines(titles, rows), ""]
    return lines
