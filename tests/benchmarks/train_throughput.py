"""How many tokens a second are learned from, beside transformers' Trainer with PEFT; and what a dry run says of a run.

    python tests/benchmarks/train_throughput.py                    # some 25 minutes on two cores
    python tests/benchmarks/train_throughput.py --only lora --rounds 3
    python tests/benchmarks/train_throughput.py --only dry_run      # three settings, run for real after their estimate
    python tests/benchmarks/train_throughput.py --only shapes       # padding, and sizes of products, in our batches
    python tests/benchmarks/train_throughput.py --only quality      # F1 of both ways over seeds, some 15 minutes

minilm on WNUT-17, named entities: LoRA of rank 8 on query and value, and full fine-tuning. Ours takes its defaults
(batches of 1,024 tokens by length, the precision that this machine multiplies faster in). Trainer takes batches of 32,
once at its defaults (fp32, random batches) and once at its best (bf16, batches grouped by length). All count the tokens
of the texts, padding left out; each takes its turn in every round, on a fresh model; the first steps are not counted.
The last line is one of JSON. Run it with nothing else on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench
import torch

WARM = 5
"""Steps before the clock starts."""
ASKED = {"lora": (3.0, 1.3), "lora_all": (3.0, 1.3), "full": (2.3, 1.2)}
"""Times as fast as transformers' Trainer by default, and at its best."""
LORA = {"lora": (8, ["query", "value"]), "lora_all": (12, ["query", "key", "value", "dense"])}
"""Ranks and layers; of the second those are all linear layers of a BERT's body."""
KINDS = ("trainer", "trainer_best")
WAYS = {"fp32": "fp32, random batches of 32", "bf16": "bf16, batches by length"}
PARTS = ("lora", "lora_all", "full", "shapes", "dry_run", "quality")


class Setting:
    """The task, its data and the base, read once."""

    def __init__(self, folder: str, base: str) -> None:
        from adapters.core import arguments as flags
        from adapters.core.settings import CommonSettings, join
        from adapters.models.base_model import open_base, quiet_libraries
        from adapters.tasks.base import examples
        from adapters.tasks.ner import Settings

        quiet_libraries()
        self.folder = folder
        given = flags.parse(join(CommonSettings, Settings), {}, "", ["--dataset_name", folder])
        self.task, data, _ = examples.read_splits("ner", given)
        self.train, self.base = data["train"], open_base(base)

    def method(self, name: str, precision: str) -> Any:
        """The method, and its settings."""
        from adapters.core import discovery
        from adapters.core.settings import CommonSettings, join
        from adapters.methods.base.method import load_method

        own: dict[str, Any] = {}
        if name in LORA:
            rank, layers = LORA[name]
            own = {"lora_r": rank, "lora_target_modules": layers}
            name = "lora"
        kind = join(CommonSettings, discovery.load("methods", name).Settings)
        settings = kind(dataset_name=self.folder, mixed_precision=precision, **own)
        return load_method(name)(settings), settings


def shapes(setting: Setting) -> dict[str, Any]:
    """The share of padding in the batches of an epoch, which is all that batches without padding could save, and how
    many sizes their products have, for each of which the library of products makes a kernel."""
    from adapters.training.train_dataset import TrainDataset

    method, settings = setting.method("lora", "no")
    budget = method.budget(setting.base, settings.max_length)
    dataset = TrainDataset(setting.train, setting.task, setting.base, settings, budget=budget)
    sizes, tokens = [], 0
    for batch in dataset.batches(0, 1):
        lengths = [dataset.lengths[row] for row in batch]
        sizes.append(max(lengths) * len(lengths))
        tokens += sum(lengths)
    found = {"batches": len(sizes), "padding": round(1 - tokens / sum(sizes), 4), "sizes": len(set(sizes))}
    print(f"{found['batches']} batches: {found['padding']:.2%} padding, {found['sizes']} sizes", flush=True)
    return found


def ours(setting: Setting, name: str, precision: str, seconds: float) -> float:
    """Tokens a second of our loop."""
    import accelerate

    from adapters.models.precision import cast_frozen_weights
    from adapters.training.checkpoint import Checkpoints
    from adapters.training.trainer import Trainer

    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = accelerate.Accelerator(mixed_precision=precision, cpu=True)
    method, settings = setting.method(name, precision)
    model = method.wrap(setting.base, setting.task, setting.train)
    cast_frozen_weights(model, precision)
    trainer = Trainer(model, setting.task, setting.base, setting.train, settings, accelerator,
                      budget=method.budget(setting.base, settings.max_length),
                      checkpoints=Checkpoints(Path("unused"), dict, save_total_limit=1))  # fmt: skip
    trainer.model.train()
    batches = trainer.dataset.batches(0, 1)
    for batch in batches[:WARM]:
        trainer.train_step([batch])
    begin, tokens = time.perf_counter(), 0
    for batch in batches[WARM:]:
        trainer.train_step([batch])
        tokens += sum(trainer.dataset.lengths[row] for row in batch)
        if time.perf_counter() - begin > seconds:
            break
    return tokens / (time.perf_counter() - begin)


def peer(setting: Setting, name: str, best: bool, seconds: float) -> float:
    """Tokens a second of transformers' Trainer, with PEFT for LoRA."""
    import transformers
    from peft import LoraConfig, get_peft_model

    from adapters.training.train_dataset import encode_split

    labels = len(setting.task.labels)
    model = transformers.AutoModelForTokenClassification.from_pretrained(setting.base.folder, num_labels=labels)
    if name in LORA:
        rank, layers = LORA[name]
        model = get_peft_model(model, LoraConfig(task_type="TOKEN_CLS", r=rank, target_modules=layers))
    rows = encode_split(setting.train, setting.task, setting.base, 256)
    data = rows.rename_column("targets", "labels").remove_columns(["token_types", "example"])
    data = data.add_column("length", [len(row) for row in data["input_ids"]])
    collator = transformers.DataCollatorForTokenClassification(setting.base.tokenizer)
    clock = Clock(seconds)

    def counted(features: list[dict[str, Any]]) -> Any:
        clock.sizes.append(sum(len(feature["input_ids"]) for feature in features))
        return collator([{k: v for k, v in feature.items() if k != "length"} for feature in features])

    with tempfile.TemporaryDirectory() as folder:
        how: dict[str, Any] = {"bf16": True, "train_sampling_strategy": "group_by_length"} if best else {}
        arguments = transformers.TrainingArguments(
            folder, per_device_train_batch_size=32, num_train_epochs=3, use_cpu=True, report_to=[], save_strategy="no",
            logging_strategy="no", disable_tqdm=True, remove_unused_columns=False, **how,
        )  # fmt: skip

        class Timed(transformers.TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> Any:
                return clock.step(control)

        transformers.Trainer(model, arguments, train_dataset=data, data_collator=counted, callbacks=[Timed()]).train()
    return clock.rate


class Clock:
    """Counts the tokens of steps after the first ones, and stops Trainer when its time is over."""

    def __init__(self, seconds: float, warm: int = WARM) -> None:
        self.seconds, self.warm = seconds, warm
        self.sizes, self.steps, self.begin, self.rate = [], 0, 0.0, 0.0

    def step(self, control: Any) -> Any:
        """Behind each step; a batch may have been collated ahead, so steps are what counts."""
        self.steps += 1
        now = time.perf_counter()
        if self.steps == self.warm:
            self.begin = now
        elif self.steps > self.warm:
            self.rate = sum(self.sizes[self.warm : self.steps]) / (now - self.begin)
            control.should_training_stop = now - self.begin > self.seconds
        return control


def gemm() -> float:
    """GFLOP/s of a bf16 product of training's size, the best of some."""
    left, right = torch.randn(1024, 768, dtype=torch.bfloat16), torch.randn(768, 768, dtype=torch.bfloat16)
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - begin)
    return 2 * 1024 * 768 * 768 / min(times) / 1e9


def throughput(setting: Setting, name: str, rounds: int, seconds: float) -> dict[str, Any]:
    """Medians over rounds, and ratios."""
    from adapters.models.precision import fastest_precision

    precision = fastest_precision(torch.device("cpu"), "auto")
    rates: dict[str, list[float]] = {"ours": [], **{kind: [] for kind in KINDS}}
    for _ in range(rounds):
        rates["ours"].append(ours(setting, name, precision, seconds))
        for kind in KINDS:
            rates[kind].append(peer(setting, name, kind == "trainer_best", seconds))
    middle = {kind: round(statistics.median(values)) for kind, values in rates.items()}
    ratios = [round(middle["ours"] / middle[kind], 2) for kind in KINDS]
    body = sum(p.numel() for n, p in setting.base.load_body().named_parameters() if p.ndim > 1 and "embed" not in n)
    share = middle["ours"] * (4 if name in LORA else 6) * body / (1e9 * gemm())
    print(f"{name}, {precision}: {middle['ours']:,} tokens/s; Trainer {middle['trainer']:,}, at its best "
          f"{middle['trainer_best']:,}: {ratios[0]} x and {ratios[1]} x (asked: {ASKED[name][0]} x and "
          f"{ASKED[name][1]} x); {share:.0%} of the bf16 product rate", flush=True)  # fmt: skip
    return {"method": name, "precision": precision, **middle, "ratios": ratios, "asked": ASKED[name],
            "share_of_gemm": round(share, 3)}  # fmt: skip


def peaks(folder: str, base: str, name: str, seconds: float) -> dict[str, int]:
    """The most memory of each side in MiB, each in a process of its own that learns for some seconds."""
    found = {}
    for who in ("ours", *KINDS):
        words = ["--peak", name, who, "--data", folder, "--base", base, "--seconds", str(seconds)]
        done = bench.command(__file__, *words)
        found[who] = int(done.stdout.split()[-1])
    print(f"{name}: at most {found['ours']:,} MiB; Trainer {found['trainer']:,}, at its best {found['trainer_best']:,}",
          flush=True)  # fmt: skip
    return found


RUNS = {
    "lora": ["lora_ner", "--num_train_epochs", "2"],
    "full": ["full_ner", "--num_train_epochs", "1"],
    "prefix, batches of 16": ["prefix_ner", "--num_train_epochs", "1", "--per_device_train_batch_size", "16"],
}


def dry_runs(folder: str, runs: Sequence[str], more: Sequence[str]) -> list[dict[str, Any]]:
    """What is estimated, beside what it is: seconds of training and scoring, and the most memory."""
    out = []
    for title in runs:
        recipe, *flags = RUNS[title]
        with tempfile.TemporaryDirectory() as place:
            given = [f"recipes/{recipe}.py", "--dataset_name", folder, "--output_dir", f"{place}/run", *flags, *more]
            said = bench.command(*given, "--dry_run")
            told = next(line for line in said.stdout.splitlines() if line.startswith("time"))
            memory = next(line for line in said.stdout.splitlines() if line.startswith("memory"))
            begin = time.perf_counter()
            bench.command(*given)
            whole = time.perf_counter() - begin
            record = json.loads(Path(f"{place}/run/scores.json").read_text())
        found = {"run": title, "told": told, "seconds": record["seconds"], "whole": round(whole, 1),
                 "training": record["training"]["seconds"], "memory_told": float(memory.split()[2]),
                 "memory": round(record["cost"]["peak_memory_bytes"] / 2**30, 2)}  # fmt: skip
        print(f"{title}: {told}; it took {record['seconds']} s, {found['training']} of them training; memory "
              f"{found['memory_told']} told, {found['memory']} GiB", flush=True)  # fmt: skip
        out.append(found)
    return out


def learn(name: str, seed: str, how: str, folder: str, out: str, more: Sequence[str]) -> None:
    """A whole run: as it is made by default in bf16, or in fp32 on batches of 32 examples drawn at random."""
    import random

    from adapters.cli.main import main
    from adapters.training.train_dataset import TrainDataset

    def drawn(self: TrainDataset, epoch: int, processes: int) -> list[list[int]]:
        rows = [*range(len(self.lengths))]
        random.Random(f"{self.settings.seed}/{epoch}").shuffle(rows)
        return [rows[i : i + 32] for i in range(0, len(rows), 32)]

    if how == "fp32":
        TrainDataset.batches = drawn  # type: ignore[method-assign]
    flags = ["--task", "ner", "--method", name, "--seed", seed, "--dataset_name", folder, "--output_dir", out]
    main(["train", *flags, "--mixed_precision", "no" if how == "fp32" else "bf16", *more])


def quality(folder: str, methods: Sequence[str], seeds: int, more: Sequence[str]) -> list[dict[str, Any]]:
    """Entity F1 of whole runs, three epochs, by both ways of computing a step."""
    out = []
    for name in methods:
        for how in ("fp32", "bf16"):
            scores = []
            for seed in range(seeds):
                with tempfile.TemporaryDirectory() as place:
                    bench.command(__file__, "--learn", name, str(seed), how, folder, f"{place}/run", "--more", *more)
                    record = json.loads(Path(f"{place}/run/scores.json").read_text())
                scores.append(round(100 * record["main"]["value"], 2))
            found = {"method": name, "how": how, "test_f1": scores, "mean": round(statistics.mean(scores), 2),
                     "sd": round(statistics.stdev(scores), 2) if seeds > 1 else 0.0}  # fmt: skip
            print(f"{name}, {WAYS[how]}: {found['mean']} ± {found['sd']} ({scores})", flush=True)
            out.append(found)
    return out


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", type=int, default=3, help="of the quality")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each turn")
    parser.add_argument("--data", default=str(bench.DATA / "wnut17"), help="folder of wnut17, or an alias")
    parser.add_argument(
        "--base", default="minilm", help="of the speed; a run is of its recipe's unless --more names one"
    )
    parser.add_argument(
        "--methods", nargs="*", choices=("lora", "full"), default=("lora", "full"), help="of the quality"
    )
    parser.add_argument("--runs", nargs="*", choices=tuple(RUNS), default=tuple(RUNS), help="of dry_run")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="last: further flags of every run")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--learn", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.learn:
        learn(*given.learn, given.more)
        return
    from adapters.core.processes import use_all_cores

    use_all_cores()
    setting = Setting(bench.dataset(given.data), given.base)
    if given.peak:
        from adapters.core.memory import peak_bytes
        from adapters.models.precision import fastest_precision

        name, who = given.peak
        if who == "ours":
            ours(setting, name, fastest_precision(torch.device("cpu"), "auto"), given.seconds)
        else:
            peer(setting, name, who == "trainer_best", given.seconds)
        print(peak_bytes(torch.device("cpu")) >> 20)
        return
    found = [throughput(setting, name, given.rounds, given.seconds) for name in ASKED if name in given.only]
    most = {
        name: peaks(setting.folder, given.base, name, min(10.0, given.seconds)) for name in ASKED if name in given.only
    }
    formed = shapes(setting) if "shapes" in given.only else {}
    runs = dry_runs(setting.folder, given.runs, given.more) if "dry_run" in given.only else []
    f1 = quality(setting.folder, given.methods, given.seeds, given.more) if "quality" in given.only else []
    print(json.dumps({"benchmark": "train_throughput", "threads": torch.get_num_threads(), "speed": found,
                      "peak_mib": most, "shapes": formed, "dry_runs": runs, "quality": f1}))  # fmt: skip


if __name__ == "__main__":
    main()
