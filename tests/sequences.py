"""Small sequences of tasks for tests: made-up texts whose words give their class away."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from adapters.experiments.continual.sequence_run import SequenceRun
from adapters.experiments.continual.settings import run_settings

WORDS = {"fruit": ["apple", "pear"], "animal": ["cat", "dog"], "colour": ["red", "blue"], "tool": ["saw", "axe"]}


def write_texts(folder: Path, name: str, labels: list[str], *, size: int = 24, seed: int = 0, **more: Any) -> Path:
    """A classification task: train, dev and test, and its .toml."""
    generator = random.Random(f"{seed}/{name}")
    for split, count in (("train", size), ("dev", 12), ("test", 12)):
        rows = []
        for number in range(count):
            label = labels[number % len(labels)]
            words = [generator.choice(WORDS[label]), *generator.sample(["a", "the", "big", "old", "is", "here"], 3)]
            generator.shuffle(words)
            rows.append({"text": f"{' '.join(words)} {split} {number}", "label": label})
        (folder / f"{name}.{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = {
        "task": "classification",
        "train_file": f"{name}.train.jsonl",
        "validation_file": f"{name}.dev.jsonl",
        "test_file": f"{name}.test.jsonl",
        **more,
    }
    path = folder / f"{name}.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items()))
    return path


def things_and_looks(folder: Path, **more: Any) -> list[Path]:
    """Two tasks with two labels each."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_texts(folder, "things", ["fruit", "animal"], **more),
        write_texts(folder, "looks", ["colour", "tool"], **more),
    ]


def sequence_run(
    output: Path, tasks: list[Path], base: Path, *, strategy: str, method: str = "lora", **more: Any
) -> SequenceRun:
    """A run of one strategy, short and on a tiny base, whose data were read."""
    kind = run_settings("classification" if "task" not in more else more.pop("task"), method, strategy, ())
    task = "ner" if "spans" in kind.__dataclass_fields__ else "classification"
    values: dict[str, Any] = {
        "tasks": [str(path) for path in tasks],
        "model_name_or_path": str(base),
        "output_dir": str(output),
        "max_train_steps": 3,
        "max_length": 32,
        "mixed_precision": "no",
        "routing": "none",
        "publish": False,
        "allow_unknown_tokens": True,
        **more,
    }
    run = SequenceRun(task, method, strategy, kind(**values))
    run.read()
    return run
