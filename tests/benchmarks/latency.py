"""How long one text takes, and the first answer of the command, against the bare base and transformers' pipeline.

    python tests/benchmarks/latency.py                        # a LoRA adapter for entities on minilm, 12 words
    python tests/benchmarks/latency.py --base e5 --rounds 500
    python tests/benchmarks/latency.py --only text            # without the command

All ways to answer take turns, so that what else the machine does touches them alike. The pipeline has the model that
`taskswap merge` writes, as transformers loads it; the bare base is that model's body on the same tokens. The command's
time is beside that of Python importing torch and the base's class, and reading its weights. Run it with nothing else on
the machine. Prints a Markdown table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench

TEXT = "Angela Merkel visited Paris with Emmanuel Macron and Olaf Scholz in June ."


def adapter(base: str, folder: Path, more: list[str]) -> Path:
    """A LoRA adapter for entities: what it has learned takes no time, so it learns for two steps."""
    few = ["--max_train_steps", "2", "--max_eval_samples", "8", "--max_predict_samples", "8"]
    words = ["--task", "ner", "--method", "lora", "--model_name_or_path", base, "--output_dir", str(folder), *few]
    bench.command("-m", "adapters", "train", *words, *more)
    return folder / "artifact"


def quantiles(seconds: list[float], skipped: int) -> tuple[float, float]:
    """The median and the 95th percentile in milliseconds, after the first rounds."""
    kept = sorted(seconds[skipped:])
    return 1000 * kept[len(kept) // 2], 1000 * kept[int(0.95 * len(kept))]


def one_text(base: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds of one text, by each way to answer."""
    import torch
    import transformers

    import adapters

    loaded: Any = adapters.load(folder, base=base, device="cpu")
    bank = adapters.AdapterBank(base, device="cpu")
    bank.load("ner", folder)
    merged = folder.parent / "merged"
    bench.command("-m", "adapters", "merge", str(folder), "--output_dir", str(merged), "--base", base)
    model = transformers.AutoModelForTokenClassification.from_pretrained(merged).eval()
    tokenizer = loaded.predictor.base.tokenizer
    body, ids = model.base_model, tokenizer(TEXT, return_tensors="pt")["input_ids"]
    stock = transformers.pipeline("token-classification", model=model, tokenizer=tokenizer, device="cpu")

    def bare() -> None:
        with torch.inference_mode():
            body(input_ids=ids)

    ways: dict[str, Callable[[], Any]] = {
        "bare base": bare,
        "load(…)(text)": lambda: loaded(TEXT),
        "bank": lambda: bank.predict([adapters.Request("ner", TEXT)]),
        "transformers' pipeline": lambda: stock(TEXT),
    }
    seconds = bench.alternating(ways, rounds)
    found = {name: quantiles(own, rounds // 5) for name, own in seconds.items()}
    least = found["bare base"][0]
    print(f"{torch.get_num_threads()} threads\n\n| one text | ms, median | ms, p95 | × bare |\n|---|---:|---:|---:|")
    for name, (median, high) in found.items():
        print(f"| {name} | {median:.2f} | {high:.2f} | {median / least:.2f} |")
    return {name: {"median_ms": median, "p95_ms": high} for name, (median, high) in found.items()}


def first_answer(base: str, folder: Path, rounds: int) -> dict[str, float]:
    """Seconds of the command, and of Python with what it cannot do without; the best of some rounds."""
    from adapters.models.base_model import open_base

    opened = open_base(base)
    kind = f"transformers.models.{opened.config.model_type}"
    least = (
        f"import torch, {kind}, transformers; "
        f"transformers.AutoModel.from_pretrained({str(opened.folder)!r}, use_safetensors=True)"
    )
    words = {
        "command": ["-m", "adapters", "predict", str(folder), TEXT, "--base", base],
        "imports and weights": ["-c", least],
    }
    seconds: dict[str, list[float]] = {name: [] for name in words}
    for _ in range(rounds):
        for name, command in words.items():
            begin = time.perf_counter()
            bench.command(*command)
            seconds[name].append(time.perf_counter() - begin)
    found = {name: round(min(own), 2) for name, own in seconds.items()}
    print(f"\n`taskswap predict`: {found['command']} s; imports and weights alone: {found['imports and weights']} s")
    return found


def main() -> None:
    """Train for two steps, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--only", choices=["text", "command"])
    parser.add_argument("--rounds", type=int, default=300, help="of each way to answer")
    parser.add_argument("--commands", type=int, default=5, help="rounds of the command")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="last: flags of the training")
    given = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "latency", "base": given.base}
    with tempfile.TemporaryDirectory() as temporary:
        folder = adapter(given.base, Path(temporary) / "run", given.more)
        if given.only != "command":
            result["text"] = one_text(given.base, folder, given.rounds)
        if given.only != "text":
            result["command"] = first_answer(given.base, folder, given.commands)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
