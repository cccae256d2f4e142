"""Customer service on real questions: intents, what is out of scope, replies to paraphrases, and a large index.

    python tests/benchmarks/customer_service.py                                  # all parts; hours on two cores
    python tests/benchmarks/customer_service.py --only covid_faq --more --retriever base   # nothing is trained

Each part is a run of recipes/customer_service.py in a folder of its own below --folder; its result is kept there as
result.json, and the part is left out the next time (an adapter that was learned is kept as well). Parts:

    clinc150        150 intents; out of scope by the set's own questions (Larson et al. 2019, arXiv:1909.02027)
    banking77       77 intents from 5 and from 10 questions each, drawn by --seed, and as many again as dev
    banking77_oos   50 intents; near out of scope: banking77's other 27; far: CLINC150's questions
    covid_faq       paraphrases of 213 questions with answers: all answers known; and with one half of the answers left
                    out, by a hash, whose paraphrases must then not be answered; and with the other half left out
    large           an index of --stored questions: seconds to encode them alone and to build it, and to answer one
    serving         on a server: messages a second of 64 clients, together and one at a time, for --seconds each; and
                    kill -9 while messages come in, --kills times: acknowledged turns and inbox items that are lost
    attack          --messages hostile messages to a server: what is executed in the page, and told of other sessions

The 244 pairs of covid_question_similarity_en.csv that are marked as not similar are not questions without an answer:
each second question paraphrases another entry of the same FAQ. So answers are left out instead. Prints a table, and one
JSON line last.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import bench
import numpy as np
import service_server

Row = dict[str, str | None]
Files = dict[str, list[Row]]
"""Rows by split: train, validation, test."""
PARTS = ("clinc150", "banking77", "banking77_oos", "covid_faq", "large", "serving", "attack")
SHOTS = (5, 10)
ASKED = 200
SHOWN = ("accuracy", "MRR", "AUROC, out of scope", "refused at 5 % in-scope refusals, out of scope")


def main() -> None:
    """Run the parts that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[*PARTS], choices=PARTS)
    parser.add_argument("--data", default=str(bench.DATA), help="folder of the sets")
    parser.add_argument("--folder", default="runs/customer_service_benchmark", help="of runs and results")
    parser.add_argument("--base", default="minilm", help="alias, or a folder")
    parser.add_argument("--texts", type=int, help="questions of each split at most, for a try")
    parser.add_argument("--stored", type=int, default=100_000, help="questions of the large index")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each load of a server")
    parser.add_argument("--kills", type=int, default=100, help="times that a server is killed")
    parser.add_argument("--messages", type=int, default=500, help="hostile ones")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of few questions")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="flags of the recipe")
    given = parser.parse_args()
    data, found = Path(bench.dataset(given.data)), {}
    for part in given.only:
        for name, make in jobs(part, data, given).items():
            found[name] = kept(Path(given.folder) / name, make, given)
    print(table({name: one for name, one in found.items() if "systems" in one}))
    print(json.dumps({"benchmark": "customer_service", "base": given.base, "texts": given.texts, "parts": found}))


def jobs(part: str, data: Path, given: argparse.Namespace) -> dict[str, Any]:
    """By name, what a part reads: rows, or for the large index none."""
    if part == "clinc150":
        return {"clinc150": lambda: clinc(data / "clinc150")}
    if part == "banking77":
        return {f"banking77_{n}": lambda n=n: few(banking(data / "banking77"), n, given.seed) for n in SHOTS}
    if part == "banking77_oos":
        return {"banking77_oos": lambda: banking_oos(data / "banking77_oos")}
    if part == "covid_faq":
        folds = {"covid_faq": None, "covid_faq_without_0": 0, "covid_faq_without_1": 1}
        return {name: lambda fold=fold: covid(data / "support_faq", fold) for name, fold in folds.items()}
    if part in ("serving", "attack"):
        return {part: lambda: covid(data / "support_faq", None)}
    return {f"large_{given.stored}": lambda: clinc(data / "clinc150")}


def kept(folder: Path, make: Any, given: argparse.Namespace) -> dict[str, Any]:
    """A part's result: the one that is there, or that of a run now."""
    path = folder / "result.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: cut(rows, given.texts) for name, rows in make().items()}
        found = large(files, given) if folder.name.startswith("large") else run(folder, files, given)
        if folder.name in ("serving", "attack"):
            found = on_a_server(folder, files, given)
        path.write_text(json.dumps(found))
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def run(folder: Path, files: Files, given: argparse.Namespace) -> dict[str, Any]:
    """Scores of the recipe on these files."""
    words = ["recipes/customer_service.py", "--model_name_or_path", given.base, "--output_dir", str(folder / "run")]
    for name, rows in files.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        words += [f"--{name}_file", str(path.resolve())]
    if folder.name == "attack":
        (folder / "handbook").mkdir(exist_ok=True)
        (folder / "handbook" / "injected.md").write_text(service_server.INJECTED)
        words += ["--documents", str(folder / "handbook")]
    begin = time.perf_counter()
    bench.command(*words, *given.more)
    scores: dict[str, Any] = json.loads((folder / "run" / "scores.json").read_text())
    return {
        **{name: scores[name] for name in ("questions", "systems", "outcomes", "latency_ms")},
        "seconds": since(begin),
    }


def on_a_server(folder: Path, files: Files, given: argparse.Namespace) -> dict[str, Any]:
    """What clients see of a server of the run in a folder."""
    asked = [str(row["question"]) for row in files["test"]]
    if folder.name == "serving":
        return service_server.serving(folder / "run", asked, given.seconds, given.kills)
    return service_server.attack(folder / "run", asked, given.messages)


def large(files: Files, given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of an index of many questions, each of two of CLINC150's; and of answers from it."""
    from adapters.applications.customer_service.retriever import Retriever
    from adapters.core.processes import use_all_cores
    from adapters.serving.bank.bank import AdapterBank

    use_all_cores()
    texts = [str(row["question"]) for row in files["train"]]
    draw = random.Random(given.seed)
    stored = [f"{draw.choice(texts)} {draw.choice(texts)} {number}" for number in range(given.stored)]
    bank = AdapterBank(given.base)
    bank.embed(texts[:8])
    begin = time.perf_counter()
    bank.embed(stored)
    encoding = since(begin)
    begin = time.perf_counter()
    index = Retriever.build([(text, f"r{number}") for number, text in enumerate(stored)], bank.embed)
    building, answering = since(begin), []
    for text in draw.choices(texts, k=min(ASKED, given.stored)):
        begin = time.perf_counter()
        index.rank([text])
        answering.append(1000 * (time.perf_counter() - begin))
    return {
        "stored": given.stored,
        "encoding_s": encoding,
        "building_s": building,
        "of_encoding": round(building / max(encoding, 1e-9), 3),
        "answer_ms_p50": round(float(np.median(answering)), 2),
        "answer_ms_p95": round(float(np.percentile(answering, 95)), 2),
    }


def clinc(folder: Path) -> Files:
    """CLINC150's splits; its out-of-scope questions for training are not used."""
    data = json.loads((folder / "data_full.json").read_text(encoding="utf-8"))
    names = {"train": ("train",), "validation": ("val", "oos_val"), "test": ("test", "oos_test")}
    return {
        split: [row(text, intent) for part in parts for text, intent in data.get(part, ())]
        for split, parts in names.items()
    }


def banking(folder: Path) -> Files:
    """banking77's two splits."""
    out = {}
    for name in ("train", "test"):
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            out[name] = [row(one["text"], one["category"]) for one in csv.DictReader(stream)]
    return out


def few(files: Files, shots: int, seed: int) -> Files:
    """`shots` training questions of each intent, and as many others as dev, drawn."""
    by_intent: dict[str | None, list[Row]] = {}
    for one in files["train"]:
        by_intent.setdefault(one["intent"], []).append(one)
    draw = random.Random(seed)
    drawn = [draw.sample(rows, min(2 * shots, len(rows))) for rows in by_intent.values()]
    parts = {"train": slice(0, shots), "validation": slice(shots, None)}
    return {
        **{name: [one for rows in drawn for one in rows[part]] for name, part in parts.items()},
        "test": files["test"],
    }


def banking_oos(folder: Path) -> Files:
    """BANKING77-OOS's splits, with both kinds of out-of-scope questions in dev and test.

    Two training rows have no question, and are left out.
    """

    def read(name: str, scope: str = "in") -> Iterable[Row]:
        lines = (folder / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[1:]
        return [row(*line.rsplit("\t", 1), scope) for line in lines if line.partition("\t")[0].strip()]

    out = {"train": [*read("train")]}
    for ours, theirs in (("validation", "valid"), ("test", "test")):
        out[ours] = [*read(theirs), *read(f"id-oos.{theirs}", "near"), *read(f"ood-oos.{theirs}", "far")]
    return out


def covid(folder: Path, left_out: int | None) -> Files:
    """The FAQ as train, and paraphrases as dev and test by a hash; those of entries left out are near out of scope."""
    lines = (folder / "covid_faq.jsonl").read_text(encoding="utf-8").splitlines()
    entries = {one["question"].strip(): one["answer"] for one in map(json.loads, lines)}
    known = {question: answer for question, answer in entries.items() if side(answer) != left_out}
    out: Files = {"train": [row(question, None, "in", answer) for question, answer in known.items()]}
    with (folder / "covid_question_similarity_en.csv").open(encoding="utf-8", newline="") as stream:
        pairs = [one for one in csv.DictReader(stream) if one["similar"] == "1"]
    for pair in pairs:
        split = ("validation", "test")[side(pair["question_2"])]
        answer = known.get(pair["question_1"].strip())
        one = row(pair["question_2"], "oos", "near") if answer is None else row(pair["question_2"], None, "in", answer)
        out.setdefault(split, []).append(one)
    return out


def row(text: str, intent: str | None, scope: str = "in", answer: str | None = None) -> Row:
    """A question as the recipe reads it."""
    return {
        "question": text,
        "intent": intent,
        "scope": "out" if intent == "oos" and scope == "in" else scope,
        "answer": answer,
    }


def side(text: str) -> int:
    """0 or 1 by a hash."""
    return hashlib.sha256(text.encode()).digest()[0] % 2


def cut(rows: list[Row], count: int | None) -> list[Row]:
    """A number of rows, evenly from all."""
    return rows if count is None else rows[:: max(len(rows) // count, 1)]


def since(begin: float) -> float:
    """Seconds."""
    return round(time.perf_counter() - begin, 2)


def table(found: Mapping[str, Any]) -> str:
    """The systems of each part, as Markdown."""
    lines = [f"| part | system | {' | '.join(SHOWN)} |", "|---|---|" + "---|" * len(SHOWN)]
    for part, result in found.items():
        for system in result["systems"]:
            cells = [f"{100 * system[name]['value']:.1f}" if name in system else "–" for name in SHOWN]
            lines.append(f"| {part} | {system['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
