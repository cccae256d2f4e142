"""Which of ten adapters should answer? Routers of each kind on the domains of CLINC150, and what they do out of scope.

    python tests/benchmarks/routing.py                          # minilm, 500 training texts a domain: a few minutes
    python tests/benchmarks/routing.py --texts 50 --kinds means # a try

Each domain stands for an adapter. A router learns from training texts, domain by domain; its threshold is set on the
validation texts at `--rate`; the test texts of all domains (450 each) and the 1,000 out-of-scope ones are routed.
Accuracy is the share of test texts that go to their domain: without a threshold, and with it, where a refused text
counts as wrong. Seconds are of the median round; those of embedding are the same for all kinds. Prints a table, and
one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import bench
import numpy as np

from adapters.serving.bank.router import Routed, Router
from adapters.serving.bank.router_kinds import KINDS

Features = dict[str, np.ndarray]


def main() -> None:
    """Embed once, then fit and try each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="minilm", help="alias, or a folder")
    parser.add_argument("--data", default=str(bench.DATA / "clinc150"), help="folder of CLINC150")
    parser.add_argument("--texts", type=int, default=500, help="training texts of each domain")
    parser.add_argument("--rate", type=float, default=0.05, help="share of validation texts that may be refused")
    parser.add_argument("--kinds", nargs="*", default=[*KINDS], choices=[*KINDS])
    parser.add_argument("--rounds", type=int, default=3, help="of each time")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of training texts")
    given = parser.parse_args()
    texts = read(Path(bench.dataset(given.data)), given.texts, given.seed)
    features, embedding = embedded(texts, given.base)
    found = {kind: tried(kind, features, given.rate, given.rounds) for kind in given.kinds}
    print(f"{embedding:.2f} s to embed 1,000 texts\n\n{table(found)}")
    sizes = {split: sum(map(len, domains.values())) for split, domains in texts.items()}
    print(json.dumps({"benchmark": "routing", "texts": sizes, "embedding_s_per_1000": embedding, "kinds": found}))


def read(folder: Path, count: int, seed: int) -> dict[str, dict[str, list[str]]]:
    """Texts by split (train, val, test, oos) and domain; of train a number of each domain, drawn."""
    data = json.loads((folder / "data_full.json").read_text(encoding="utf-8"))
    domains = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
    domain_of = {intent: domain for domain, intents in domains.items() for intent in intents}
    out: dict[str, dict[str, list[str]]] = {split: {name: [] for name in domains} for split in ("train", "val", "test")}
    for split, by_domain in out.items():
        for text, intent in data[split]:
            by_domain[domain_of[intent]].append(text)
    draw = random.Random(seed)
    out["train"] = {name: draw.sample(texts, min(count, len(texts))) for name, texts in out["train"].items()}
    return {**out, "oos": {"none": [text for text, _ in data["oos_test"]]}}


def embedded(texts: dict[str, dict[str, list[str]]], base: str) -> tuple[dict[str, Features], float]:
    """Features by split and domain, and the seconds that 1,000 of them took."""
    from adapters.core.processes import use_all_cores
    from adapters.tasks.base.embedding import text_embedder

    use_all_cores()
    embed = text_embedder(base)
    embed(["Warm.", "A text to warm up with that has a few more words."])
    begin = time.perf_counter()
    out = {split: {name: embed(each) for name, each in domains.items()} for split, domains in texts.items()}
    count = sum(len(each) for domains in texts.values() for each in domains.values())
    return out, round(1000 * (time.perf_counter() - begin) / count, 3)


def tried(kind: str, features: dict[str, Features], rate: float, rounds: int) -> dict[str, Any]:
    """What a kind of router is worth."""
    test, oos = features["test"], features["oos"]["none"]
    rows, names = np.concatenate([*test.values()]), np.repeat([*test], [len(each) for each in test.values()])
    learning, choosing = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        router = Router.fit(kind, features["train"])
        router.choose(rows[:1])
        learnt = time.perf_counter()
        open_to_all = router.choose(rows)
        choosing.append(1000 * (time.perf_counter() - learnt) / len(rows))
        learning.append(learnt - begin)
    router.set_threshold(features["val"], rate)
    routed = router.choose(rows)
    confidence = np.array([one.confidence for one in routed])
    right = np.array([one.adapter for one in open_to_all]) == names
    return {
        "accuracy": percent(right),
        "accuracy_with_none": percent(np.array([str(one.adapter) for one in routed]) == names),
        "in_scope_refused": refused(routed),
        "out_of_scope_refused": refused(router.choose(oos)),
        "mean_confidence": percent(confidence),
        "learning_s": round(median(learning), 3),
        "choosing_s_per_1000": round(median(choosing), 4),
        "bytes": router.bytes,
    }


def percent(shares: np.ndarray) -> float:
    """Their mean, in percent."""
    return round(100 * float(np.mean(shares)), 2)


def refused(routed: Sequence[Routed]) -> float:
    """Percent of texts that fit no adapter."""
    return percent(np.array([one.adapter is None for one in routed]))


def table(found: dict[str, dict[str, Any]]) -> str:
    """The results as Markdown."""
    columns = {
        "accuracy": "accuracy, %",
        "accuracy_with_none": "with a threshold, %",
        "in_scope_refused": "in scope refused, %",
        "out_of_scope_refused": "out of scope refused, %",
        "mean_confidence": "mean confidence, %",
        "learning_s": "s to learn",
        "choosing_s_per_1000": "s to choose 1,000",
        "bytes": "bytes",
    }
    lines = [f"| kind | {' | '.join(columns.values())} |", "|---|" + "---|" * len(columns)]
    lines += [f"| {kind} | {' | '.join(f'{out[name]:,}' for name in columns)} |" for kind, out in found.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
