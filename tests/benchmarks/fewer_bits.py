"""A base in 8 and in 4 bits beside bf16 and fp32: bytes held, tokens a second, and F1 of what is learnt beside it.

    python tests/benchmarks/fewer_bits.py                                   # some 40 minutes on two cores
    python tests/benchmarks/fewer_bits.py --only memory
    python tests/benchmarks/fewer_bits.py --only f1 --bases minilm --bits 16 8 --more --max_train_samples 4000

Bytes are those of all parameters and buffers of the model with a token head, as transformers counts them. F1 is of
LoRA on CoNLL-2003 at its defaults (smollm2: 2,000 sentences, 300 of dev, 500 of test, at a rate of 5e-4). Prints a line
as it goes and one JSON line last. Run it with nothing else on the machine, or `taskset -c 0` it to a core and look at
F1 alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import bench

BITS = {"32": ["--mixed_precision", "no"], "16": ["--mixed_precision", "bf16"], "8": ["--load_in_8bit"],
        "4": ["--load_in_4bit"]}  # fmt: skip
OWN = {
    "minilm": [],
    "smollm2": ["--max_train_samples", "2000", "--max_eval_samples", "300", "--max_predict_samples", "500",
                "--learning_rate", "5e-4"],
}  # fmt: skip


def held(base: str, bits: str) -> int:
    """Bytes of the base with a token head, held so; in 16 bits, frozen, all of it is in bf16."""
    import torch

    from adapters.core.settings import CommonSettings
    from adapters.data.tag_schemes import tag_labels
    from adapters.models import quantization
    from adapters.models.base_model import open_base
    from adapters.tasks.ner import Task

    flags = {"load_in_8bit": bits == "8", "load_in_4bit": bits == "4"}
    config = quantization.config(CommonSettings(**flags), "bf16")
    found = dataclasses.replace(open_base(base), quantization=config, device=torch.device("cpu"))
    task = Task(tag_labels(("PER", "LOC", "ORG", "MISC")))
    model: Any = found.load(task.auto_class(found.kind), task.config())
    if bits == "16":
        model.to(torch.bfloat16)
    return int(model.get_memory_footprint())


def learned(base: str, bits: str, given: argparse.Namespace) -> dict[str, Any]:
    """scores.json of a run in a process of its own."""
    flags = ["--task", "ner", "--method", "lora", "--model_name_or_path", base, "--seed", str(given.seed)]
    runs = None if given.folder is None else given.folder / f"{Path(base).name}-{bits}-{given.seed}"
    words = ["-m", "adapters", "train", *flags, *OWN.get(base, []), *BITS[bits], *given.more]
    return bench.recorded(*words, folder=runs)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=("memory", "f1"), default=("memory", "f1"))
    parser.add_argument("--bases", nargs="*", default=tuple(OWN), help="aliases, or folders")
    parser.add_argument("--bits", nargs="*", choices=tuple(BITS), default=tuple(BITS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept, and taken up again (default: a temporary one)")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="last: further flags of every run")
    given = parser.parse_args()
    rows = []
    for base in given.bases:
        sizes: dict[str, int] = {}
        for bits in given.bits:
            row: dict[str, Any] = {"base": base, "bits": bits}
            if "memory" in given.only:
                sizes[bits] = held(base, bits)
                row["mb"] = round(sizes[bits] / 1e6, 1)
                row |= {f"of_{other}": round(sizes[bits] / sizes[other], 3) for other in ("32", "16") if other in sizes}
            if "f1" in given.only:
                record = learned(base, bits, given)
                dev = max(epoch["score"] for epoch in record["training"]["dev_scores"])
                row |= {"dev_f1": round(100 * dev, 2), "test_f1": round(100 * record["main"]["value"], 2),
                        "tokens_per_second": round(record["cost"]["train_tokens_per_second"]),
                        "peak_gib": round(record["cost"]["peak_memory_bytes"] / 2**30, 2)}  # fmt: skip
            print(row, flush=True)
            rows.append(row)
    print(json.dumps({"benchmark": "fewer_bits", "rows": rows}))


if __name__ == "__main__":
    main()
