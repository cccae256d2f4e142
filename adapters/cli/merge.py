"""Merge an adapter into its base model, or combine several adapters with given or chosen weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from adapters.cli.base.plain_flags import PlainFlags
from adapters.core import arguments
from adapters.core.arguments import POSITIONAL
from adapters.core.errors import SettingsError
from adapters.models.devices import choose_and_report

if TYPE_CHECKING:
    from adapters.artifacts.combining import Adapters

HELP = "merge an adapter into its base model, or combine LoRA adapters of one task"
GROUP = "Use artifacts"


@dataclass(frozen=True, kw_only=True)
class Settings(PlainFlags):
    """What is merged, and how."""

    artifacts: Annotated[list[Path], POSITIONAL]
    """Folders of runs, or the `artifact` in each: a single one (or a plain PEFT folder) is merged into its base model,
    several are combined into one adapter."""
    output_dir: Path
    """Folder for the new artifact."""
    merge_method: str = "linear"
    """How several adapters are combined: linear, svd, ties, dare_linear or dare_ties."""
    weights: list[float] = field(default_factory=list)
    """One weight for each adapter. Default: equal weights, or those chosen on dev."""
    density: float | None = None
    """Share of each adapter delta that ties and dare keep. Default: 0.5."""
    seed: int = 0
    """Seed of what dare drops."""
    dataset_name: str | None = None
    """Choose the weights on the dev split of this dataset."""
    validation_file: str | None = None
    """Choose the weights on the examples of this file."""
    max_eval_samples: int | None = None
    """Use at most this many dev examples to choose the weights."""


def settings() -> type:
    """The class of all flags."""
    return Settings


def run(argv: Sequence[str]) -> int:
    """Run `taskswap merge`."""
    doc = "Merge an adapter into its base model, or combine LoRA adapters of one task."
    given: Settings = arguments.parse(Settings, {}, doc, argv, program="taskswap merge")
    has_data = given.dataset_name is not None or given.validation_file is not None
    single = len(given.artifacts) == 1
    if single:
        for flag, value in (
            ("weights", given.weights or None),
            ("density", given.density),
            ("dataset_name", has_data or None),
        ):
            if value is not None:
                raise SettingsError(f"--{flag}: only for combining several adapters; one was given.")
    elif has_data and given.weights:
        raise SettingsError("--weights: give either weights or data to choose them on, not both.")
    device, _ = choose_and_report(given.device)
    if single:
        from adapters.artifacts import merging

        merging.merge(
            given.artifacts[0],
            given.output_dir,
            base=given.base,
            device=device,
            reading=given.reading(),
            plugin_dirs=given.plugin_dir,
        )
    else:
        from adapters.artifacts.combining import Adapters

        adapters = Adapters(
            given.artifacts,
            merge_method=given.merge_method,
            density=given.density,
            seed=given.seed,
            base=given.base,
            device=device,
            plugin_dirs=given.plugin_dir,
        )
        weights, notes = _choose_weights(given, adapters) if has_data else (given.weights or None, None)
        adapters.combine(given.output_dir, weights, notes=notes)
    print(f"written to {given.output_dir}. Try:\n  taskswap inspect {given.output_dir}")
    return 0


def _choose_weights(given: Settings, adapters: Adapters) -> tuple[Sequence[float], dict[str, Any]]:
    """The weights that score best on dev, and the record of the choice for the card."""
    from adapters.evaluation.evaluate import split_digest
    from adapters.evaluation.metrics.base.any_metric import score_title
    from adapters.evaluation.metrics.base.metric import main_metric
    from adapters.tasks.base import examples
    from adapters.tasks.base.reading import tell

    task = adapters.task
    # Nothing of the test split is scored.
    _, splits = examples.read_named(
        task.name,
        given.plugin_dir,
        dataset_name=given.dataset_name,
        validation_file=given.validation_file,
        max_eval_samples=given.max_eval_samples,
    )
    dev = splits["validation"]
    tell({dev.name: dev})
    metric = main_metric(task.metrics[0], task.labels.names, given.plugin_dir)
    best, tried = adapters.choose_weights(dev, metric)
    for weights, score in tried:
        mark = "  <- best" if weights == best else ""
        print(f"{' '.join(f'{weight:.2f}' for weight in weights)}  dev {score_title(metric)} {100 * score:.2f}{mark}")
    record = {
        "dataset": dev.notes.get("source"),
        "split": dev.name,
        "n": len(dev),
        "digest": split_digest(dev[:]),
        "metric": metric.name,
        "tried": [[list(weights), None if math.isnan(score) else score] for weights, score in tried],
    }
    return best, {"chosen_on": record}
