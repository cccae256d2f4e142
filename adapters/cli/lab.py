"""The prompt lab: prompts, numbers of shots and calibrations compared, with the spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HELP = "compare prompts, numbers of shots and calibrations, and choose among them"
GROUP = "Train and compare"
DESCRIPTION = """Compare prompts, numbers of shots and calibrations, with the spread over seeds.

Another task: taskswap lab --task ner --help"""
DEFAULTS: Mapping[str, Any] = {
    "output_dir": "runs/lab",
    "model_name_or_path": "smollm2",
    "max_eval_samples": 100,
    "max_predict_samples": 100,
    "sample_selection": "random",
    "shots": [0, 1, 4],
    "seeds": 3,
    "classification": {
        "prompts": ["classification_few", "classification_sentiment"],
        "calibration": ["none", "contextual", "channel"],
    },
}
"""Those of recipes/prompt_lab.py, with an output folder of its own."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides which other flags there are."""

    task: str = "classification"
    """Task whose prompts are compared."""


def settings() -> type:
    """The class of all flags, whatever the task."""
    from adapters.core import discovery
    from adapters.core.settings import CommonSettings, join
    from adapters.experiments.prompt_lab.settings import LabSettings

    tasks = [discovery.load("tasks", name).Settings for name in discovery.names("tasks")]
    joined: type = join(CommonSettings, *tasks, LabSettings, Settings)
    return joined


def run(argv: Sequence[str]) -> int:
    """Run `taskswap lab`."""
    from adapters.recipe import lab

    with lab(DESCRIPTION, defaults=DEFAULTS, argv=argv) as experiment:
        experiment.check()
        experiment.run_conditions()
        experiment.save_and_print()
    return 0
