"""Two processes beside one on the same cores: tokens a second, and the answers to CoNLL-2003's test sentences.

    python tests/benchmarks/processes.py                     # some eight minutes on two cores
    python tests/benchmarks/processes.py --only answers
    python tests/benchmarks/processes.py --only speed --more --max_tokens_per_batch 4096

speed: full_ner and lora_ner on CoNLL-2003, 60 steps at their defaults, by one process on all cores and by two that
share them, in turns. answers: an adapter is trained for 100 steps, then asked in fp32 about all 3,453 test sentences by
one process and by two; sentences whose entities differ are counted: 0 is asked. Prints a line as it goes and one JSON
line last. Run it with nothing else on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import bench

FEW = ["--max_eval_samples", "40", "--max_predict_samples", "40", "--overwrite_output_dir"]


def speed(place: Path, recipes: list[str], rounds: int, steps: int, more: list[str]) -> list[dict[str, Any]]:
    """Tokens a second of training, the median over rounds."""
    out = []
    for recipe in recipes:
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(rounds):
            for number, found in rates.items():
                flags = ["--max_train_steps", str(steps), "--output_dir", str(place / "speed"), *FEW, *more]
                bench.command(*bench.launched(number), f"recipes/{recipe}.py", *flags)
                record = json.loads((place / "speed" / "scores.json").read_text())
                assert record["processes"] == number
                found.append(record["cost"]["train_tokens_per_second"])
        one, two = (round(statistics.median(rates[number])) for number in (1, 2))
        print(f"{recipe}: one process {one:,} tokens/s, two {two:,}: {two / one:.3f}", flush=True)
        out.append({"recipe": recipe, "one": one, "two": two, "share": round(two / one, 3)})
    return out


def answers(place: Path, steps: int, data: str, base: str | None, more: list[str]) -> dict[str, int]:
    """Sentences that two processes answer otherwise than one."""
    flags = ["--max_train_steps", str(steps), "--output_dir", str(place / "run"), *FEW, "--dataset_name", data, *more]
    bench.command("recipes/lora_ner.py", *flags)
    for number in (1, 2):
        words = [
            "--data",
            data,
            *(["--base", base] if base else []),
            "--answer",
            str(place / "run/artifact"),
            str(place / f"{number}"),
        ]
        bench.command(*bench.launched(number), str(Path(__file__).resolve()), *words)
    one, two = (json.loads((place / str(number)).read_text()) for number in (1, 2))
    apart = sum(a != b for a, b in zip(one["answers"], two["answers"], strict=True))
    assert (one["processes"], two["processes"]) == (1, 2)
    print(f"{len(one['answers']):,} sentences by one process and by two: {apart} differ", flush=True)
    return {"sentences": len(one["answers"]), "apart": apart}


def answer(artifact: str, out: str, data: str, base: str | None) -> None:
    """What this process and the others say of the test sentences; the first one writes it."""
    import accelerate

    from adapters.artifacts import loading
    from adapters.core.processes import is_first, use_all_cores, world
    from adapters.tasks.base import examples

    accelerate.PartialState(cpu=True)
    use_all_cores()
    _, found = examples.read_named("ner", (), dataset_name=data)
    loaded = loading.load(artifact, base=base).predictor
    said = [prediction.value for prediction in loaded.predict(found["test"][:])]
    if is_first():
        Path(out).write_text(json.dumps({"processes": world()[1], "answers": [str(value) for value in said]}))


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=("speed", "answers"), default=("speed", "answers"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="of the runs of speed; those of answers take 100 at most")
    parser.add_argument("--recipes", nargs="*", default=["lora_ner", "full_ner"], help="of speed")
    parser.add_argument("--base", help="alias, or a folder; default: that of the recipes")
    parser.add_argument("--data", default="conll2003", help="alias, or a folder")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="last: further flags of every run")
    parser.add_argument("--answer", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answer:
        answer(*given.answer, given.data, given.base)
        return
    data, more = bench.dataset(given.data), given.more
    if given.base:
        more = ["--model_name_or_path", given.base, *more]
    found: dict[str, Any] = {"benchmark": "processes"}
    with tempfile.TemporaryDirectory() as folder:
        if "speed" in given.only:
            found["speed"] = speed(
                Path(folder), given.recipes, given.rounds, given.steps, ["--dataset_name", data, *more]
            )
        if "answers" in given.only:
            found["answers"] = answers(Path(folder), min(100, 2 * given.steps), data, given.base, more)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
