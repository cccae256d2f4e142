"""What exports cost and gain: time, quality in int8, the runtime's start, size and memory, several adapters in a file.

    python tests/benchmarks/export.py                       # trains two LoRA adapters on minilm, then all parts
    python tests/benchmarks/export.py --only speed many     # quick adapters suffice: add --more --max_train_steps 2
    python tests/benchmarks/export.py --only size           # installs the runtime from PyPI into an empty folder

Ways to answer are measured one after the other, in passes, and are not in memory together. Run it with nothing else on
the machine. Prints a Markdown table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench

PARTS = ("speed", "quality", "start", "many", "size")
TEXT = "Angela Merkel visited Paris with Emmanuel Macron and Olaf Scholz in June ."
RANK = 8
RUNS = """
import json, sys, time
begin = time.perf_counter()
if sys.argv[1] == "torch":
    import adapters
    model = adapters.load(sys.argv[2], device="cpu", **({"base": sys.argv[4]} if len(sys.argv) > 4 else {}))
else:
    import taskswap_runtime
    imported = time.perf_counter() - begin
    model = taskswap_runtime.load(sys.argv[2])
model(sys.argv[3])
seconds = time.perf_counter() - begin
lines = open("/proc/self/status").read().splitlines()  # getrusage counts what the process had before exec
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
print(json.dumps({"seconds": seconds, "import": locals().get("imported", 0.0), "peak_mb": peak}))
"""


def train(given: argparse.Namespace, task: str, flags: list[str]) -> Path:
    """A LoRA adapter, trained unless it is there."""
    folder = given.folder / task
    recipe = f"recipes/lora_{'ner' if task == 'ner' else 'classification'}.py"
    words = [recipe, "--model_name_or_path", given.base, "--lora_r", str(RANK), "--lora_alpha", str(2 * RANK), *flags]
    bench.kept(folder, *words, *given.more)
    return folder / "artifact"


def exported(given: argparse.Namespace, name: str, *words: str) -> Path:
    """An export, written unless it is there."""
    folder: Path = given.folder / name
    if not folder.exists():
        base = [] if given.base == "minilm" else ["--base", given.base]
        bench.command("-m", "adapters", "export", *words, "--format", "onnx", "--output_dir", str(folder), *base)
    return folder


def in_int8(given: argparse.Namespace, name: str, artifact: Path) -> Path:
    """The export in int8, scored on the whole test split."""
    return exported(given, f"{name}_scored", str(artifact), "--quantize", "int8", *given.tests[name])


def exports(given: argparse.Namespace, ner: Path) -> tuple[Path, Path]:
    """The exports of the adapter for entities in fp32 and in int8."""
    return exported(given, "onnx", str(ner)), in_int8(given, "ner", ner)


def speed(given: argparse.Namespace, ner: Path) -> dict[str, Any]:
    """Milliseconds of one text and of a batch of 32, by torch, by both exports, and by transformers alone."""
    import torch
    import transformers

    from adapters.artifacts import loading, runtime
    from adapters.artifacts.runtime.predictor import has_vnni

    full, small = exports(given, ner)
    loaded: Any = loading.load(ner, base=None if given.base == "minilm" else given.base, device="cpu", dtype="float32")
    predictor = loaded.predictor

    batches = {rows: torch.tensor([predictor.base.tokenizer(TEXT)["input_ids"]] * rows) for rows in (1, 32)}

    def bare() -> Callable[[list[str]], None]:
        model = transformers.AutoModelForTokenClassification.from_pretrained(
            predictor.base.folder, num_labels=predictor.model.config.num_labels
        ).eval()

        def run(texts: list[str]) -> None:
            with torch.inference_mode():
                model(input_ids=batches[len(texts)])

        return run

    ways: dict[str, Callable[[], Any]] = {
        "bare": bare,
        "torch": lambda: loaded,
        "onnx": lambda: runtime.load(full),
        "int8": lambda: runtime.load(small),
    }
    found: dict[str, Any] = {"vnni": has_vnni(), "threads": torch.get_num_threads()}
    for rows in (1, 32):
        found[f"rows_{rows}"] = in_passes(
            ways, [TEXT] * rows, given.rounds if rows == 1 else given.rounds // 5 + 2, given.passes
        )
    print(
        "| measured | bare | torch | onnx | int8 | onnx, × torch | int8, × torch |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for rows in (1, 32):
        ms = found[f"rows_{rows}"]
        ratios = " | ".join(f"{ms['torch'] / ms[name]:.2f}" for name in ("onnx", "int8"))
        shown = " | ".join(f"{ms[name]:.2f}" for name in ("bare", "torch", "onnx", "int8"))
        print(f"| {rows} × 12 words, ms | {shown} | {ratios} |")
    found["bytes"] = {
        name: (folder / "model.onnx").stat().st_size for name, folder in (("onnx", full), ("int8", small))
    }
    return found


def in_passes(ways: dict[str, Callable[[], Any]], texts: list[str], rounds: int, passes: int) -> dict[str, float]:
    """Median milliseconds of each way, made, measured and let go one after the other, in several passes.

    They are never in memory together: the threads of an ONNX Runtime session spin for a while after each answer, and
    torch's would wait for the cores.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    gc.collect()
    gc.freeze()  # so that the collections below look through what a way has made, and nothing else
    for _ in range(passes):
        for name, make in ways.items():
            way = make()
            for number in range(rounds // passes + 4):
                begin = time.perf_counter()
                way(texts)
                if number >= 3:
                    times[name].append(1000 * (time.perf_counter() - begin))
            del way
            gc.collect()
    return {name: round(statistics.median(own), 2) for name, own in times.items()}


def quality(given: argparse.Namespace, artifacts: dict[str, Path]) -> dict[str, Any]:
    """The main score in fp32 and in int8 on the whole test split, in points."""
    found = {}
    for name, folder in artifacts.items():
        out = in_int8(given, name, folder)
        scored = json.loads((out / "card.json").read_text())["export"]["quantize"]["scored"]
        before, after = 100 * scored["before"], 100 * scored["value"]
        found[name] = {"metric": scored["metric"], "n": scored["n"], "fp32": before, "int8": after}
        scores = f"{before:.2f} in fp32, {after:.2f} in int8 ({after - before:+.2f})"
        print(f"{name}: {scored['metric']} {scores}, n = {scored['n']}")
    return found


def start(given: argparse.Namespace, ner: Path) -> dict[str, Any]:
    """Seconds from the start of Python's own code to the first answer, and the peak of memory; the best of some."""
    full, small = exports(given, ner)
    tree = given.folder / "tree"
    bench.command(str(bench.REPOSITORY / ".ci" / "build_runtime.py"), "--tree", str(tree))
    base = [] if given.base == "minilm" else [given.base]
    ways = {
        "torch": ["torch", str(ner), TEXT, *base],
        "onnx": ["onnx", str(full), TEXT],
        "int8": ["onnx", str(small), TEXT],
    }
    alone = {**os.environ, "PYTHONPATH": str(tree)}
    kept: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(given.starts):
        for name, words in ways.items():
            done = bench.command("-c", RUNS, *words, environment=None if name == "torch" else alone)
            kept[name].append(json.loads(done.stdout.splitlines()[-1]))
    found = {name: {key: round(min(one[key] for one in own), 3) for key in own[0]} for name, own in kept.items()}
    for name, best in found.items():
        seconds = f"first answer after {best['seconds']:.2f} s (import {best['import']:.2f})"
        print(f"{name}: {seconds}, peak {best['peak_mb']:.0f} MB")
    return found


def many(given: argparse.Namespace, artifacts: dict[str, Path]) -> dict[str, Any]:
    """Milliseconds of one text by a graph of one merged model, and by one with several adapters of rank 8."""
    from adapters.artifacts import runtime

    single = exported(given, "onnx", str(artifacts["ner"]))
    pairs = [f"{name}={folder}" for name, folder in artifacts.items()]
    folder = exported(given, "many", "--adapters", *pairs)
    ways: dict[str, Callable[[], Any]] = {
        "single": lambda: runtime.load(single),
        "many": lambda: runtime.load(folder, "ner"),
    }
    ms = in_passes(ways, [TEXT], given.rounds, given.passes)
    ratio = ms["many"] / ms["single"]
    print(f"single {ms['single']} ms, with {len(pairs)} adapters as inputs {ms['many']} ms: {ratio:.2f} ×")
    sizes = {path.stem: path.stat().st_size for path in (folder / "adapters").iterdir()}
    return {**ms, "ratio": round(ratio, 3), "adapter_bytes": sizes}


def size(given: argparse.Namespace) -> dict[str, Any]:
    """Megabytes of the runtime with all that it brings, as pip installs it into an empty folder."""
    wheel, site = given.folder / "dist", given.folder / "site"
    if not site.exists():
        bench.command(str(bench.REPOSITORY / ".ci" / "build_runtime.py"), str(wheel))
        bench.command("-m", "pip", "install", "-q", "--target", str(site), *map(str, wheel.glob("*.whl")))
    each: dict[str, float] = {}
    for path in site.iterdir():
        files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
        each[path.name] = round(sum(one.stat().st_size for one in files) / 1e6, 1)
    total = round(sum(each.values()), 1)
    largest = sorted(each.items(), key=lambda one: -one[1])[:8]
    print(f"installed: {total} MB ({', '.join(f'{name} {mb}' for name, mb in largest)})")
    return {"megabytes": total, "parts": each}


def main() -> None:
    """Train, export, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--data", type=Path, default=bench.DATA, help="folder of the datasets")
    parser.add_argument("--conll", default="conll2003", help="folder or alias of CoNLL-2003")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("runs/export_benchmark"),
        help="of runs and exports: kept, and taken up again",
    )
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--passes", type=int, default=3, help="in which the rounds are measured")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="last: flags of the trainings")
    given = parser.parse_args()
    given.folder = given.folder.resolve()
    sst2 = {name: str(given.data / "sst2" / f"stsa.binary.{name}") for name in ("train", "dev", "test")}
    given.tests = {"ner": ["--dataset_name", given.conll], "sst2": ["--test_file", sst2["test"]]}
    result: dict[str, Any] = {"benchmark": "export", "base": given.base}
    artifacts: dict[str, Path] = {}
    if {"speed", "quality", "start", "many"} & set(given.only):
        artifacts["ner"] = train(given, "ner", ["--dataset_name", given.conll])
    if {"quality", "many"} & set(given.only):
        files = ["--train_file", sst2["train"], "--validation_file", sst2["dev"], "--test_file", sst2["test"]]
        artifacts["sst2"] = train(given, "sst2", files)
    if "speed" in given.only:
        result["speed"] = speed(given, artifacts["ner"])
    if "quality" in given.only:
        result["quality"] = quality(given, artifacts)
    if "start" in given.only:
        result["start"] = start(given, artifacts["ner"])
    if "many" in given.only:
        result["many"] = many(given, artifacts)
    if "size" in given.only:
        result["size"] = size(given)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
