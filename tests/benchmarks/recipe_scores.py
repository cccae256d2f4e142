"""Scores of training recipes on real data: relations, finance, Chinese, from English to Chinese, a larger base.

    python tests/benchmarks/recipe_scores.py semeval                     # one table: minilm and e5, full and LoRA
    python tests/benchmarks/recipe_scores.py finre cluener --bases e5 --folder runs/scores    # kept, and taken up again
    python tests/benchmarks/recipe_scores.py                             # all of them, a day on two cores

Each run is a recipe with the flags of its table and a seed. Prints a Markdown table as it goes, and one JSON line last.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import statistics
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import bench

from adapters.core import discovery


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
        of: the table whose runs are scored on the data of `flags`, instead of runs of its own.
    """

    recipe: str
    flags: str
    bases: tuple[str, ...] = ("e5",)
    seeds: int = 3
    prepare: Callable[[Path, Path], None] | None = None
    of: str | None = None


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
    write_rows(own / "test.jsonl", rows)


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Rows as JSONL."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


TOP_TEN = ("earn", "acq", "money-fx", "grain", "crude", "trade", "interest", "ship", "wheat", "corn")
"""The ten most frequent topics of Reuters-21578, on which most of its published results are."""


def reuters(data: Path, own: Path, topics: Collection[str] | None = None) -> None:
    """Titles and first words of Reuters-21578 with their topics, by ModApte's split: those of training and of test."""
    found: dict[str, list[dict[str, Any]]] = {"TRAIN": [], "TEST": []}
    for line in (data / "finance_reuters21578" / "reuters_topics.jsonl").read_text().splitlines():
        row = json.loads(line)
        labels = [topic for topic in row["topics"] if topics is None or topic in topics]
        if row["split"] in found and labels:
            found[row["split"]].append({"text": f"{row['title']}. {row['body']}", "labels": labels})
    known = {label for row in found["TRAIN"] for label in row["labels"]}
    for row in found["TEST"]:
        row["labels"] = [label for label in row["labels"] if label in known]
    write_rows(own / "train.jsonl", found["TRAIN"])
    write_rows(own / "test.jsonl", [row for row in found["TEST"] if row["labels"]])


def sentfin(data: Path, own: Path) -> None:
    """SEntFiN's headlines with each of their entities as a pair, cut into 80, 10 and 10 % of the headlines."""
    pair = re.compile(r"""(['"])(.*?)\1: '(positive|negative|neutral)'""")
    with (data / "finance_sentfin" / "SEntFiN.csv").open(encoding="utf-8") as stream:
        found = [
            [
                {"text": row["Title"], "text_pair": entity, "label": label}
                for _, entity, label in pair.findall(row["Decisions"])
            ]
            for row in csv.DictReader(stream)
        ]
    write_parts(own, found)


def phrasebank(data: Path, own: Path) -> None:
    """The sentences of financial_phrasebank on whose sentiment half of the annotators agreed, cut into 80, 10, 10 %."""
    with (data / "financial_phrasebank" / "all-data.csv").open(encoding="utf-8") as stream:
        first = {row["Content"]: row["Type"] for row in csv.DictReader(stream)}
    write_parts(own, [[{"text": text, "label": label}] for text, label in first.items()])


def write_parts(own: Path, groups: Iterable[Sequence[dict[str, Any]]]) -> None:
    """Write of each ten groups of rows eight to train, one to dev and one to test."""
    found: dict[str, list[dict[str, Any]]] = {"train": [], "dev": [], "test": []}
    for number, rows in enumerate(groups):
        found[("dev", "test", *["train"] * 8)[number % 10]] += rows
    for name, own_rows in found.items():
        write_rows(own / f"{name}.jsonl", own_rows)


def fiqa(data: Path, own: Path) -> None:
    """FiQA's headlines and posts with each of their targets as a pair, and its sentiment from -1 to 1."""
    for split in ("train", "test"):
        rows = []
        for kind in ("headline", "post"):
            for row in json.loads((data / "finance_fiqa" / f"task1_{kind}_ABSA_{split}.json").read_text()).values():
                scores = {one["target"]: float(one["sentiment_score"]) for one in row["info"]}
                rows += [{"text": row["sentence"], "text_pair": name, "score": score} for name, score in scores.items()]
        write_rows(own / f"{split}.jsonl", rows)


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
    "chnsenticorp": Table(
        recipe="classification",
        flags="--train_file {data}/zh_chnsenticorp/train.tsv --test_file {data}/zh_chnsenticorp/dev.tsv",
        seeds=1,
    ),
    "cmrc": Table(
        recipe="question_answering",
        flags="--train_file {data}/zh_cmrc2018/trial.json --test_file {data}/zh_cmrc2018/dev.json --repair_questions "
        "--metrics cmrc_f1",
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
        flags="--test_file {own}/test_zh.json --metrics cmrc_f1",
        prepare=bench.articles,
        of="xquad_en",
    ),
    "names_zh": Table(
        recipe="ner",
        flags="--dataset_name conll2003 --test_file {own}/test.jsonl --max_train_samples 4000 --spans snap",
        prepare=resumes,
    ),
    "phrasebank": Table(
        recipe="classification",
        flags="--train_file {own}/train.jsonl --validation_file {own}/dev.jsonl --test_file {own}/test.jsonl",
        bases=("minilm",),
        prepare=phrasebank,
    ),
    "tweets": Table(
        recipe="classification",
        flags="--train_file {data}/finance_tweets/sent_train.csv --test_file {data}/finance_tweets/sent_valid.csv",
        bases=("minilm",),
    ),
    "sentfin": Table(
        recipe="classification",
        flags="--train_file {own}/train.jsonl --validation_file {own}/dev.jsonl --test_file {own}/test.jsonl",
        bases=("minilm",),
        prepare=sentfin,
    ),
    "fiqa": Table(
        recipe="regression",
        flags="--train_file {own}/train.jsonl --test_file {own}/test.jsonl --num_train_epochs 10",
        bases=("minilm",),
        prepare=fiqa,
    ),
    "reuters10": Table(
        recipe="classification",
        flags="--train_file {own}/train.jsonl --test_file {own}/test.jsonl --multi_label",
        bases=("minilm",),
        seeds=1,
        prepare=partial(reuters, topics=TOP_TEN),
    ),
    "reuters": Table(
        recipe="classification",
        flags="--train_file {own}/train.jsonl --test_file {own}/test.jsonl --multi_label --num_train_epochs 10",
        bases=("minilm",),
        seeds=1,
        prepare=reuters,
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
    folder = given.folder / f"{name}-{base}-{method}-{seed}"
    if table.of is not None:
        scored(table.of, TABLES[table.of], base, method, seed, given)
        run = given.folder / f"{table.of}-{base}-{method}-{seed}"
        if not (folder / "scores.json").is_file():  # it is not taken up, as it takes minutes
            shutil.rmtree(folder, ignore_errors=True)
        return bench.kept(folder, "-m", "adapters", "evaluate", str(run.resolve()), *flags)
    words = ["--seed", str(seed), *flags, *given.more]
    if discovery.load("methods", method).Method.needs_base:
        words = ["--model_name_or_path", base, *words]
    recipe = [f"recipes/{method}_{table.recipe}.py"]
    if not (bench.REPOSITORY / recipe[0]).is_file():
        recipe = ["-m", "adapters", "train", "--task", table.recipe, "--method", method]
    return bench.kept(folder, *recipe, *words)


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
    if all("macro_f1" in record["quality"][found["metric"]] for record in records):
        found["macro_f1"] = [
            round(100 * record["quality"][found["metric"]]["macro_f1"]["value"], 2) for record in records
        ]
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
