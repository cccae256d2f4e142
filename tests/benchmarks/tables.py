"""The comparisons behind the tables of docs/results.md: every method that fits, on real data.

    python tests/benchmarks/tables.py sst2                       # one table, under an hour on two cores
    python tests/benchmarks/tables.py sst2 trec --folder runs/tables    # kept, and taken up again
    python tests/benchmarks/tables.py                            # all of them, several hours
    python tests/benchmarks/tables.py --more --runs_at_once 2    # two runs at a time, a core each

Prints each comparison, the processor time that it took, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from pathlib import Path
from typing import Any

from bench import DATA, articles

from adapters.experiments.comparison.comparison import Comparison

ENCODER = "majority,tfidf,full,head,lora,prefix"
PROMPTED = f"{ENCODER},zero_shot,few_shot --prompt_model_name_or_path smollm2"
TABLES: dict[str, tuple[str, str]] = {
    "sst2": (
        "classification",
        "--train_file {data}/sst2/stsa.binary.train --validation_file {data}/sst2/stsa.binary.dev "
        "--test_file {data}/sst2/stsa.binary.test --max_train_samples 1000 --max_eval_samples 300 "
        f"--max_predict_samples 1000 --methods {PROMPTED}",
    ),
    "trec": (
        "classification",
        "--train_file {data}/trec/raw.TREC.train --test_file {data}/trec/raw.TREC.test --encoding latin-1 "
        "--label_column_name coarse --max_train_samples 1000 --max_eval_samples 300 --max_predict_samples 500 "
        f"--methods {PROMPTED}",
    ),
    "financial_phrasebank": (
        "classification",
        "--train_file {data}/financial_phrasebank/all-data.csv --max_train_samples 1000 --max_eval_samples 300 "
        f"--max_predict_samples 1000 --methods {PROMPTED}",
    ),
    "banking77": (
        "classification",
        "--train_file {data}/banking77/train.csv --test_file {data}/banking77/test.csv --max_train_samples 3000 "
        f"--max_eval_samples 300 --max_predict_samples 1000 --methods {ENCODER}",
    ),
    "conll2003": (
        "ner",
        "--dataset_name conll2003 --train_sizes 300,3000 --max_eval_samples 300 --methods full,lora,head,crf "
        "--num_train_epochs 5",
    ),
    "xquad": (
        "question_answering",
        "--train_file {own}/train.json --validation_file {own}/dev.json --test_file {own}/test_en.json "
        "--max_eval_samples 100 --methods full,lora,head,prefix,few_shot --prompt_model_name_or_path smollm2 "
        "--shots 3 --num_train_epochs 5 --max_new_tokens 32",
    ),
    "scitldr": (
        "summarization",
        "--train_file {data}/scitldr/train.jsonl --validation_file {data}/scitldr/dev.jsonl "
        "--test_file {data}/scitldr/test.jsonl --model_name_or_path smollm2 --max_train_samples 200 "
        "--max_eval_samples 20 --max_predict_samples 100 --methods full,lora,zero_shot,few_shot --shots 2 "
        "--num_train_epochs 2 --max_new_tokens 48 --tuning_trials 0",
    ),
    "multi30k": (
        "translation",
        "--train_file {data}/multi30k_en_de/train.en --validation_file {data}/multi30k_en_de/val.en "
        "--test_file {data}/multi30k_en_de/test_2016_flickr.en --source_lang en --target_lang de "
        "--model_name_or_path smollm2 --max_train_samples 1000 --max_eval_samples 20 --max_predict_samples 100 "
        "--methods full,lora,zero_shot,few_shot --num_train_epochs 2 --max_new_tokens 32 --tuning_trials 0",
    ),
}
"""Of each: the task, and the flags of `taskswap compare`. What they leave out has its default: three seeds, a search
of each method's settings."""


def processor_seconds() -> float:
    """What this process and the ones that it waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(name: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One table."""
    task, flags = TABLES[name]
    own = folder / f"{name}-data"
    if name == "xquad":
        own.mkdir(parents=True, exist_ok=True)
        articles(given.data, own)
    words = flags.format(data=given.data, own=own).split()
    if given.methods:
        words[words.index("--methods") + 1] = ",".join(given.methods)
    before = processor_seconds()
    comparison = Comparison(
        None,
        task=task,
        defaults={"sample_selection": "random", "max_tokens_per_batch": 256},
        argv=[*words, "--output_dir", str(folder / name), *given.more],
    )
    comparison.check()
    comparison.run_all()
    comparison.save_and_print()
    minutes = (processor_seconds() - before) / 60
    print(f"{name}: {minutes:.1f} minutes of processor time\n", flush=True)
    failed = [outcome.error for outcome in comparison.outcomes if outcome.error]
    return {"minutes": minutes, "runs": len(comparison.outcomes), "failed": failed}


def main() -> None:
    """Compare on the data that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)} (default: all)")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--folder", type=Path, help="kept, and taken up again (default: a temporary one)")
    parser.add_argument("--methods", nargs="+", help="these alone, for a try")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="further flags of taskswap compare")
    given = parser.parse_args()
    if unknown := [name for name in given.tables if name not in TABLES]:
        parser.error(f"{unknown[0]}: choose from {', '.join(TABLES)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).absolute()
        found = {name: measure(name, given, folder) for name in given.tables or TABLES}
    print(json.dumps({"benchmark": "tables", **found}))


if __name__ == "__main__":
    main()
