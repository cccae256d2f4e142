"""What the tests of the prompt lab share: small data and prompts, a lab on them, and a condition run by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.experiments.prompt_lab.lab import Lab
from adapters.prompting import likelihood, template
from adapters.prompting.calibration import parse
from adapters.prompting.demonstrations import draw
from adapters.prompting.prompt_predictor import PromptPredictor

QUERY = 'query = "Text : {{text}}\\nin "\n'
CHANNEL = 'channel = "in {{answer}}\\nText : {{text}}"\n'
HEAD = 'task = "classification"\nanswer = "label"\nseparator = "\\n"\n'
NAMES = '[verbalizer]\nbad = ["London", "Oslo"]\ngood = "New York"\n'
GRID = ("--shots", "0,1,3", "--seeds", "3", "--calibration", "none,contextual,channel,pmi+mean")


def furnished(folder: Path) -> Path:
    (folder / "data").mkdir()
    words = ["Ada", "Alan", "Grace", "lived", "worked", "in", "near", "London", "Paris", "with", "a", "friend"]
    for split, size in (("train", 20), ("dev", 24), ("test", 12)):
        made = np.random.default_rng(size)
        lines = [f"{' '.join(made.choice(words, 4))} {n},{made.choice(['bad', 'good'])}" for n in range(size)]
        (folder / "data" / f"{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    (folder / "one.toml").write_text(HEAD + QUERY + CHANNEL + NAMES)
    (folder / "two.toml").write_text(HEAD + 'instruction = "Text : Entities :"\n' + QUERY + CHANNEL + NAMES)
    (folder / "plain.toml").write_text(HEAD + QUERY)
    return folder


def lab(place: Path, out: Path, *flags: str, prompts: Sequence[str] = ("one", "two")) -> Lab:
    files = [str(place / f"{name}.toml") for name in prompts]
    own = [
        "--model_name_or_path",
        str(place / "model"),
        "--dataset_name",
        str(place / "data"),
        "--output_dir",
        str(out),
        "--mixed_precision",
        "no",
        "--prompts",
        *files,
    ]
    return Lab("A lab.", defaults={}, argv=[*own, *flags])


def ran(place: Path, out: Path, *flags: str, prompts: Sequence[str] = ("one", "two")) -> dict[str, Any]:
    experiment = lab(place, out, *flags, prompts=prompts)
    experiment.check()
    experiment.run_conditions()
    experiment.save_and_print()
    found: dict[str, Any] = json.loads((out / "lab.json").read_text())
    return found


class Alone:
    """The accuracy of a condition that is run by itself."""

    def __init__(self, place: Path) -> None:
        from adapters.models.base_model import open_base
        from adapters.tasks.base import examples

        settings = lab(place, place / "unused", "--shots", "0").settings
        self.task, self.data, _ = examples.read_splits("classification", settings)
        self.base = open_base(str(place / "model"))
        self.model = self.base.load_generator().eval()

    def __call__(self, row: dict[str, Any], seed: int) -> float:
        return share(self.predictions(row, seed), self.data["test"][:])

    def shares(self, row: dict[str, Any], seed: int) -> np.ndarray:
        """Class probabilities `[examples, classes]`."""
        return np.array([prediction.detail for prediction in self.predictions(row, seed)])

    def share_right(self, shares: np.ndarray) -> float:
        """Accuracy of the likeliest classes."""
        names = [self.task.labels.names[i] for i in shares.argmax(1)]
        return float(np.mean([n == e.gold for n, e in zip(names, self.data["test"][:], strict=True)]))

    def predictions(self, row: dict[str, Any], seed: int) -> Any:
        (wanted,) = parse([row["calibration"]])
        shown = draw(self.data["train"], row["shots"], seed)
        asked = PromptPredictor(
            self.model,
            self.base,
            self.task,
            template.load(row["prompt"], self.task),
            shown,
            max_new_tokens=8,
            calibration=wanted,
        )
        return asked.predict(self.data["test"][:])


def share(predictions: Sequence[Any], examples: Sequence[Any]) -> float:
    return float(np.mean([p.value == e.gold for p, e in zip(predictions, examples, strict=True)]))


class Rows:
    """Counts the rows that `CachedScorer` is given."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.rows, self.calls = 0, 0
        true = likelihood.CachedScorer.log_probs_after

        def counted(reader: Any, rows: Any, choices: Any, **named: Any) -> Any:
            self.rows, self.calls = self.rows + len(rows), self.calls + 1
            return true(reader, rows, choices, **named)

        patch.setattr(likelihood.CachedScorer, "log_probs_after", counted)
