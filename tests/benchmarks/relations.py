"""From text to relations on CoNLL04: one adapter finds the entities, another the relations, scored end to end.

    python tests/benchmarks/relations.py                                  # minilm, three seeds, about an hour
    python tests/benchmarks/relations.py --base e5 --folder runs/conll04  # kept, and taken up again

Both adapters are LoRA, trained for 15 epochs, and share a bank. Prints a Markdown table, and one JSON line last:
relations with gold entities; entities and relations of the pipeline, by the strict rule.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import bench
import numpy as np

from adapters.data.word_splitter import joined
from adapters.evaluation.metrics.triple_f1 import Metric


def gold(row: dict[str, Any]) -> tuple[set[Any], set[Any]]:
    """The entities and the relations of a sentence, in characters of its words joined by spaces."""
    offsets = joined(row["tokens"])[1]
    entities = [(offsets[start][0], offsets[end - 1][1], kind) for start, end, kind in row["entities"]]
    return set(entities), {(entities[head], entities[tail], kind) for head, tail, kind in row["relations"]}


def found(output: dict[str, Any]) -> tuple[set[Any], set[Any]]:
    """The same of an answer."""
    entities = [(one["start"], one["end"], one["label"]) for one in output["entities"]]
    relations = {(entities[one["head"]], entities[one["tail"]], one["label"]) for one in output["relations"]}
    return set(entities), relations


def train(task: str, data: Path, folder: Path, base: str, seed: int, more: list[str]) -> dict[str, Any]:
    """scores.json of a LoRA run on CoNLL04, which is run unless it has been."""
    splits = (("train", "train"), ("validation", "dev"), ("test", "test"))
    files = [word for flag, name in splits for word in (f"--{flag}_file", str(data / f"{name}.jsonl"))]
    words = ["--task", task, "--method", "lora", *files, "--model_name_or_path", base, "--seed", str(seed)]
    return bench.kept(folder, "-m", "adapters", "train", *words, *more)


def measure(seed: int, given: argparse.Namespace, folder: Path) -> dict[str, float]:
    """The scores of one seed, in percent."""
    from adapters import AdapterBank

    runs = {name: folder / f"{name}-{given.base.rpartition('/')[2]}-{seed}" for name in ("ner", "relation")}
    train("ner", given.data, runs["ner"], given.base, seed, given.more)
    record = train("relation_extraction", given.data, runs["relation"], given.base, seed, given.more)
    bank = AdapterBank(given.base)
    for name, run in runs.items():
        bank.load(name, run / "artifact")
    rows = [json.loads(line) for line in (given.data / "test.jsonl").read_text().splitlines()]
    pipeline = bank.pipeline("ner", "relation", max_distance=given.max_distance)
    answers = pipeline.answer([joined(row["tokens"])[0] for row in rows])
    metric = Metric(())
    counts = np.array(
        [metric.counts(gold(row), found(answer["output"])) for row, answer in zip(rows, answers, strict=True)]
    )
    scores = {name: 100 * float(value) for name, value in metric.scores(counts.sum(0)).items()}
    asked = sum(answer["output"]["pairs"] for answer in answers)
    return {"relation_gold": 100 * record["quality"]["relation_f1"]["micro_f1"]["value"], "pairs": asked, **scores}


def main() -> None:
    """Train what is missing, answer, score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=bench.DATA / "re_conll04")
    parser.add_argument(
        "--max_distance", type=int, default=60, help="a sentence of CoNLL04 may hold several full stops"
    )
    parser.add_argument("--folder", type=Path, help="kept, and taken up again (default: a temporary one)")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=["--num_train_epochs", "15"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).absolute()
        results = [measure(seed, given, folder) for seed in range(given.seeds)]
    print("| score | mean | by seed |\n|---|---:|---|")
    for name in results[0]:
        values = [one[name] for one in results]
        print(f"| {name} | {statistics.mean(values):.2f} | {', '.join(f'{value:.2f}' for value in values)} |")
    print(json.dumps({"benchmark": "relations", "base": given.base, "results": results}))


if __name__ == "__main__":
    main()
