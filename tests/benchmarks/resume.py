"""Runs that go on from a checkpoint, held against the run that was never stopped; kills and full disks while saving.

    python tests/benchmarks/resume.py                       # some 20 minutes on one core
    python tests/benchmarks/resume.py --only tiny
    python tests/benchmarks/resume.py --only kills --rounds 200
    python tests/benchmarks/resume.py --only disk --rounds 200
    python tests/benchmarks/resume.py --only phases

tiny: a BERT of 38,000 parameters, 40 steps, gone on with from behind every step (with two processes from five);
minilm: 12 steps of 512 tokens on WNUT-17, from five. Of each the largest difference of a weight to the uninterrupted
run, and the losses and scores that differ, are counted: 0 is asked. phases: a run that
Ctrl-C, SIGTERM, kill -9 or a full disk ends anywhere between reading and removing its checkpoints, and that the same
command resumes. Prints lines as it goes and one JSON line last.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import bench

for folder in ("tests", "tests/training"):
    sys.path.insert(0, str(bench.REPOSITORY / folder))
METHODS = {"full_ner": "0.01", "lora_ner": "0.02", "prefix_ner": "0.1"}
REAL = {"full_ner": "1e-4", "lora_ner": "1e-3", "prefix_ner": "1e-2"}


def run(recipe: str, flags: list[str], processes: int) -> None:
    """A recipe in processes of its own."""
    bench.command(*bench.launched(processes), f"recipes/{recipe}.py", *flags)


def largest(one: Path, other: Path) -> float:
    """The largest difference of a weight of two runs' artifacts."""
    from safetensors.torch import load_file

    (mine,), (theirs,) = (sorted((path / "artifact").glob("*.safetensors")) for path in (one, other))
    first, second = load_file(mine), load_file(theirs)
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def apart(one: Path, other: Path) -> int:
    """Losses and scores that differ: the loss of a step hangs on its examples and its dropout."""
    records = [json.loads((path / "scores.json").read_text())["training"] for path in (one, other)]
    for score in (score for record in records for score in record["dev_scores"]):
        del score["seconds"]
    return sum(records[0][name] != records[1][name] for name in ("dev_scores", "last_loss", "steps", "best_step"))


def resumed(
    recipe: str, flags: list[str], place: Path, steps: int, chosen: list[int], processes: int
) -> dict[str, Any]:
    """Go on from behind each chosen step."""
    keep = ["--checkpointing_steps", "1", "--save_total_limit", str(steps)]
    whole = place / f"{recipe}-{processes}"
    run(recipe, [*flags, *keep, "--output_dir", str(whole)], processes)
    weights, scores = 0.0, 0
    for step in chosen:
        own = place / f"{recipe}-{processes}-{step}"
        begin = whole / "checkpoints" / f"step-{step:08d}"
        run(recipe, [*flags, "--output_dir", str(own), "--resume_from_checkpoint", str(begin)], processes)
        weights, scores = max(weights, largest(own, whole)), scores + apart(own, whole)
    found = {"recipe": recipe, "processes": processes, "begun_at": len(chosen), "largest": weights, "apart": scores}
    print(f"{recipe}, {processes} process(es), gone on from {len(chosen)} of {steps} steps: weights at most {weights} "
          f"apart, {scores} losses or scores differ", flush=True)  # fmt: skip
    return found


def five(steps: int) -> list[int]:
    """Five of so many steps, the first and the last among them; all where there are no more."""
    return sorted({1, steps // 4, steps // 2, 3 * steps // 4, steps} - {0})


def tiny(place: Path, recipes: list[str], steps: int, processes: list[int]) -> list[dict[str, Any]]:
    """Every step of some; with two processes five of them."""
    from conftest import build_tiny_bert, write_tagged

    base, data = build_tiny_bert(place / "bert"), place / "data"
    data.mkdir()
    for name, size in (("train", 120), ("dev", 30), ("test", 30)):
        write_tagged(data / f"{name}.conll", size)
    common = ["--model_name_or_path", str(base), "--dataset_name", str(data), "--mixed_precision", "no",
              "--dropout", "0.2", "--max_tokens_per_batch", "200", "--max_train_steps", str(steps),
              "--num_train_epochs", "40", "--early_stopping_patience", "99"]  # fmt: skip
    return [
        resumed(recipe, [*common, "--learning_rate", METHODS[recipe]], place, steps,
                list(range(1, steps + 1)) if number == 1 else five(steps), number)
        for recipe in recipes for number in processes
    ]  # fmt: skip


def minilm(place: Path, data: str, recipes: list[str], processes: list[int]) -> list[dict[str, Any]]:
    """Five steps of 12 on real data, dropout on, in the precision that recipes take here."""
    common = ["--dataset_name", data, "--max_train_samples", "400", "--max_eval_samples", "40", "--max_predict_samples",
              "20", "--max_tokens_per_batch", "512", "--max_train_steps", "12", "--num_train_epochs", "12"]  # fmt: skip
    return [resumed(recipe, [*common, "--learning_rate", REAL[recipe]], place, 12, [1, 4, 6, 9, 12], number)
            for recipe in recipes for number in processes]  # fmt: skip


def kills(place: Path, rounds: int) -> dict[str, Any]:
    """kill -9 at random moments of saving: what is found afterwards."""
    from test_checkpoints import killed, made, whole

    draw, last, redone = random.Random(0), 0, 0
    for _ in range(rounds):
        said = killed(place, last, draw)
        last = whole(made(place))
        redone = max(redone, said[-1] - last)
        assert last >= said[-1], "a checkpoint that was said to be written is lost"
    print(f"{rounds} kills while saving: none lost, at most {redone} steps redone", flush=True)
    return {"rounds": rounds, "lost": 0, "redone": redone}


def disk(place: Path, rounds: int) -> dict[str, Any]:
    """A limit on the size of any file at random offsets: the checkpoint before stays, and the next is whole."""
    from test_checkpoints import made, saved, whole

    from adapters.core.errors import CheckpointError

    draw, store, refused = random.Random(0), made(place, save_total_limit=2), 0
    step = 1
    saved(store, step, size=20_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for _ in range(rounds):
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (draw.choice([draw.randint(0, 700), draw.randint(0, 90_000)]), before[1])
        )
        try:
            saved(store, step + 1, size=20_000)
            step += 1
        except CheckpointError:
            refused += 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert whole(store) == step
    print(f"{rounds} full disks: {refused} refused, no checkpoint damaged", flush=True)
    return {"rounds": rounds, "refused": refused, "damaged": 0}


def phases(place: Path, steps: int) -> dict[str, Any]:
    """A run that is ended in every phase by each signal and a full disk, and resumed: what differs from a whole one."""
    from conftest import build_tiny_bert, forget_accelerate, write_tagged
    from interrupted import EVERY, interrupted, outcome

    from adapters.cli.main import main

    base, data = build_tiny_bert(place / "bert"), place / "data"
    data.mkdir()
    for name, size in (("train", 60), ("dev", 20), ("test", 20)):
        write_tagged(data / f"{name}.conll", size)
    given = {"--task": "ner", "--method": "lora", "--model_name_or_path": base, "--dataset_name": data,
             "--mixed_precision": "no", "--dropout": 0.1, "--max_tokens_per_batch": 200, "--num_train_epochs": 9,
             "--max_train_steps": steps, "--checkpointing_steps": 4, "--save_total_limit": 2}  # fmt: skip
    words = ["train", *(str(word) for pair in given.items() for word in pair)]

    def run(folder: Path, *more: str) -> Any:
        forget_accelerate()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = main([*words, "--output_dir", str(folder), *more])
        return outcome(folder) if code == 0 else code

    whole, differing = run(place / "whole"), []
    for number, (phase, fault) in enumerate(EVERY):
        folder = place / f"{number}"
        interrupted([*words, "--output_dir", str(folder)], phase, fault, place / f"{number}.log")
        if run(folder, "--resume_from_checkpoint", "latest") != whole:
            differing.append(f"{phase}: {fault}")
    print(f"{len(EVERY)} ends of a run, in all phases: {len(differing)} differ after resuming {differing}", flush=True)
    return {"ends": len(EVERY), "differing": differing}


def main() -> None:
    """Run what was asked for."""
    parts = ["tiny", "minilm", "kills", "disk", "phases"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=parts, default=parts)
    parser.add_argument("--rounds", type=int, default=200, help="of kills and of full disks")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--data", default=str(bench.DATA / "wnut17"), help="folder of wnut17, or an alias")
    parser.add_argument("--recipes", nargs="*", choices=tuple(METHODS), default=tuple(METHODS))
    parser.add_argument("--steps", type=int, default=40, help="of tiny")
    given = parser.parse_args()
    found: dict[str, Any] = {"benchmark": "resume"}
    for part in given.only:
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            made = {"tiny": lambda: tiny(place, given.recipes, given.steps, given.processes),  # noqa: B023 - called at once
                    "minilm": lambda: minilm(place, bench.dataset(given.data), given.recipes, given.processes),  # noqa: B023
                    "kills": lambda: kills(place, given.rounds),  # noqa: B023
                    "phases": lambda: phases(place, given.steps),  # noqa: B023
                    "disk": lambda: disk(place, given.rounds)}  # noqa: B023  # fmt: skip
            found[part] = made[part]()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
