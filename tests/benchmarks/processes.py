"""Two processes beside one on the same cores: pieces a second, and the answers to CoNLL-2003's test sentences.

    python tests/benchmarks/processes.py                     # some eight minutes on two cores
    python tests/benchmarks/processes.py --only answers
    python tests/benchmarks/processes.py --only speed --more --train_batch_pieces 4096

speed: full_ner and lora_ner on CoNLL-2003, 60 steps at their defaults, by one process on all cores and by two that
share them, in turns. answers: an adapter is trained for 100 steps, then asked in fp32 about all 3,453 test sentences by
one process and by two; sentences whose entities differ are counted: 0 is asked. Prints a line as it goes and one JSON
line last. Run it with nothing else on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
FEW = ["--max_eval_samples", "40", "--max_predict_samples", "40", "--overwrite_output_dir"]


def command(processes: int, *words: str) -> None:
    """A script in so many processes."""
    launch = ["-m", "adapters", "launch", "--num_processes", str(processes)] if processes > 1 else []
    done = subprocess.run(
        [sys.executable, *launch, *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed with {done.returncode}:\n{done.stderr[-3000:]}")


def speed(place: Path, rounds: int, steps: int, more: list[str]) -> list[dict[str, Any]]:
    """Pieces a second of training, the median over rounds."""
    out = []
    for recipe in ("lora_ner", "full_ner"):
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(rounds):
            for number, found in rates.items():
                flags = ["--max_train_steps", str(steps), "--output_dir", str(place / "speed"), *FEW, *more]
                command(number, f"recipes/{recipe}.py", *flags)
                record = json.loads((place / "speed" / "scores.json").read_text())
                assert record["processes"] == number
                found.append(record["cost"]["train_pieces_per_second"])
        one, two = (round(statistics.median(rates[number])) for number in (1, 2))
        print(f"{recipe}: one process {one:,} pieces/s, two {two:,}: {two / one:.3f}", flush=True)
        out.append({"recipe": recipe, "one": one, "two": two, "share": round(two / one, 3)})
    return out


def answers(place: Path) -> dict[str, int]:
    """Sentences that two processes answer otherwise than one."""
    command(1, "recipes/lora_ner.py", "--max_train_steps", "100", "--output_dir", str(place / "run"), *FEW)
    for number in (1, 2):
        command(
            number, str(Path(__file__).resolve()), "--answer", str(place / "run/artifact"), str(place / f"{number}")
        )
    one, two = (json.loads((place / str(number)).read_text()) for number in (1, 2))
    apart = sum(a != b for a, b in zip(one["answers"], two["answers"], strict=True))
    assert (one["processes"], two["processes"]) == (1, 2)
    print(f"{len(one['answers']):,} sentences by one process and by two: {apart} differ", flush=True)
    return {"sentences": len(one["answers"]), "apart": apart}


def answer(artifact: str, out: str) -> None:
    """What this process and the others say of the test sentences; the first one writes it."""
    import accelerate

    from adapters import predictor, splits
    from adapters.processes import is_first, use_all_cores, world

    accelerate.PartialState(cpu=True)
    use_all_cores()
    _, found = splits.read_named("ner", (), dataset_name="conll2003")
    loaded = predictor.load(artifact).predictor
    said = [prediction.value for prediction in loaded.predict(found["test"][:])]
    if is_first():
        Path(out).write_text(json.dumps({"processes": world()[1], "answers": [str(value) for value in said]}))


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=("speed", "answers"), default=("speed", "answers"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="last: further flags of the runs of speed")
    parser.add_argument("--answer", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answer:
        answer(*given.answer)
        return
    found: dict[str, Any] = {"benchmark": "processes"}
    with tempfile.TemporaryDirectory() as folder:
        if "speed" in given.only:
            found["speed"] = speed(Path(folder), given.rounds, given.steps, given.more)
        if "answers" in given.only:
            found["answers"] = answers(Path(folder))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
