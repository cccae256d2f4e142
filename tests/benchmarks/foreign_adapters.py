"""Adapters that others made: what stock PEFT writes on bases of sixteen classes, in a bank beside stock PEFT itself.

    python tests/benchmarks/foreign_adapters.py            # all, in some two minutes
    python tests/benchmarks/foreign_adapters.py --bases roberta llama --methods LoRA "(IA)³"

Tiny bases with random weights, and random parameters in the adapters. For each task the adapter is loaded into a bank,
answers seven real texts (`tests/foreign.py`), and is held against PEFT on the ids of the base's own `AutoTokenizer`.
Prints the table of docs/bank.md, and ends with 1 if any answer differs by more than 1e-5.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from pathlib import Path

import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import foreign

from adapters.serving.bank.bank import AdapterBank

SHORT = {"SEQ_CLS": "C", "TOKEN_CLS": "T", "QUESTION_ANS": "S", "CAUSAL_LM": "W"}
LEGEND = (
    "C classes, T tags of words, S spans of an answer, W writing; in brackets: refused, with the number of the reason."
)


def outcome(bank: AdapterBank, folder: Path, base: Path, name: str, method: str, task: str) -> str:
    """`equal`, `refused: …`, `DIFFERENT …`, or `impossible: …` where PEFT itself cannot."""
    try:
        made = foreign.make(folder, base, task, foreign.configs(name)[method])
    except foreign.ImpossibleError as error:
        return f"impossible: {error}"
    return foreign.compare(bank, made)


def cell(outcomes: dict[str, str], notes: list[str]) -> str:
    """The tasks that are answered alike, and those that are refused, with the number of the reason."""
    equal = [SHORT[task] for task, found in outcomes.items() if found == "equal"]
    parts = [" ".join(equal)] if equal else []
    for task, found in outcomes.items():
        if found.startswith("impossible"):
            continue
        if found != "equal":
            reason = found.partition(": ")[2] or found
            notes += [] if reason in notes else [reason]
            word = "" if found.startswith("refused") else "DIFFERENT "
            parts.append(f"({SHORT[task]} {word}{notes.index(reason) + 1})")
    return " ".join(parts) or "–"


def main() -> int:
    """Print the table; 1 if an answer differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bases", nargs="*", default=list(foreign.BASES), choices=list(foreign.BASES))
    parser.add_argument("--methods", nargs="*", default=list(foreign.configs("bert")))
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    found: dict[str, dict[str, dict[str, str]]] = {}
    notes: list[str] = []
    print(f"{LEGEND}\n")
    print(f"| base | {' | '.join(given.methods)} |\n|---|{'---|' * len(given.methods)}", flush=True)
    for name in given.bases:
        with tempfile.TemporaryDirectory() as place:
            base = foreign.BASES[name][0](Path(place) / "base")
            bank = AdapterBank(str(base), device="cpu", dtype="float32")
            found[name] = {
                method: {
                    task: outcome(bank, Path(place) / f"{task}-{number}", base, name, method, task)
                    for task in foreign.tasks(name)
                }
                for number, method in enumerate(given.methods)
            }
        print(f"| {name} | {' | '.join(cell(each, notes) for each in found[name].values())} |", flush=True)
    print(*[f"\n{number}. {reason}" for number, reason in enumerate(notes, 1)], sep="")
    every = [one for methods in found.values() for tasks in methods.values() for one in tasks.values()]
    different = sum(one.startswith("DIFFERENT") for one in every)
    impossible = sorted({one for one in every if one.startswith("impossible")})
    print(*[f"\n{one}" for one in impossible], sep="", file=sys.stderr)
    counts = {word: sum(one.startswith(word) for one in every) for word in ("equal", "refused", "impossible")}
    print(json.dumps({"benchmark": "foreign_adapters", **counts, "different": different}))
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
