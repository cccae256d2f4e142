"""What a finished run is: complete, read from its folder, and shown as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.core.errors import ComparisonError, cause
from adapters.evaluation.report.run_report import on_base


@dataclass(frozen=True, kw_only=True, repr=False)
class RunResult:
    """A finished run. Everything in it is on disk: `RunResult.read(folder)` gives the same again.

    Attributes:
        folder: of the run.
        record: contents of scores.json.
        report: the report as it was printed.
    """

    folder: Path
    record: Mapping[str, Any]
    report: str

    @classmethod
    def read(cls, folder: str | Path) -> RunResult:
        """The result in a run's folder. Raises ComparisonError where no run ended there."""
        folder = Path(folder)
        try:
            record = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
            report = (folder / "report.txt").read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ComparisonError(
                f"{folder}: no finished run ({cause(error)}). Give the folder of a run that ended."
            ) from error
        return cls(folder=folder, record=record, report=report)

    @property
    def artifact(self) -> Path:
        """The artifact's folder, for `adapters.load`, a bank, `taskswap predict` or PEFT."""
        scored = self.record.get("evaluated", {}).get("artifact")  # by `evaluate`, which writes none
        return self.folder / "artifact" if scored is None else Path(scored)

    @property
    def score(self) -> float:
        """The main score, between 0 and 1."""
        return float(self.record["main"]["value"])

    @property
    def scores(self) -> dict[str, dict[str, dict[str, float]]]:
        """By metric and score: `{value, low, high}`, the ends of a 95 % interval; shares between 0 and 1."""
        found: dict[str, dict[str, dict[str, float]]] = self.record["quality"]
        return found

    @property
    def curve(self) -> str | None:
        """SVG of training loss and dev scores; None where nothing was trained."""
        path = self.folder / "curve.svg"
        return path.read_text(encoding="utf-8") if path.is_file() else None

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """One object an example, in order: id, inputs, gold, prediction, counts."""
        lines = (self.folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def __repr__(self) -> str:
        main, data = self.record["main"], self.record["dataset"]
        what = f"{self.record['method']} for {self.record['task']}{on_base(self.record['base'])}"
        return (
            f"RunResult({what}: {data['name']} {data['split']} {main['title']} {100 * main['value']:.2f} "
            f"({100 * main['low']:.2f} to {100 * main['high']:.2f}), {str(self.folder)!r})"
        )

    def _repr_html_(self) -> str:
        """The report's tables, for notebooks."""
        from adapters.experiments.notebook import run_table

        return run_table(self.record, self.curve)
