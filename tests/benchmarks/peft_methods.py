"""Every method of PEFT without a file of ours, on a tiny BERT, GPT-2 and Llama: equal to stock PEFT, or PEFT's reason.

    python tests/benchmarks/peft_methods.py                       # a minute and a half on one core
    python tests/benchmarks/peft_methods.py --types LOHA VERA --bases bert
    python tests/benchmarks/peft_methods.py --types TRAINABLE_TOKENS --tasks generating

Each is put around the base, trained for two steps, changed at random wherever it is not zero, saved, verified and
loaded; then stock `PeftModel.from_pretrained` on a stock model computes the same ids (unpadded), and so does the model
that was saved. All logits must agree to 1e-5. The tasks are classification, named entities and, on causal bases,
translation, which the base generates.
Prints a Markdown table with PEFT's reasons below it, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bench

sys.path.insert(0, str(bench.REPOSITORY / "tests"))
CLOSE = 1e-5
REFUSED = "PEFT's TYPE cannot do the task on the base: "
"""What our message says before PEFT's reason."""
NO_CONV1D = "PEFT has no layer of TYPE for `Conv1D`, the linear layer of GPT-2."
"""What PEFT says in as many ways as it has types."""
BASES = ("bert", "gpt2", "llama")
TASKS = ("classifying", "tagging", "generating")
PAIRS = ["Ada lived in Rome .", "notes .", "Kurt wrote notes near the old town .", "Paris"]
OPTIONS: dict[str, dict[str, Any]] = {
    "ADALORA": {"init_r": 6, "target_r": 3},
    "ADAPTION_PROMPT": {"adapter_len": 4, "adapter_layers": 2},
    "C3A": {"block_size": 16},
    "CARTRIDGE": {"num_virtual_tokens": 4},
    "FOURIERFT": {"n_frequency": 50},
    "MISS": {"r": 8},
    "PSOFT": {"r": 8},
    "P_TUNING": {"num_virtual_tokens": 4},
    "ROAD": {"group_size": 16},
    "SHIRA": {"r": 4},
    "TRAINABLE_TOKENS": {"token_indices": [5, 6, 7]},
    "VBLORA": {"vector_length": 8, "num_vectors": 16},
    "WAVEFT": {"n_frequency": 50},
}  # fmt: skip
"""Options that a type needs, or needs on layers of 32 units."""
ON_BASE: dict[tuple[str, str], dict[str, Any]] = {
    ("LN_TUNING", "bert"): {"target_modules": ["LayerNorm"]},
    ("SHADOW", "bert"): {"target_modules": r".*encoder\.layer\.\d+"},
}
"""Options that a type needs on a base of which PEFT does not know the layers."""


def data(folder: Path) -> dict[str, Any]:
    """Each task and its training examples."""
    from conftest import write_tagged

    from adapters.core import discovery
    from adapters.data.dataset_files import open_splits
    from adapters.tasks.base.task import load_task

    rows = {
        "classification": [{"text": text, "label": "long" if len(text) > 10 else "short"} for text in PAIRS * 4],
        "translation": [{"en": text, "de": text.upper()} for text in PAIRS * 4],
    }
    given = {"translation": {"source_lang": "en", "target_lang": "de", "max_new_tokens": 8}}
    found = {}
    for shown, name in zip(TASKS, ("classification", "ner", "translation"), strict=True):
        place = folder / name
        place.mkdir()
        if name in rows:
            (place / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows[name]))
        else:
            write_tagged(place / "train.conll", 20)
        settings = discovery.load("tasks", name).Settings(**given.get(name, {}))
        task, splits = load_task(name).read(open_splits(folder=place), settings)
        found[shown] = task, splits["train"]
    return found


def logits(model: Any, rows: Sequence[Sequence[int]]) -> list[Any]:
    """Logits of each row alone."""
    import torch

    with torch.inference_mode():
        return [model.eval()(input_ids=torch.tensor([row])).logits[0] for row in rows]


def apart(one: Sequence[Any], other: Sequence[Any]) -> float:
    """The largest difference; stock PEFT also answers for the tokens of a prompt, which come first."""
    return max(float((a - b[len(b) - len(a) :]).abs().max()) for a, b in zip(one, other, strict=True))


def run(kind: str, name: str, base: Any, task: Any, train: Any, folder: Path) -> float:
    """Train, save, verify and load; the largest difference to stock PEFT and to the model that was trained."""
    import peft
    import tiny
    import torch
    import transformers

    from adapters.artifacts import artifact, loading

    options = {**OPTIONS.get(kind, {}), **ON_BASE.get((kind, name), {})}
    method = tiny.method("peft", peft_type=kind, peft_options=json.dumps(options), max_train_steps=2)
    task = task.on(base.kind)
    method.check(base, task)
    torch.manual_seed(0)
    model = method.wrap(base, task, train)
    before = {
        n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad and "modules_to_save" not in n
    }
    tiny.trainer(method, model, base, task, train).run(lambda: 0.5)
    assert any(not torch.equal(p, before[n]) for n, p in model.named_parameters() if n in before), "nothing was trained"
    with torch.no_grad():  # two steps may change less than would be seen
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(torch.randn_like(parameter) * (parameter != 0), alpha=0.05)
    card = {
        "task": task.card(),
        "method": {"name": "peft", "library": "peft", "settings": method.recorded()},
        "max_length": method.settings.max_length,
        "base": base.digests(),
    }
    artifact.write(folder, lambda draft: method.save(model, base, draft), card, "# A model\n")
    artifact.verify(folder)
    loaded: Any = loading.load(folder, base=str(base.folder)).predictor
    bare = getattr(transformers, task.auto_class(base.kind)).from_pretrained(
        base.folder, **({"num_labels": len(task.labels)} if task.has_head else {})
    )
    stock = peft.PeftModel.from_pretrained(bare, folder)
    some, trained = train[:6], method.predictor(model, base, task)
    answers = [[p.value for p in predictor.predict(some)] for predictor in (trained, loaded)]
    assert answers[0] == answers[1], f"trained {answers[0]}, loaded {answers[1]}"
    budget = method.budget(base, method.settings.max_length)
    rows = [row.input_ids for row in task.encode(some, base.word_tokenizer, budget)]
    ours = logits(loaded.model, rows)
    return max(apart(ours, logits(stock, rows)), apart(ours, logits(model, rows)))


def outcome(kind: str, name: str, base: Any, task: Any, train: Any) -> str:
    """`equal`, PEFT's or our reason, or what went wrong."""
    from adapters.core.errors import UserError

    with tempfile.TemporaryDirectory() as place:
        try:
            found = run(kind, name, base, task, train, Path(place) / "artifact")
        except UserError as error:
            said = " ".join(str(error).split()).partition(" Choose from ")[0]
            for own, general in ((base.name, "the base"), (task.name, "the task"), (kind, "TYPE")):
                said = re.sub(rf"\b{own}(?=\b|C)", general, said)
            return NO_CONV1D if "Conv1D" in said else said.removeprefix(REFUSED)
        except Exception as error:
            return f"FAILS: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return "equal" if found < CLOSE else f"DIFFERS by {found:.1e}"


def cell(found: Mapping[str, str], notes: list[str]) -> str:
    """What the table shows of a type on a base: each outcome once, with its tasks where there are several."""
    by_outcome: dict[str, list[str]] = {}
    for task, said in found.items():
        if said != "equal" and said not in notes:
            notes.append(said)
        by_outcome.setdefault("equal" if said == "equal" else f"no ({notes.index(said) + 1})", []).append(task)
    if len(by_outcome) == 1:
        return next(iter(by_outcome))
    return "; ".join(f"{', '.join(tasks)}: {said}" for said, tasks in by_outcome.items())


def table(rows: Sequence[Mapping[str, Any]], bases: Sequence[str]) -> str:
    """A Markdown table with one row for all types of the same outcomes, and the reasons below it."""
    notes: list[str] = []
    alike: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        alike.setdefault(tuple(cell(row[base], notes) for base in bases), []).append(f"`{row['type']}`")
    lines = [f"| {' | '.join(('types', *bases))} |", "|" + "---|" * (len(bases) + 1)]
    lines += [f"| {' | '.join((', '.join(types), *cells))} |" for cells, types in alike.items()]
    return "\n".join([*lines, "", *(f"{number}. {note}" for number, note in enumerate(notes, 1))])


def main() -> None:
    """Run what was asked for."""
    import tiny
    import transformers
    from conftest import build_tiny_bert

    from adapters.methods.peft import UNFIT, peft_types
    from adapters.models.base_model import CAUSAL, open_base, quiet_libraries

    known = sorted({*peft_types(), *UNFIT})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", nargs="*", choices=known, default=known, metavar="TYPE")
    parser.add_argument("--bases", nargs="*", choices=BASES, default=BASES)
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=TASKS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    quiet_libraries()
    transformers.logging.set_verbosity_error()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        builders = {"bert": build_tiny_bert, "gpt2": tiny.gpt2, "llama": tiny.llama}
        bases = {one: open_base(str(builders[one](place / one))) for one in given.bases}
        tasks = data(place)
        for kind in given.types:
            row: dict[str, Any] = {"type": kind}
            for one, base in bases.items():
                shown = [task for task in given.tasks if task != "generating" or base.kind == CAUSAL]
                row[one] = {task: outcome(kind, one, base, *tasks[task]) for task in shown}
            rows.append(row)
    print(table(rows, [*bases]))
    outcomes = [said for row in rows for one in bases for said in row[one].values()]
    wrong = sorted({said for said in outcomes if said.startswith(("FAILS", "DIFFERS"))})
    print(json.dumps({"benchmark": "peft_methods", "tried": len(outcomes), "equal": outcomes.count("equal"),
                      "wrong": wrong, "rows": rows}))  # fmt: skip


if __name__ == "__main__":
    main()
