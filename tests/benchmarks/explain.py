"""How good explanations are, by method of explanation and of adaptation: does LoRA explain like full fine-tuning?

    python tests/benchmarks/explain.py                                  # some five hours on two cores
    python tests/benchmarks/explain.py --sets sst2 --examples 50        # an hour
    python tests/benchmarks/explain.py --only time

Models are trained on SST-2 (2 classes of sentences), on reviews of ERASER's movies (in windows) and on sentences of
the Toxic Spans posts, which are toxic where they have a span. Their explanations are tested by `taskswap explain
--evaluate` on texts of the test split: comprehensiveness and sufficiency, AUPRC and token F1 against the spans that
people marked, the share that adds up, the correlation with explanations of random weights. `agreement` is Spearman's
correlation between the explanations of two models of the same label of the same text, averaged over texts; two seeds of
one method say how much of it could be reached. `time` is that of integrated gradients with 32 steps on 30 words. Prints
a line as it goes and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import bench
import numpy as np

METHODS = ("full", "lora", "tfidf")
SETS = ("sst2", "movies", "toxic")
TARGETS = {"toxic": ["--target", "toxic"]}
FLAGS = {"movies": ["--long_texts", "window", "--gradient_accumulation_steps", "4"]}
"""Of reviews in windows a batch has four, of whose labels LoRA learns nothing: a step is of sixteen."""
WORDS = (
    "the film has a charming start but then it drags and the story that had been so funny turns into a dull mess of "
)
TIMED = f"{WORDS}scenes that nobody needed at all"
"""30 words."""
_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*")


def written(data: Path, name: str, folder: Path) -> tuple[list[str], Path]:
    """Flags of the data to train on, and the file of texts to explain."""
    folder.mkdir(parents=True, exist_ok=True)
    explained = folder / "explained.jsonl"
    if name == "sst2":
        (test,) = (data / "sst2").glob("*test*")
        rows = [line.partition(" ")[::2] for line in test.read_text().splitlines()]
        _lines(explained, [{"text": text, "label": label} for label, text in rows])
        return ["--dataset_name", str(data / "sst2")], explained
    if name == "movies":
        source = data / "explain_movies"
        for split in ("train", "val", "test"):
            rows = _rows(source / f"{split}.jsonl")
            _lines(folder / f"{split}.jsonl", [{"text": row["text"], "label": row["label"]} for row in rows])
        kept = ("label", "text", "rationales")
        _lines(explained, [{key: row[key] for key in kept} for row in _rows(source / "test.jsonl")])
        return _files(folder, "train", "val", "test"), explained
    for split in ("train", "trial", "test"):
        rows = [one for row in _rows(data / "explain_toxic_spans" / f"{split}.jsonl") for one in _sentences(row)]
        _lines(folder / f"{split}.jsonl", rows)
    _lines(explained, [row for row in _rows(data / "explain_toxic_spans" / "test.jsonl") if row["spans"]])
    return _files(folder, "train", "trial", "test"), explained


def _sentences(row: dict[str, Any]) -> list[dict[str, str]]:
    """The sentences of a post that has spans, each with its label."""
    found = []
    for match in _SENTENCE.finditer(row["text"]) if row["spans"] else ():
        toxic = any(start < match.end() and end > match.start() for start, end in row["spans"])
        if re.search(r"\w", match[0]):
            found.append({"text": match[0].strip(), "label": "toxic" if toxic else "civil"})
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise SystemExit(f"No data at {path}. Give --data a folder with it.")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _files(folder: Path, train: str, dev: str, test: str) -> list[str]:
    names = {"train": train, "validation": dev, "test": test}
    return [word for split, name in names.items() for word in (f"--{split}_file", str(folder / f"{name}.jsonl"))]


def trained(given: argparse.Namespace, name: str, method: str, seed: int, data: list[str]) -> Path:
    """The artifact of a method on a set, trained unless it is there."""
    folder = given.folder / name / f"{method}_{seed}"
    base = [] if method == "tfidf" else ["--model_name_or_path", given.base, *FLAGS.get(name, []), *given.more]
    bench.kept(folder, "-m", "adapters", "train", "--task", "classification", "--method", method, *data, "--seed",
               str(seed), *base)  # fmt: skip
    return folder / "artifact"


def on_base(given: argparse.Namespace, model: str) -> list[str]:
    """Flags by which an artifact finds its base, if its method has one."""
    return [] if model.startswith("tfidf") else ["--base", given.base]


def tested(given: argparse.Namespace, name: str, method: str, artifact: Path, explained: Path) -> list[dict[str, Any]]:
    """A row for each method of explanation."""
    out = given.folder / name / f"{method}.json"
    bench.command("-m", "adapters", "explain", str(artifact), "--evaluate", str(explained), "--max_samples",
                  str(given.examples), "--output", str(out), *TARGETS.get(name, []),
                  *(["--method", given.explanations] if given.explanations and on_base(given, method) else []),
                  *on_base(given, method))  # fmt: skip
    record = json.loads(out.read_text())
    rows = []
    for explanation, found in record["methods"].items():
        row: dict[str, Any] = {"set": name, "adaptation": method, "explanation": explanation, "n": record["examples"]}
        row |= {measure: [round(one[key], 3) for key in ("value", "low", "high")] for measure, one in found.items()}
        print(row, flush=True)
        rows.append(row)
    return rows


def agreement(
    given: argparse.Namespace, name: str, artifacts: dict[str, Path], explained: Path
) -> list[dict[str, Any]]:
    """Spearman's correlation of two models' explanations of one label, over the texts of which both say it."""
    from scipy.stats import spearmanr

    texts = explained.with_name("agreed.jsonl")
    _lines(texts, [{"text": row["text"]} for row in _rows(explained)[: given.examples]])
    found = {}
    for model, artifact in artifacts.items():
        out = given.folder / name / f"{model}_words.jsonl"
        bench.command("-m", "adapters", "explain", str(artifact), "--input", str(texts), "--output", str(out),
                      *on_base(given, model))  # fmt: skip
        found[model] = [(one["target"], [part["value"] for part in one["parts"]]) for one in _rows(out)]
    rows = []
    for one, other in combinations(found, 2):
        pairs = [(a, b) for (left, a), (right, b) in zip(found[one], found[other], strict=True) if left == right]
        known = [float(spearmanr(a, b).statistic) for a, b in pairs if np.ptp(a) and np.ptp(b)]
        row = {"set": name, "of": [one, other], "texts": len(known), "rho": round(float(np.mean(known or [0])), 3)}
        print(row, flush=True)
        rows.append(row)
    return rows


def timed(artifact: Path, base: str, rounds: int) -> dict[str, Any]:
    """Milliseconds of integrated gradients with 32 steps on 30 words: the median and the 95th percentile."""
    from adapters.artifacts import loading
    from adapters.artifacts.explaining.base import explain
    from adapters.core.processes import use_all_cores

    use_all_cores()
    loaded, text, times = loading.load(artifact, base=base), TIMED, []
    assert len(text.split()) == 30, len(text.split())
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        explain.explain(loaded.predictor, loaded.task, text, model="lora", method="integrated_gradients")
        times.append(1000 * (time.perf_counter() - begin))
    p50, p95 = np.percentile(times[1:], [50, 95])
    return {"steps": 32, "words": 30, "p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1)}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=("table", "agreement", "time"),
                        default=("table", "agreement", "time"))  # fmt: skip
    parser.add_argument("--sets", nargs="*", choices=SETS, default=SETS)
    parser.add_argument("--methods", nargs="*", default=METHODS, help="of adaptation")
    parser.add_argument("--seeds", type=int, default=2, help="of which agreement is between; the table has the first")
    parser.add_argument("--examples", type=int, default=100, help="texts that are explained")
    parser.add_argument("--explanations", help="methods of explanation of models with a base, with commas, not all")
    parser.add_argument("--rounds", type=int, default=20, help="of the time")
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--data", type=Path, default=bench.DATA)
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/explain"), help="of the models: kept, and taken up again"
    )
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="last: further flags of every training")
    given = parser.parse_args()
    given.folder = given.folder.resolve()
    rows: list[dict[str, Any]] = []
    agreed: list[dict[str, Any]] = []
    took = None
    for name in given.sets:
        data, explained = written(given.data, name, given.folder / name)
        artifacts: dict[str, Path] = {}
        for method in given.methods:
            several = "agreement" in given.only and method != "tfidf"
            for seed in range(given.seeds if several else 1):
                artifacts[f"{method}_{seed}"] = trained(given, name, method, seed, data)
            if "table" in given.only:
                rows += tested(given, name, method, artifacts[f"{method}_0"], explained)
        if "agreement" in given.only:
            agreed += agreement(given, name, artifacts, explained)
        if "time" in given.only and "lora_0" in artifacts and took is None:
            took = timed(artifacts["lora_0"], given.base, given.rounds)
            print(took, flush=True)
    print(json.dumps({"benchmark": "explain", "rows": rows, "agreement": agreed, "time": took}))


if __name__ == "__main__":
    main()
