"""Scores of training recipes on real data: relations, Chinese, from English to Chinese, and what a larger base brings.

    python tests/benchmarks/recipe_scores.py semeval                     # one table: minilm and e5, full and LoRA
    python tests/benchmarks/recipe_scores.py finre cluener --bases e5 --folder runs/scores    # kept, and taken up again
    python tests/benchmarks/recipe_scores.py                             # all of them, a day on two cores

Each run is a recipe with the flags of its table and a seed. Prints a Markdown table as it goes, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench


@dataclass(frozen=True, kw_only=True)
class Table:
    """Runs on one data set.

    Attributes:
        recipe: the recipes' name after that of the method.
        flags: their data, and what the data need.
        bases: base models, by default.
        seeds: seeds, by default.
        prepare: writes what must be cut out of the data: from the folder of all data, to the one that flags call
            `{own}`; None where nothing must.
    """

    recipe: str
    flags: str
    bases: tuple[str, ...] = ("e5",)
    seeds: int = 3
    prepare: Callable[[Path, Path], None] | None = None


BOTH = ("minilm", "e5")
NAMES = {"NAME": "PER", "ORG": "ORG", "LOC": "LOC"}
"""Types of the Chinese résumés that CoNLL-2003 has, too."""


def resumes(data: Path, own: Path) -> None:
    """The test sentences of the Chinese résumés as raw text, with the entities whose types CoNLL-2003 has."""
    rows = []
    for block in (data / "zh_resume_ner" / "test.char.bmes").read_text().strip().split("\n\n"):
        pairs = [line.split(" ") for line in block.split("\n")]
        text, entities = "".join(character for character, _ in pairs), []
        for at, (_, tag) in enumerate(pairs):
            kind = NAMES.get(tag[2:])
            if kind and tag[0] in "BS":
                end = next(i for i in range(at, len(pairs)) if pairs[i][1][0] in "ES") + 1
                entities.append({"start": at, "end": end, "label": kind})
        rows.append({"text": text, "entities": entities})
    (own / "test.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def few(name: str, more: str = "") -> Table:
    """A set of FewCLUE."""
    files = " ".join(
        f"--{split}_file {{data}}/zh_fewclue/{name}.{short}.jsonl"
        for split, short in (("train", "train"), ("validation", "dev"), ("test", "test"))
    )
    return Table(recipe="classification", flags=f"{files} {more}")


TABLES = {
    "semeval": Table(
        recipe="relation",
        flags="--train_file {data}/semeval2010_task8/TRAIN_FILE.TXT --test_file "
        "{data}/semeval2010_task8/TEST_FILE_FULL.TXT",
        bases=BOTH,
    ),
    "scierc": Table(
        recipe="relation",
        flags="--train_file {data}/re_scierc/train.jsonl --validation_file {data}/re_scierc/dev.jsonl --test_file "
        "{data}/re_scierc/test.jsonl",
        bases=BOTH,
    ),
    "conll04": Table(
        recipe="relation",
        flags="--train_file {data}/re_conll04/train.jsonl --validation_file {data}/re_conll04/dev.jsonl --test_file "
        "{data}/re_conll04/test.jsonl",
        bases=BOTH,
    ),
    "finre": Table(
        recipe="relation",
        flags="--train_file {data}/zh_finre/train.jsonl --validation_file {data}/zh_finre/valid.jsonl --test_file "
        "{data}/zh_finre/test.jsonl",
        seeds=1,
    ),
    "conll2003": Table(recipe="ner", flags="--dataset_name conll2003", seeds=1),
    "wnut17": Table(recipe="ner", flags="--dataset_name {data}/wnut17"),
    "sst2": Table(
        recipe="classification",
        flags="--train_file {data}/sst2/stsa.binary.train --validation_file {data}/sst2/stsa.binary.dev --test_file "
        "{data}/sst2/stsa.binary.test",
        bases=BOTH,
    ),
    "banking77": Table(
        recipe="classification",
        flags="--train_file {data}/banking77/train.csv --test_file {data}/banking77/test.csv --num_train_epochs 5",
        bases=BOTH,
    ),
    "cluener": Table(
        recipe="ner",
        flags="--train_file {data}/zh_cluener/train.jsonl --test_file {data}/zh_cluener/dev.jsonl --by_character "
        "--spans snap",
        seeds=1,
    ),
    "resume": Table(
        recipe="ner",
        flags="--train_file {data}/zh_resume_ner/train.char.bmes --validation_file {data}/zh_resume_ner/dev.char.bmes "
        "--test_file {data}/zh_resume_ner/test.char.bmes --repair_tags",
    ),
    "tnews": few("tnews", "--num_train_epochs 10"),
    "eprstmt": few("eprstmt", "--num_train_epochs 20"),
    "bustm": few("bustm", "--num_train_epochs 20"),
    "ocnli": Table(
        recipe="classification",
        flags="--train_file {data}/zh_ocnli/train_10k.jsonl --test_file {data}/zh_ocnli/dev.jsonl --drop_label -",
        seeds=1,
    ),
    "xquad_en": Table(
        recipe="question_answering",
        flags="--train_file {own}/train.json --validation_file {own}/dev.json --test_file {own}/test_en.json "
        "--num_train_epochs 10",
        prepare=bench.articles,
    ),
    "xquad_zh": Table(
        recipe="question_answering",
        flags="--train_file {own}/train.json --validation_file {own}/dev.json --test_file {own}/test_zh.json "
        "--num_train_epochs 10 --metrics cmrc_f1",
        prepare=bench.articles,
    ),
    "names_zh": Table(
        recipe="ner",
        flags="--dataset_name conll2003 --test_file {own}/test.jsonl --max_train_samples 4000 --spans snap",
        prepare=resumes,
    ),
    "thucnews": Table(
        recipe="classification",
        flags="--train_file {data}/zh_thucnews_titles/train.tsv --test_file {data}/zh_thucnews_titles/test.tsv",
        seeds=1,
    ),
}
"""By name."""


def scored(name: str, table: Table, base: str, method: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """scores.json of a run, which is run unless it has been."""
    own = given.folder / f"{name}-data"
    if table.prepare is not None:
        own.mkdir(parents=True, exist_ok=True)
        table.prepare(given.data, own)
    flags = table.flags.format(data=given.data, own=own).split()
    words = ["--model_name_or_path", base, "--seed", str(seed), *flags, *given.more]
    return bench.kept(given.folder / f"{name}-{base}-{method}-{seed}", f"recipes/{method}_{table.recipe}.py", *words)


def row(name: str, base: str, method: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is recorded of the seeds of one method; printed as a row."""
    scores = [100 * record["main"]["value"] for record in records]
    found = {
        "table": name,
        "base": base,
        "method": method,
        "scores": [round(score, 2) for score in scores],
        "mean": round(statistics.mean(scores), 2),
        "metric": records[0]["main"]["metric"],
        "split": records[0]["dataset"]["split"],
        "examples": records[0]["dataset"]["n"],
        "trainable_params": records[0]["cost"]["trainable_params"],
    }
    spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
    cells = [name, base, method, f"{found['mean']:.2f}{spread}", str(len(scores)), found["metric"], found["split"]]
    print("| " + " | ".join(cells) + f" | {found['trainable_params']:,} |", flush=True)
    return found


def main() -> None:
    """Run what is missing, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)} (default: all)")
    parser.add_argument("--bases", nargs="+", help="instead of each table's own")
    parser.add_argument("--methods", nargs="+", default=["lora", "full"])
    parser.add_argument("--seeds", type=int, help="instead of each table's own")
    parser.add_argument("--data", type=Path, default=bench.DATA)
    parser.add_argument("--folder", type=Path, help="kept, and taken up again (default: a temporary one)")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="further flags of every run")
    given = parser.parse_args()
    if unknown := [name for name in given.tables if name not in TABLES]:
        parser.error(f"{unknown[0]}: choose from {', '.join(TABLES)}")
    print("| data | base | method | score | seeds | metric | split | trained |\n|---|---|---|---:|---:|---|---|---:|")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        given.folder = (given.folder or Path(temporary)).absolute()
        for name in given.tables or TABLES:
            table = TABLES[name]
            for base in given.bases or table.bases:
                for method in given.methods:
                    seeds = range(given.seeds or table.seeds)
                    records = [scored(name, table, base, method, seed, given) for seed in seeds]
                    rows.append(row(name, base, method, records))
    print(json.dumps({"benchmark": "recipe_scores", "rows": rows}))


if __name__ == "__main__":
    main()
