"""Strategies against forgetting on real sequences: average, forgetting, routing and storage of each.

    python tests/benchmarks/continual.py                          # all of these, most of a day
    python tests/benchmarks/continual.py --only topics            # agnews, amazon, dbpedia, trec: task-incremental
    python tests/benchmarks/continual.py --only domains           # clinc150's ten domains: class-incremental
    python tests/benchmarks/continual.py --only crossner          # five domains: entities, task-incremental
    python tests/benchmarks/continual.py --only replay_5 replay_20 replay_all usual_rate smollm2
    python tests/benchmarks/continual.py --folder runs/continual  # taken up again
    python tests/benchmarks/continual.py --more --runs_at_once 2  # two runs at a time, a core each

Each strategy's rate is tuned on dev of the first two tasks (--tuning_trials); topics has three orders of one seed, the
others one order of three seeds. Prints the tables, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from bench import DATA

from adapters.experiments.continual.continual import Continual

LORA = ["sequential", "joint", "adapter_per_task", "replay", "ewc", "lwf", "olora", "merge"]
FULL = [f"full/{name}" for name in ("sequential", "joint", "separate", "replay", "ewc", "lwf")]
STRATEGIES = [*LORA, *FULL, "prefix/adapter_per_task"]
SEQUENCES: dict[str, dict[str, Any]] = {
    "topics": {
        "scenario": "task-incremental",
        "orders": ["trec/agnews/amazon/dbpedia", "amazon/dbpedia/trec/agnews", "dbpedia/trec/agnews/amazon"],
        "seeds": "1",
    },
    "domains": {"scenario": "class-incremental", "orders": [], "seeds": "3"},
    "crossner": {"scenario": "task-incremental", "orders": [], "seeds": "3"},
}
"""What of each is compared."""
FURTHER: dict[str, tuple[str, list[str], list[str]]] = {
    "replay_5": ("domains", ["replay"], ["--replay_per_class", "5"]),
    "replay_20": ("domains", ["replay"], ["--replay_per_class", "20"]),
    "replay_all": ("domains", ["replay"], ["--replay_examples", "500"]),
    "usual_rate": ("topics", ["sequential", "full/sequential"], ["--tuning_trials", "0"]),
    "smollm2": (
        "topics",
        ["sequential", "adapter_per_task"],
        ["--model_name_or_path", "smollm2", "--orders", SEQUENCES["topics"]["orders"][0], "--tuning_trials", "0"],
    ),
}
"""Runs with other settings: the sequence, the strategies, and the flags. Ten adapters are more bytes than all 5,000
training texts of domains, so that a memory of as many bytes holds them all (`replay_all`)."""


def toml(folder: Path, name: str, **settings: str) -> Path:
    """The file of one task."""
    path = folder / f"{name}.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    return path


def tasks_of(sequence: str, data: Path, folder: Path) -> list[Path]:
    """The files of a sequence's tasks; data are written where they must be cut out of a larger file."""
    folder.mkdir(parents=True, exist_ok=True)
    if sequence == "crossner":
        names = ("politics", "science", "music", "literature", "ai")
        splits = {"train_file": "train", "validation_file": "dev", "test_file": "test"}
        return [
            toml(
                folder, name, task="ner", **{k: str(data / "crossner" / name / f"{v}.conll") for k, v in splits.items()}
            )
            for name in names
        ]
    if sequence == "topics":
        standard = data / "continual_standard"
        found = {
            name: {
                "train_file": str(standard / f"{name}.train.jsonl"),
                "test_file": str(standard / f"{name}.test.jsonl"),
            }
            for name in ("agnews", "amazon", "dbpedia")
        }
        trec = {f"{split}_file": str(data / "trec" / f"raw.TREC.{split}") for split in ("train", "test")}
        found = {"trec": {**trec, "encoding": "latin-1", "label_column_name": "coarse"}, **found}
        return [toml(folder, name, task="classification", **own) for name, own in found.items()]
    return domains(data / "clinc150", folder)


def domains(source: Path, folder: Path) -> list[Path]:
    """A task of each of CLINC150's domains."""
    rows = json.loads((source / "data_full.json").read_text())
    out = []
    for name, intents in json.loads((source / "domains.json").read_text()).items():
        files = {}
        for split, setting in (("train", "train_file"), ("val", "validation_file"), ("test", "test_file")):
            own = [{"text": text, "label": intent} for text, intent in rows[split] if intent in intents]
            path = folder / f"{name}.{split}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in own))
            files[setting] = str(path)
        out.append(toml(folder, name, task="classification", **files))
    return out


def measure(name: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One sequence, or one with other settings."""
    sequence, strategies, more = FURTHER.get(name, (name, given.strategies, []))
    chosen = SEQUENCES[sequence]
    tasks = tasks_of(sequence, given.data, folder / sequence / "data")
    orders = ["--orders", *chosen["orders"]] if chosen["orders"] else []
    words = [
        *("--tasks", *map(str, tasks), "--scenario", chosen["scenario"], *orders),
        *("--strategies", *strategies, "--seeds", given.seeds or chosen["seeds"]),
        *("--tuning_trials", str(given.trials), "--max_train_samples", "500", "--max_predict_samples", "500"),
        *("--max_eval_samples", "100", "--max_length", "128", "--no_publish"),
        *("--output_dir", str(folder / name / "compared"), *more, *given.more),
    ]
    comparison = Continual(None, task="", defaults={"sample_selection": "random"}, argv=words)
    comparison.check()
    comparison.run_all()
    summary = comparison.save_and_print()
    assert summary is not None
    failed = [outcome.error for outcome in comparison.outcomes if outcome.error]
    return {"rows": summary["rows"], "failed": failed}


def main() -> None:
    """Run the sequences that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*SEQUENCES, *FURTHER], default=[*SEQUENCES, *FURTHER])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--folder", type=Path, help="kept, and taken up again (default: a temporary one)")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--trials", type=int, default=4, help="tuning trials of each strategy")
    parser.add_argument("--seeds", help="instead of each sequence's own number")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="further flags of taskswap continual")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).absolute()
        found = {name: measure(name, given, folder) for name in given.only}
    print(json.dumps({"benchmark": "continual", **found}))


if __name__ == "__main__":
    main()
