"""The bank against PEFT: rows of one batch under 32 LoRA adapters, read and written; choosing, loading, a thousand.

    python tests/benchmarks/mixed_batch.py                        # all, some ten minutes
    python tests/benchmarks/mixed_batch.py --only throughput
    python tests/benchmarks/mixed_batch.py --only memory --adapters 200

The bare base is `AutoModel` with its fastest attention in inference mode: same dtype, threads and tokens, no padding.
It, the bank and PEFT take turns, so that all three see the same machine. Run it with nothing else on the machine.
Prints lines as it goes and one JSON line last.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import transformers
from safetensors.torch import save_file

from adapters.artifacts import artifact
from adapters.core.processes import use_all_cores
from adapters.data.tag_schemes import tag_labels
from adapters.models.base_model import Base, open_base
from adapters.models.layers import layer_size, linear_layers
from adapters.models.quantization import head_modules
from adapters.serving.bank.bank import AdapterBank
from adapters.tasks.ner import Task

ROWS = ADAPTERS = TOKENS = 32
TARGETS = {"all linear": [], "query and value": ["query", "value"]}
TYPES = ("PER", "LOC", "ORG", "MISC")


def layers_of(body: Any, wanted: Sequence[str]) -> dict[str, Any]:
    """The encoder's linear layers, or those whose names end so."""
    found = {name: layer for name, layer in linear_layers(body, ()).items() if "pooler" not in name}
    return {name: layer for name, layer in found.items() if not wanted or name.rsplit(".", 1)[-1] in wanted}


def write_adapter(folder: Path, base: Base, layers: dict[str, Any], rank: int, seed: int, wanted: list[str]) -> Path:
    """A LoRA artifact with random tensors, as a run would have left it."""
    generator = torch.Generator().manual_seed(seed)
    task = Task(tag_labels(TYPES))
    auto_class = task.auto_class(base.kind)
    body = getattr(transformers, auto_class)._model_mapping[type(base.config)].base_model_prefix
    head = next(name for name in head_modules(auto_class, base.config) if "." not in name and name != "dropout")
    tensors = {}
    for name, layer in layers.items():
        into, out = layer_size(layer)
        tensors[f"base_model.model.{body}.{name}.lora_A.weight"] = torch.randn(rank, into, generator=generator) * 0.05
        tensors[f"base_model.model.{body}.{name}.lora_B.weight"] = torch.randn(out, rank, generator=generator) * 0.05
    hidden = base.config.hidden_size
    tensors[f"base_model.model.{head}.weight"] = torch.randn(len(task.labels), hidden, generator=generator)
    tensors[f"base_model.model.{head}.bias"] = torch.randn(len(task.labels), generator=generator)
    targets = wanted or sorted({name.rsplit(".", 1)[-1] for name in layers})
    config = {"peft_type": "LORA", "task_type": "TOKEN_CLS", "r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0,
              "target_modules": targets, "modules_to_save": [head], "bias": "none",
              "base_model_name_or_path": base.name, "inference_mode": True}  # fmt: skip
    settings = {"lora_r": rank, "lora_alpha": 2.0 * rank, "lora_target_modules": targets}
    card = {
        "task": task.card(), "method": {"name": "lora", "library": "peft", "settings": settings}, "max_length": 256,
        "label_digest": task.labels.digest,
        "base": base.digests(),
    }  # fmt: skip

    def fill(draft: Path) -> None:
        save_file(tensors, draft / "adapter_model.safetensors", metadata={"format": "pt"})
        (draft / "adapter_config.json").write_text(json.dumps(config))

    artifact.write(folder, fill, card, "# An adapter\n")
    return folder


def alternate(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of each of some functions, called in turn: the median over the rounds, the first one left out."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, function in work.items():
            begin = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(found[1:]) for name, found in times.items()}


def peft_model(base: Base, folders: Sequence[Path], dtype: torch.dtype) -> Any:
    """The headless base with all the adapters, by PEFT."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file
    from transformers import AutoModel

    model: Any = AutoModel.from_pretrained(base.folder, dtype=dtype)
    told = json.loads((folders[0] / "adapter_config.json").read_text())
    # By their whole names: the pooler's last part is that of other layers.
    targets = [name for name in layers_of(model, ()) if name.rsplit(".", 1)[-1] in told["target_modules"]]
    config = LoraConfig(r=told["r"], lora_alpha=told["lora_alpha"], target_modules=targets)
    model = get_peft_model(model, config, adapter_name="a0")
    for number, folder in enumerate(folders):
        if number:
            model.add_adapter(f"a{number}", config)
        read = load_file(folder / "adapter_model.safetensors").items()
        saved = {name.replace(".model.bert.", ".model."): tensor for name, tensor in read if "lora" in name}
        set_peft_model_state_dict(model, saved, adapter_name=f"a{number}")
    return model.to(dtype).eval()


def contenders(base: Base, folders: Sequence[Path], dtype: str) -> dict[str, Callable[[], Any]]:
    """Last hidden states of the same rows by the bare base, the bank, PEFT's mixed batch and PEFT's set_adapter.

    Each row is under an adapter of its own.
    """
    number = len(folders)
    from transformers import AutoModel

    ids = torch.randint(
        base.config.vocab_size // 2,
        base.config.vocab_size,
        (number, TOKENS),
        generator=torch.Generator().manual_seed(0),
    )
    rows, names = ids.tolist(), [f"a{i}" for i in range(number)]
    bank = AdapterBank(str(base.folder), capacity=number, dtype=dtype)
    for name, folder in zip(names, folders, strict=True):
        bank.load(name, folder)
    with bank.lease(*names) as leased:
        slots = [leased[name].resident.slot for name in names]
    bare = AutoModel.from_pretrained(base.folder, dtype=getattr(torch, dtype)).eval()
    peft = peft_model(base, folders, getattr(torch, dtype))

    def one_by_one() -> Any:
        out = []
        for i, name in enumerate(names):
            peft.set_adapter(name)
            out.append(peft(input_ids=ids[i : i + 1]).last_hidden_state)
        return torch.cat(out)

    return {
        "bare": torch.inference_mode()(lambda: bare(input_ids=ids).last_hidden_state),
        "bank": lambda: bank.mixed.run(rows, slots).states,
        "peft": torch.inference_mode()(lambda: peft(input_ids=ids, adapter_names=names).last_hidden_state),
        "set_adapter": torch.inference_mode()(one_by_one),
    }


def throughput(base: Base, root: Path, rounds: int, rows: int) -> list[dict[str, Any]]:
    """Rows a second, as shares of the bare base's."""
    found = []
    body = base.load_body()
    for (label, wanted), dtype in itertools.product(TARGETS.items(), ("float32", "bfloat16")):
        folders = [root / f"{label}-{i}" for i in range(rows)]
        for i, folder in enumerate(folders):
            if not folder.exists():
                write_adapter(folder, base, layers_of(body, wanted), 8, i, wanted)
        work = contenders(base, folders, dtype)
        apart = float((work["bank"]() - work["peft"]()).abs().max())
        seconds = alternate(work, rounds)
        shares = {f"{kind}_of_bare": round(seconds["bare"] / seconds[kind], 3) for kind in work if kind != "bare"}
        row = {
            "targets": label, "dtype": dtype, "bare_rows_per_second": round(rows / seconds["bare"], 1), **shares,
            "bank_over_peft": round(seconds["peft"] / seconds["bank"], 2), "largest_difference": apart,
        }  # fmt: skip
        found.append(row)
        print(row, flush=True)
        del work
        gc.collect()
    return found


def writing(causal: str, root: Path, rounds: int, rows: int, length: int) -> dict[str, Any]:
    """Texts continued greedily, each under its own adapter: `bank.generate`, and stock PEFT's `generate` in a loop.

    The adapters are drawn, and small enough for the texts to differ without being noise.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from adapters.models.continuation import Sampling

    base = open_base(causal)
    model: Any = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    config = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    names = [f"a{number}" for number in range(rows)]
    model = get_peft_model(model, config, adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, config)
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = 0.02 * torch.randn(weight.shape, generator=generator)
    model = model.eval()
    model.save_pretrained(root / "writers")
    bank = AdapterBank(str(base.folder), capacity=rows, dtype="float32")
    for name in names:
        bank.load(name, root / "writers" / name, task="text_generation")
    tokenizer = base.tokenizer
    texts = [f"Once upon a time, a {TYPES[n % 4].lower()} called {n} went to the" for n in range(rows)]
    requests = [{"adapter": name, "inputs": text} for name, text in zip(names, texts, strict=True)]
    sampling = Sampling(max_new_tokens=length)

    def ours() -> list[str]:
        return [answer["output"]["completion"] for answer in bank.generate(requests, sampling)]

    @torch.inference_mode()
    def loop() -> list[str]:
        found = []
        for name, text in zip(names, texts, strict=True):
            model.set_adapter(name)
            given = tokenizer(text, return_tensors="pt")
            out = model.generate(**given, max_new_tokens=length, do_sample=False, pad_token_id=tokenizer.pad_token_id)
            found.append(tokenizer.decode(out[0, given["input_ids"].shape[1] :], skip_special_tokens=True))
        return found

    same = sum(one == other for one, other in zip(ours(), loop(), strict=True))
    seconds = alternate({"bank": ours, "loop": loop}, rounds)
    row = {
        "rows": rows,
        "new_tokens": length,
        "same_texts": same,
        "bank_texts_per_second": round(rows / seconds["bank"], 2),
        "bank_over_loop": round(seconds["loop"] / seconds["bank"], 2),
    }
    print(row, flush=True)
    return row


def choosing(base: Base, root: Path, most: int) -> dict[str, Any]:
    """Microseconds to get from an adapter's name to what a batch needs of it, with so many loaded."""
    bank = AdapterBank(str(base.folder), capacity=most)
    layers = layers_of(bank.mixed.body, ["query"])
    folder = write_adapter(root / "small", base, layers, 4, 0, ["query"])
    steps = [n for n in (1, 10, 100, 1000) if n <= most]
    found: dict[str, Any] = {}
    for number in range(most):
        bank.load(f"a{number}", folder)
        if number + 1 not in steps:
            continue
        names = [f"a{i % (number + 1)}" for i in range(0, 7000, 7)]
        times = []
        for _ in range(9):
            begin = time.perf_counter()
            for name in names:
                with bank.lease(name) as leased:
                    np.asarray([leased[name].resident.slot])
            times.append((time.perf_counter() - begin) / len(names))
        found[str(number + 1)] = round(1e6 * statistics.median(times), 2)
    print({"choosing_microseconds": found}, flush=True)
    return found


def loading(base: Base, root: Path, times: int) -> dict[str, float]:
    """Milliseconds to load a 300 KB adapter: verified by the bank, unverified by PEFT."""
    from peft import PeftModel
    from transformers import AutoModelForTokenClassification

    bank = AdapterBank(str(base.folder), capacity=times + 1)
    layers = layers_of(bank.mixed.body, ["query", "value"])
    folders = [write_adapter(root / f"load-{i}", base, layers, 8, i, ["query", "value"]) for i in range(times + 1)]
    size = sum(path.stat().st_size for path in folders[0].iterdir())
    transformers.logging.set_verbosity_error()
    headed = AutoModelForTokenClassification.from_pretrained(base.folder, num_labels=len(tag_labels(TYPES)))
    peft = PeftModel.from_pretrained(headed, folders[0], adapter_name="a0")
    bank.load("a0", folders[0])  # the base's digest, and the head's class
    ours, theirs = [], []
    for number, folder in enumerate(folders[1:], 1):
        begin = time.perf_counter()
        bank.load(f"a{number}", folder)
        middle = time.perf_counter()
        peft.load_adapter(folder, adapter_name=f"a{number}")
        ours.append(middle - begin)
        theirs.append(time.perf_counter() - middle)
    found = {"bytes": size, "bank_ms": round(1e3 * statistics.median(ours), 1),
             "peft_ms": round(1e3 * statistics.median(theirs), 1)}  # fmt: skip
    print({"loading": found}, flush=True)
    return found


def memory(base: Base, root: Path, most: int) -> dict[str, Any]:
    """Resident memory that adapters of ranks 4, 8 and 16 take in the bank, against the bytes of their files."""
    bank = AdapterBank(str(base.folder), capacity=most)
    layers = layers_of(bank.mixed.body, ())
    warm = write_adapter(root / "warm", base, layers, 8, 0, [])
    bank.load("warm", warm)
    bank.unload("warm")
    gc.collect()
    before, files = psutil.Process().memory_info().rss, 0
    for number in range(most):
        folder = write_adapter(root / "one", base, layers, (4, 8, 16)[number % 3], number, [])
        files += sum(path.stat().st_size for path in folder.iterdir())
        bank.load(f"a{number}", folder)
    gc.collect()
    grown = psutil.Process().memory_info().rss - before
    found = {"adapters": most, "files_mb": round(files / 1e6, 1), "grown_mb": round(grown / 1e6, 1),
             "ratio": round(grown / files, 3)}  # fmt: skip
    print({"memory": found}, flush=True)
    return found


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("memory", "throughput", "choosing", "loading", "writing")
    parser.add_argument("--only", nargs="*", choices=parts, default=parts)
    parser.add_argument("--rounds", type=int, default=20, help="of the throughput, and of loading")
    parser.add_argument("--adapters", type=int, default=1000, help="that choosing and memory go up to")
    parser.add_argument("--rows", type=int, default=ROWS, help="of the throughput, each under an adapter of its own")
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--causal", default="smollm2", help="base that writes")
    parser.add_argument("--new_tokens", type=int, default=48, help="that it writes after each text")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    use_all_cores()
    base = open_base(given.base)
    found: dict[str, Any] = {"benchmark": "mixed_batch", "threads": torch.get_num_threads()}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        work = {
            "throughput": lambda: throughput(base, root, given.rounds, given.rows),
            "choosing": lambda: choosing(base, root, given.adapters),
            "loading": lambda: loading(base, root, given.rounds),
            "writing": lambda: writing(given.causal, root, min(given.rounds, 3), given.rows, given.new_tokens),
            "memory": lambda: memory(base, root, given.adapters),
        }
        for part in (part for part in parts if part in given.only):  # memory first, on a fresh heap
            found[part] = work[part]()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
