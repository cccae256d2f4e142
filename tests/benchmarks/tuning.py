"""What a search by successive halving costs, and what it misses: searches resampled from one recorded grid.

    python tests/benchmarks/tuning.py                                 # conll2003 (3,000) and trec, about 4 hours
    python tests/benchmarks/tuning.py --data conll2003 --methods lora
    python tests/benchmarks/tuning.py --grid 24 --trials 16 --repeats 20 --folder runs/grid      # taken up again

The grid: settings drawn from a method's search space, its own settings among them, each trained for every length of the
rungs and in full. A repeat draws settings from the grid, searches among them as a comparison does, from the recorded
scores, and regrets what the best of them has on dev after the full training over the one that was chosen. The interval
of the mean regret is by a jackknife over the grid's settings, as repeats share them. Prints a Markdown table, and one
JSON line last.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from bench import DATA, dataset

from adapters.experiments.comparison.comparison import Comparison
from adapters.experiments.many_runs import tuning
from adapters.experiments.many_runs.planned_run import PlannedRun, RunOutcome
from adapters.experiments.many_runs.tuners import RandomDraws

FLAGS = {
    "conll2003": ["--max_train_samples", "3000"],
    "trec": ["--encoding", "latin-1", "--label_column_name", "coarse"],
}
"""What a dataset needs besides its name."""
TASKS = {"conll2003": "ner", "trec": "classification"}
Scores = dict[float, float]


def recorded(comparison: Comparison, size: int, lengths: Sequence[float]) -> list[tuple[dict[str, Any], Scores, bool]]:
    """Settings of the grid, with the dev score of each length; and whether a training failed."""
    (search,) = comparison.searches
    grid = [search.trials[0], *search.propose(size)]
    runs = [
        (number, length, comparison.trial(search.method, search.base, trial.settings, length))
        for number, trial in enumerate(grid)
        for length in lengths
    ]
    outcomes = comparison.launch([run for _, _, run in runs])
    for (number, length, _), outcome in zip(runs, outcomes, strict=True):
        search.note(grid[number], length, outcome)
    return [(trial.settings, trial.scores, bool(trial.error)) for trial in grid]


class Replay:
    """A launcher that looks a trial's score up in the grid."""

    def __init__(self, grid: Sequence[tuple[dict[str, Any], Scores, bool]], folder: Path) -> None:
        self.grid, self.folder = grid, folder

    def plan(self, method: str, base: str, changes: Mapping[str, Any], fraction: float) -> PlannedRun:
        """The trial, with its number in the grid."""
        number = next(i for i, (settings, _, _) in enumerate(self.grid) if settings == dict(changes))
        return PlannedRun(method=method, base=base, seed=number, size=repr(fraction))

    def __call__(self, runs: Sequence[PlannedRun]) -> list[RunOutcome]:
        """The recorded scores."""
        out = []
        for run in runs:
            folder, fraction = self.folder / f"{run.seed}-{run.size}", float(run.size)
            score = self.grid[run.seed][1].get(fraction)
            folder.mkdir(exist_ok=True)
            record = {"main": {"value": score}, "seconds": fraction, "training": {}}
            (folder / "scores.json").write_text(json.dumps(record))
            out.append(RunOutcome(run=run, folder=folder, error="" if score is not None else "failed"))
        return out


def regret(
    grid: Sequence[tuple[dict[str, Any], Scores, bool]], trials: int, generator: random.Random, folder: Path
) -> float:
    """By how much the best of some settings drawn from the grid is better on dev than the one that halving chooses."""
    drawn = generator.sample(range(1, len(grid)), trials - 1)
    settings = [grid[number][0] for number in drawn]
    tuner = RandomDraws({}, 0, 0, lambda _: True)
    tuner.waiting, tuner.count = list(settings), len(settings)
    search = tuning.Search("", "", {"drawn": tuning.search_space.Choice(0)}, tuner)
    replay = Replay(grid, folder)
    tuning.run([search], replay.plan, replay, trials=trials)
    tried = [grid[number] for number in (0, *drawn)]
    full = [scores[1.0] for _, scores, _ in tried if 1.0 in scores]
    chosen = next(scores for settings, scores, _ in tried if settings == search.chosen().settings)
    return max(full) - chosen.get(1.0, min(full))


def mean_regret(
    grid: Sequence[tuple[dict[str, Any], Scores, bool]], trials: int, repeats: int, folder: Path
) -> tuple[float, float, float]:
    """The mean over repeats, and its 95 % interval by a jackknife over the grid's settings."""

    def mean(own: Sequence[tuple[dict[str, Any], Scores, bool]]) -> float:
        generator = random.Random(0)
        return float(np.mean([regret(own, min(trials, len(own)), generator, folder) for _ in range(repeats)]))

    found, n = mean(grid), len(grid) - 1
    shutil.rmtree(folder)
    without = []
    for number in range(1, len(grid)):
        folder.mkdir()
        without.append(mean([one for i, one in enumerate(grid) if i != number]))
        shutil.rmtree(folder)
    folder.mkdir()
    spread = float(np.sqrt((n - 1) / n * np.sum((np.array(without) - np.mean(without)) ** 2)))
    far = float(scipy.stats.t.ppf(0.975, n - 1)) * spread
    return found, max(found - far, 0.0), found + far


def measure(data: str, method: str, given: argparse.Namespace) -> dict[str, Any]:
    """One method on one dataset."""
    name = Path(data).name
    words = [
        "--dataset_name",
        dataset(data if Path(data).exists() or data == "conll2003" else DATA / data),
        "--methods",
        method,
        "--sample_selection",
        "random",
        "--max_eval_samples",
        "1000",
        *FLAGS.get(name, []),
        "--tuning_trials",
        str(given.grid),
        "--output_dir",
        str(Path(given.folder) / f"{name}-{method}"),
        *given.more,
    ]
    comparison = Comparison(None, task=TASKS[name], defaults={}, argv=words)
    comparison.check()
    lengths = sorted({1.0, *(rung.fraction for rung in tuning.rungs(given.trials))})
    grid = recorded(comparison, given.grid, lengths)
    with tempfile.TemporaryDirectory() as place:
        found, low, high = mean_regret(grid, given.trials, given.repeats, Path(place))
    full = [scores[1.0] for _, scores, _ in grid if 1.0 in scores]
    return {
        "data": name,
        "method": method,
        "settings": len(grid),
        "failed": sum(failed for _, _, failed in grid),
        "default": grid[0][1].get(1.0),
        "median": float(np.median(full)),
        "best": max(full),
        "regret": found,
        "low": low,
        "high": high,
        "grid": [{"settings": settings, "scores": {str(k): v for k, v in s.items()}} for settings, s, _ in grid],
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The results, in points."""

    def shown(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.2f}"

    lines = [
        "| data | method | settings | default, dev | median | best | mean regret | 95 % interval |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for one in results:
        cells = [one["data"], one["method"], str(one["settings"])]
        cells += [shown(one[name]) for name in ("default", "median", "best", "regret")]
        lines.append(f"| {' | '.join(cells)} | {shown(one['low'])} to {shown(one['high'])} |")
    return "\n".join(lines)


def main() -> None:
    """Record the grids, resample searches from them, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["conll2003", "trec"], help="names below shared/data, or folders")
    parser.add_argument("--methods", nargs="+", default=["full", "lora"])
    parser.add_argument("--grid", type=int, default=24, help="settings of a grid")
    parser.add_argument("--trials", type=int, default=16, help="of a search")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--folder", default="runs/tuning")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="flags for every training")
    given = parser.parse_args()
    results = [measure(data, method, given) for data in given.data for method in given.methods]
    trials = given.trials
    print(table(results))
    print(f"\nA search of {trials} trials costs {tuning.cost(trials) / trials:.1%} of {trials} full trainings.")
    print(json.dumps({"benchmark": "tuning", "cost": tuning.cost(trials) / trials, "results": results}))


if __name__ == "__main__":
    main()
