"""On a GPU: LoRA on a Llama of about 1B random parameters, in bf16, 8 and 4 bits, beside Trainer; a mixed batch.

    python tests/benchmarks/llama.py                                  # some minutes on an H100
    python tests/benchmarks/llama.py --only train --bits 16 4
    python tests/benchmarks/llama.py --layers 2 --hidden 64 --tokens 256 --seconds 2 --adapters 2   # a try, on a CPU

Named entities of WNUT-17; LoRA of rank 16 on all linear layers. Ours: batches of `--tokens` by length. Trainer: batches
of 32 at random, and at its best: as many rows as ours have on average, grouped by length; the base held in bf16 (or in
8 or 4 bits), autocast in bf16. All count the tokens of the texts, padding left out; the first steps are not counted.

Utilisation counts 4 operations a token and weight that a product multiplies by: forward, and backward to the
activations, as the weights are frozen (6 for the adapters'). It is told as a share of an 8192³ product in bf16 measured
in the same run, and of the data sheet's rate where the card is known.

The mixed batch: 32 rows of so many tokens, each under an adapter of its own, beside the bare base in inference mode,
both in bf16. The last line is one of JSON. Run it with nothing else on the machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import bench
import mixed_batch
import torch
from train_throughput import Clock

DATA_SHEET = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
"""Dense bf16, TFLOP/s."""
WARM = 20
"""Steps before the clock starts, of every width that batches have: kernels are loaded when they are first asked for."""
BITS = {"16": {}, "8": {"load_in_8bit": True}, "4": {"load_in_4bit": True}}


def make_llama(folder: Path, tokenizer: str, layers: int, hidden: int) -> Path:
    """A Llama with random weights in bf16, and a tokenizer that exists."""
    import transformers

    from adapters.core.sources.resolve import resolve

    place_of = Path(tokenizer) if Path(tokenizer).is_dir() else resolve(tokenizer, "model").path
    tokens = transformers.AutoTokenizer.from_pretrained(place_of)
    heads = max(hidden // 64, 1)
    config = transformers.LlamaConfig(
        hidden_size=hidden, num_hidden_layers=layers, intermediate_size=4 * hidden, num_attention_heads=heads,
        num_key_value_heads=max(heads // 4, 1), vocab_size=len(tokens), max_position_embeddings=2048,
        pad_token_id=tokens.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(place()):
        model = transformers.LlamaForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def place() -> str:
    """Where it runs."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def wait() -> None:
    """Until the GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def fresh() -> None:
    """Forget what was held, and the most that was."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def gemm() -> float:
    """TFLOP/s of a bf16 product of 8192³ (512³ on a CPU), the median of ten."""
    size = 8192 if torch.cuda.is_available() else 512
    left, right = (torch.randn(size, size, dtype=torch.bfloat16, device=place()) for _ in range(2))
    times = []
    for _ in range(13):
        wait()
        begin = time.perf_counter()
        left @ right
        wait()
        times.append(time.perf_counter() - begin)
    return 2 * size**3 / statistics.median(times[3:]) / 1e12


class Setting:
    """The data and the base, read once."""

    def __init__(self, folder: Path, data: str, tokens: int, compiled: bool) -> None:
        from adapters.core import arguments, discovery
        from adapters.core.settings import CommonSettings, join
        from adapters.models.base_model import open_base, quiet_libraries
        from adapters.tasks.base import examples
        from adapters.tasks.ner import Settings

        quiet_libraries()
        self.kind = join(CommonSettings, Settings, discovery.load("methods", "lora").Settings)
        self.own = {"dataset_name": data, "max_tokens_per_batch": tokens, "torch_compile": compiled,
                    "lora_r": 16, "lora_alpha": 32.0}  # fmt: skip
        given = arguments.parse(join(CommonSettings, Settings), {}, "", ["--dataset_name", data])
        task, read, _ = examples.read_splits("ner", given)
        self.train, self.base = read["train"], open_base(str(folder))
        self.task = task.on(self.base.kind)


def ours(setting: Setting, bits: str, seconds: float) -> dict[str, Any]:
    """Tokens a second of our loop, its rows a batch, and the numbers that a token is multiplied by."""
    import accelerate

    from adapters.methods.base.method import load_method
    from adapters.models import quantization
    from adapters.models.compile import dynamo
    from adapters.models.precision import cast_frozen_weights
    from adapters.training.checkpoint import Checkpoints
    from adapters.training.trainer import Trainer

    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    settings = setting.kind(**setting.own, **BITS[bits])
    plugin = dynamo(settings.torch_compile, place())
    accelerator = accelerate.Accelerator(mixed_precision="bf16", cpu=place() == "cpu", dynamo_plugin=plugin)
    held = quantization.config(settings, "bf16")
    base = replace(setting.base, quantization=held, device=accelerator.device)
    method = load_method("lora")(settings)
    model = method.wrap(base, setting.task, setting.train)
    cast_frozen_weights(model, "bf16", base.config.dtype)
    if held is None:
        model.to(accelerator.device)
    trainer = Trainer(model, setting.task, base, setting.train, settings, accelerator, budget=256,
                      checkpoints=Checkpoints(Path("unused"), dict, save_total_limit=1))  # fmt: skip
    trainer.model.train()
    batches = [batch for epoch in range(60) for batch in trainer.dataset.batches(epoch, 1)]
    begin = time.perf_counter()
    for batch in batches[:WARM]:
        trainer.train_step([batch])
    wait()
    warm = time.perf_counter() - begin
    begin, tokens, steps = time.perf_counter(), 0, 0
    for batch in batches[WARM:]:
        trainer.train_step([batch])
        steps += 1
        tokens += sum(trainer.dataset.lengths[row] for row in batch)
        if time.perf_counter() - begin > seconds:
            break
    wait()
    rate = tokens / (time.perf_counter() - begin)
    frozen = sum(
        quantization.parameter_count(p) for n, p in model.named_parameters() if not p.requires_grad and "emb" not in n
    )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    rows = sum(map(len, batches)) / len(batches)
    return {"rate": rate, "rows": round(rows), "operations": 4 * frozen + 6 * trained, "steps": steps, "warm": warm}


def peer(setting: Setting, bits: str, rows: int, best: bool, seconds: float) -> float:
    """Tokens a second of transformers' Trainer with PEFT."""
    import transformers
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    from adapters.models import quantization
    from adapters.training.train_dataset import encode_split

    held = quantization.config(setting.kind(**BITS[bits]), "bf16")
    config = setting.base.config_with(setting.task.config())
    auto = "AutoModelForTokenClassification"
    how: dict[str, Any] = {"dtype": torch.bfloat16}
    if held is not None:
        how = quantization.load_options(held, torch.device(place()), auto, config)
    model = getattr(transformers, auto).from_pretrained(setting.base.folder, config=config, **how)
    if held is not None:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    lora = LoraConfig(
        task_type="TOKEN_CLS", r=16, lora_alpha=32, target_modules="all-linear", modules_to_save=["score"]
    )
    model = get_peft_model(model, lora)
    encoded = encode_split(setting.train, setting.task, setting.base, 256)
    data = encoded.rename_column("targets", "labels").remove_columns(["token_types", "example"])
    data = data.add_column("length", [len(row) for row in data["input_ids"]])
    collator = transformers.DataCollatorForTokenClassification(setting.base.tokenizer)
    clock = Clock(seconds, WARM)

    def counted(features: list[dict[str, Any]]) -> Any:
        clock.sizes.append(sum(len(feature["input_ids"]) for feature in features))
        return collator([{k: v for k, v in feature.items() if k != "length"} for feature in features])

    class Timed(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> Any:
            wait()
            return clock.step(control)

    with tempfile.TemporaryDirectory() as folder:
        sampling: dict[str, Any] = {"train_sampling_strategy": "group_by_length"} if best else {}
        arguments = transformers.TrainingArguments(
            folder, per_device_train_batch_size=rows, num_train_epochs=60, report_to=[], save_strategy="no", bf16=True,
            logging_strategy="no", disable_tqdm=True, remove_unused_columns=False, use_cpu=place() == "cpu", **sampling,
        )  # fmt: skip
        transformers.Trainer(model, arguments, train_dataset=data, data_collator=counted, callbacks=[Timed()]).train()
    return clock.rate


def fitting(setting: Setting, bits: str, rows: int, best: bool, seconds: float) -> float:
    """Trainer's, with half the rows, and half of them again, until they fit."""
    while True:
        fresh()
        try:
            return peer(setting, bits, rows, best, seconds)
        except torch.OutOfMemoryError:
            rows //= 2
            print(f"Trainer in {bits} bits: out of memory, now with {rows} rows", flush=True)


def train(setting: Setting, bits: str, seconds: float, rate: float, *, alone: bool) -> dict[str, Any]:
    """Both (or ours alone), each with the most memory that it held."""
    fresh()
    done = ours(setting, bits, seconds)
    peaks = [torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0]
    peers = []
    for rows, best in () if alone else ((32, False), (done["rows"], True)):
        peers.append(fitting(setting, bits, rows, best, seconds))
        peaks.append(torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0)
    reached = done["rate"] * done["operations"] / 1e12
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    sheet = next((value for card, value in DATA_SHEET.items() if card in name), 0.0)
    found = {
        "bits": bits, "tokens_per_second": round(done["rate"]), "rows": done["rows"], "steps": done["steps"],
        "warm_seconds": round(done["warm"], 1),
        "trainer": [round(peer) for peer in peers], "tflops": round(reached, 1),
        "ratios": [round(done["rate"] / peer, 2) for peer in peers],
        "of_product": round(reached / rate, 3), "of_data_sheet": round(reached / sheet, 3) if sheet else None,
        "peak_gib": [round(peak, 2) for peak in peaks],
    }  # fmt: skip
    print(found, flush=True)
    return found


def mixed(base: Any, adapters: int, lengths: list[int], rounds: int) -> list[dict[str, Any]]:
    """Rows a second of the bank as a share of the bare base's."""
    from transformers import AutoModel

    from adapters.serving.bank.bank import AdapterBank

    found = []
    bare = AutoModel.from_pretrained(base.folder, dtype=torch.bfloat16).to(place()).eval()
    for label, wanted in mixed_batch.TARGETS.items():
        wanted = [f"{name[0]}_proj" for name in wanted]
        bank = AdapterBank(str(base.folder), capacity=adapters, dtype="bfloat16", device=place())
        with tempfile.TemporaryDirectory() as folder:
            layers = mixed_batch.layers_of(bare, wanted)
            for i in range(adapters):
                bank.load(f"a{i}", mixed_batch.write_adapter(Path(folder) / f"{i}", base, layers, 8, i, wanted))
        names = [f"a{i % adapters}" for i in range(mixed_batch.ROWS)]
        with bank.lease(*dict.fromkeys(names)) as leased:
            slots = [leased[name].resident.slot for name in names]
        for length in lengths:
            ids = torch.randint(
                5, bare.config.vocab_size, (mixed_batch.ROWS, length), generator=torch.Generator().manual_seed(0)
            )
            on_device, rows = ids.to(place()), ids.tolist()
            work = {
                "bare": torch.inference_mode()(lambda ids=on_device: (bare(input_ids=ids), wait())),
                "bank": lambda rows=rows, bank=bank, slots=slots: (bank.mixed.run(rows, slots), wait()),
            }
            seconds = mixed_batch.alternate(work, rounds)
            found.append({"targets": label, "tokens": length, "bare_ms": round(1e3 * seconds["bare"], 2),
                          "share": round(seconds["bare"] / seconds["bank"], 3)})  # fmt: skip
            print(found[-1], flush=True)
        del bank
        fresh()
    return found


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=("train", "mixed"), default=("train", "mixed"))
    parser.add_argument("--bits", nargs="*", choices=tuple(BITS), default=tuple(BITS))
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--tokens", type=int, default=16384, help="of one of our batches")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn")
    parser.add_argument("--compile", action="store_true", help="let torch compile ours first")
    parser.add_argument("--alone", action="store_true", help="without Trainer")
    parser.add_argument("--adapters", type=int, default=mixed_batch.ADAPTERS)
    parser.add_argument("--lengths", type=int, nargs="*", default=[32, 128, 512])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--tokenizer", default="smollm2", help="model, or a folder, whose tokenizer is taken")
    parser.add_argument("--data", default=str(bench.DATA / "wnut17"), help="folder of wnut17, or an alias")
    given = parser.parse_args()
    found: dict[str, Any] = {"benchmark": "llama", "device": place(), "train": [], "mixed": []}
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    with tempfile.TemporaryDirectory() as folder:
        make_llama(Path(folder), given.tokenizer, given.layers, given.hidden)
        setting = Setting(Path(folder), bench.dataset(given.data), given.tokens, given.compile)
        found["product_tflops"] = rate = round(gemm(), 1) or 0.1
        print({"device": found["device"], "product_tflops": rate}, flush=True)
        if "train" in given.only:
            found["train"] = [train(setting, bits, given.seconds, rate, alone=given.alone) for bits in given.bits]
        if "mixed" in given.only:
            found["mixed"] = mixed(setting.base, given.adapters, given.lengths, given.rounds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
