"""The record of a finished run, read from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapters.core.errors import ComparisonError, cause
from adapters.evaluation.metrics.base.metric import Metric


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run's scores.json and predictions.jsonl."""

    folder: Path
    scores: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]

    @classmethod
    def load(cls, folder: Path) -> Record:
        """The record of a run's folder. Raises ComparisonError where no run has finished."""
        if not (folder / "scores.json").is_file():
            raise ComparisonError(
                f"{folder}: has no scores.json: no run has finished there. Give folders of finished runs."
            )
        try:
            scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
            lines = [
                json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
            ]
            found = [scores[name] for name in ("task", "method", "base", "dataset", "main", "cost", "seed")]
            assert found and all("counts" in line and "input" in line for line in lines)
        except (OSError, ValueError, KeyError, AssertionError) as error:
            raise ComparisonError(
                f"{folder}: scores.json or predictions.jsonl is damaged ({cause(error)}). Run it again."
            ) from error
        if "evaluated" in scores and "trainable_params" not in scores["cost"]:
            raise ComparisonError(
                f"{folder}: scores of an artifact whose run is not known, so that neither is what it has learned from. "
                "Evaluate it in the folder of its run."
            )
        return cls(folder=folder, scores=scores, lines=lines)

    @property
    def run(self) -> Path:
        """The folder of the run: of an export's record, that of the run that was exported."""
        return self.folder.parents[1] if self.scores.get("exported") else self.folder

    @property
    def draw(self) -> int | None:
        """The draw of training examples that it learned from; None where all runs of its settings have the same."""
        found: int | None = self.scores["dataset"].get("notes", {}).get("train", {}).get("draw")
        return found

    def counts(self, metric: Metric) -> np.ndarray:
        """`[examples, width]` of a metric, of its `count_type`."""
        return np.array([line["counts"][metric.name] for line in self.lines], dtype=metric.count_type)
