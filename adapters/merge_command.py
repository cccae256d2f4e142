"""`python -m adapters merge`: one adapter into its base, or several into one, by given weights or chosen ones."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters import artifact, merging, metrics, predictor, splits
from adapters.errors import SettingsError
from adapters.evaluation import split_digest


def merge_command(given: argparse.Namespace) -> int:
    """Merge or combine, and say what was written."""
    data = given.dataset_name is not None or given.validation_file is not None
    if len(given.artifacts) == 1:
        for flag, value in (("weights", given.weights), ("density", given.density), ("dataset_name", data or None)):
            if value is not None:
                raise SettingsError(f"--{flag}: is for several adapters, which are combined; one was given.")
        merging.merge(given.artifacts[0], given.output_dir, base=given.base, plugin_dirs=given.plugin_dir)
    else:
        how = {"how": given.how, "density": given.density, "seed": given.seed, "base": given.base,
               "plugin_dirs": given.plugin_dir}  # fmt: skip
        if data and given.weights:
            raise SettingsError("--weights: give them, or data of which the dev split chooses them, not both.")
        weights, notes = _chosen(given, how) if data else (given.weights, None)
        merging.combine(given.artifacts, given.output_dir, weights=weights, notes=notes, **how)
    print(f"written to {given.output_dir}. Try:\n  python -m adapters inspect {given.output_dir}")
    return 0


def _chosen(given: argparse.Namespace, how: dict[str, Any]) -> tuple[Sequence[float], dict[str, Any]]:
    """The weights that score best on dev, and what the card says of the choice."""
    first = Path(given.artifacts[0])
    card = artifact.read_card(first)
    task, _ = predictor.parts(card, first, given.plugin_dir)
    # Of the test split nothing is scored.
    _, found = splits.read_named(
        task.name, given.plugin_dir, dataset_name=given.dataset_name, validation_file=given.validation_file,
        max_eval_samples=given.max_eval_samples,
    )  # fmt: skip
    dev = found["validation"]
    metric = metrics.for_task(task, (), given.plugin_dir)[0]
    best, tried = merging.choose_weights(given.artifacts, dev, metric, **how)
    for weights, score in tried:
        mark = "  <- best" if weights == best else ""
        print(f"{' '.join(f'{one:.2f}' for one in weights)}  dev {metric.main} {100 * score:.2f}{mark}")
    record = {"dataset": dev.notes.get("source"), "split": dev.name, "n": len(dev), "digest": split_digest(dev[:]),
              "metric": metric.name, "tried": [[list(weights), None if math.isnan(score) else score]
                                               for weights, score in tried]}  # fmt: skip
    return best, {"chosen_on": record}
