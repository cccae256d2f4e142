"""Damaged and foreign adapters on ours and on stock PEFT; bit flips, cuts, threads, rounds and sentences in full.

    python tests/benchmarks/faults.py                       # everything, about half an hour on one core
    python tests/benchmarks/faults.py --requests 0          # a part left out

Prints a Markdown table of the 25 and what each part found, and one JSON line last. It ends with code 1 where anything
was accepted that must not be, answered wrongly, or stuck.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "serving" / "bank" / "faults")]

import damage  # noqa: E402
import sentences  # noqa: E402
import tiny  # noqa: E402
import trials  # noqa: E402

from adapters.core.errors import UserError  # noqa: E402
from adapters.serving.bank.bank import AdapterBank  # noqa: E402

COUNTS = {"bit_flips": 10_000, "lengths": 2_000, "requests": 10_000, "rounds": 10_000, "sentences": 100_000}
HEAD = ("", "damaged or foreign", "ours, with card", "ours, without card", "stock PEFT")


# the 25 ---------------------------------------------------------------------------------------------------------------


def outcome(load: Callable[[], Any]) -> str:
    """What loading does: refused, a bare KeyError, warns, or loads silently."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            load()
        except KeyError:
            return "bare `KeyError`"
        except UserError:
            return "refused"
        except Exception as error:
            return f"raises `{type(error).__name__}`"
    told = [one for one in heard if not issubclass(one.category, FutureWarning | DeprecationWarning)]
    return "warns" if told else "**loads silently**"


def ours(bank: AdapterBank, one: damage.Damage, folder: Path, **how: Any) -> str:
    """What a bank does with a folder; where it warns, whether the warning names this damage."""

    def load() -> None:
        told = bank.load("x", folder, **how)
        bank.unload("x")
        assert not how or any(one.unchecked in what for what in told["unchecked"]), one

    found = outcome(load)
    return "warns that it is unchecked" if found == "warns" else found


def stock(kit: damage.Kit, one: damage.Damage, folder: Path) -> str:
    """What PEFT does with it, on a base with the head's labels."""
    from peft import PeftModel
    from transformers import AutoModelForTokenClassification

    names = dict(enumerate(one.labels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = AutoModelForTokenClassification.from_pretrained(
            kit.base, id2label=names, label2id={name: number for number, name in names.items()}
        )
        beside = PeftModel.from_pretrained(base, kit.sound) if one.by == "load_adapter" else None
    if beside is not None:
        return outcome(lambda: beside.load_adapter(folder, "other"))
    return outcome(lambda: PeftModel.from_pretrained(base, folder))


def table(bank: AdapterBank, kit: damage.Kit, root: Path) -> list[tuple[str, ...]]:
    """A row for each of the 25."""
    rows = []
    for one in damage.DAMAGES:
        with_card = one.make(kit, root / f"{one.number}-card", "kept")
        plain = one.make(kit, root / f"{one.number}-plain", "none")
        rows.append((
            str(one.number), one.what, ours(bank, one, with_card), ours(bank, one, plain, labels=one.labels),
            stock(kit, one, plain),
        ))  # fmt: skip
    assert not list(root.rglob("it-ran"))
    return rows


def markdown(rows: list[tuple[str, ...]]) -> str:
    """The table in Markdown."""
    lines = [" | ".join(("", *row, "")).strip() for row in (HEAD, ("--:", *("---",) * 4), *rows)]
    return "\n".join(lines)


# the rest -------------------------------------------------------------------------------------------------------------


def bit_flips(count: int, bank: AdapterBank, kit: damage.Kit, root: Path, base: str) -> dict[str, Any]:
    """Single bits anywhere in the folder."""
    accepted = trials.flip_bits(bank, kit.sound, root / "flips", count)
    return {"tried": count, "wrong": len(accepted), "first": accepted[:3]}


def lengths(count: int, bank: AdapterBank, kit: damage.Kit, root: Path, base: str) -> dict[str, Any]:
    """A tiny adapter cut at every byte of every file (of few, where few are asked), LoRA r 8 on --base at so many."""
    task = tiny.tagging(("PER",))
    small = damage.lora(root / "small", bank.base, task, lora_r=1, lora_target_modules=["query"])
    every, accepted = trials.cut_files(bank, small, root / "small-cut", count if count < 100 else None)
    real_bank = AdapterBank(base, capacity=2)
    real = damage.lora(root / "real", real_bank.base, task, lora_r=8)
    tried, more = trials.cut_files(real_bank, real, root / "real-cut", count)
    size = (real / damage.WEIGHTS).stat().st_size
    wrong = accepted + more
    return {"tried": every + tried, "tiny": every, "real": tried, "real_bytes": size, "wrong": len(wrong),
            "first": wrong[:3]}  # fmt: skip


def requests(count: int, bank: AdapterBank, kit: damage.Kit, root: Path, base: str) -> dict[str, Any]:
    """8 threads, 8 adapters, 5 places, while others come and go."""
    busy = AdapterBank(str(kit.base), capacity=5)
    storm = trials.Storm(busy, trials.crowd(root / "crowd", busy.base))
    ended = storm.run(count, within=3600)
    return {"tried": storm.requests, "wrong": len(storm.wrong), "deadlocks": int(not ended), "changes": storm.changes,
            "evictions": busy.stats().evictions, "first": [line[:300] for line in storm.wrong[:3]]}  # fmt: skip


def rounds(count: int, bank: AdapterBank, kit: damage.Kit, root: Path, base: str) -> dict[str, Any]:
    """Loading and evicting; resident memory after a tenth of the rounds, and at the end."""
    small = AdapterBank(str(kit.base), capacity=2)
    made = trials.crowd(root / "rounds", small.base)
    names = ("lora-tags", "prefix-tags", "ia3-class", "prompt-class", "bottleneck-tags")
    seen = list(trials.rounds(small, [made[name] for name in names], count))
    first, last = seen[len(seen) // 10], seen[-1]
    grown = (last[0] - first[0]) / 2**20
    return {"tried": count, "evictions": small.stats().evictions, "mib_at_a_tenth": round(first[0] / 2**20, 1),
            "mib_more_at_the_end": round(grown, 1), "pool_rows": [first[1], last[1]],
            "wrong": int(grown > 32 or last[1] > first[1])}  # fmt: skip


def tagged(count: int, bank: AdapterBank, kit: damage.Kit, root: Path, base: str) -> dict[str, Any]:
    """Sentences through the tokenizer of --base and a tiny body."""
    tagger = AdapterBank(str(tiny_body(root / "tiny-body", base)))
    tagger.load("ner", tiny.adapter(root / "ner", "bottleneck", tagger.base, tiny.tagging(), bottleneck_size=4))
    words, entities, wrong = sentences.tag(tagger, "ner", count)
    return {"tried": count, "words": words, "entities": entities, "wrong": len(wrong), "first": wrong[:3]}


def tiny_body(folder: Path, base: str) -> Path:
    """A tiny BERT under the tokenizer of --base."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from adapters.models.base_model import open_base

    tokenizer = AutoTokenizer.from_pretrained(open_base(base).folder)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=64, max_position_embeddings=128, pad_token_id=0)  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def main() -> int:
    """Print the table, then each part; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, count in COUNTS.items():
        parser.add_argument(f"--{name}", type=int, default=count, help=f"default {count:,}; 0 leaves the part out")
    parser.add_argument("--base", default="minilm", help="alias, or a folder")
    counts = vars(parser.parse_args())
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    parts = {"bit_flips": bit_flips, "lengths": lengths, "requests": requests, "rounds": rounds, "sentences": tagged}
    found: dict[str, Any] = {"benchmark": "faults"}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        kit = damage.Kit.build(root / "kit")
        bank = AdapterBank(str(kit.base), capacity=3)
        bank.load("sound", kit.sound)
        rows = table(bank, kit, root)
        print(markdown(rows))
        for column, name in enumerate(HEAD[2:], 2):
            kinds = [row[column] for row in rows]
            found[name] = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
        wrong = sum(row[2] != "refused" or row[3] not in ("refused", "warns that it is unchecked") for row in rows)
        for name, part in parts.items():
            if counts[name]:
                begin = time.perf_counter()
                found[name] = {
                    **part(counts[name], bank, kit, root, counts["base"]),
                    "seconds": round(time.perf_counter() - begin, 1),
                }
                wrong += found[name]["wrong"] + found[name].get("deadlocks", 0)
                print(f"{name}: {found[name]}", flush=True)
    print(json.dumps({**found, "wrong": wrong}))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
