"""The 25 damaged or foreign artifacts of FACTS.md, each made of a sound folder: with its card, resealed, without one.

`kept` leaves the card as it was; `resealed` lets a forger write a new one, whose digests, shapes and settings fit what
the folder now holds; `none` takes the card away and leaves a plain PEFT folder.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiny
from conftest import build_tiny_bert

from adapters.artifacts.artifact import CARD, tensor_shapes
from adapters.core.files import as_json, digest_file, digest_value

LABELS = ("O", "B-PER", "I-PER")
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
TEXTS = ("Ada Lovelace lived in New York .", "Grace Hopper wrote notes near Rome .", "in the old town")


@dataclass(frozen=True, kw_only=True)
class Kit:
    """A base, a sound LoRA adapter on it (r 4, query and value, three labels), and adapters from elsewhere."""

    base: Path
    sound: Path
    five: Path
    other: Path
    roberta: Path
    wider: Path

    @classmethod
    def build(cls, root: Path) -> Kit:
        """All of them, below a folder."""
        from adapters.models.base_model import open_base

        base = build_tiny_bert(root / "tiny-bert")
        homes = {
            "sound": base,
            "five": base,
            "other": build_tiny_bert(root / "other-bert", seed=1),
            "roberta": tiny.roberta(root / "tiny-roberta"),
            "wider": _wider(base, root / "wider-bert"),
        }
        made = {}
        for seed, (name, home) in enumerate(homes.items()):
            task = tiny.tagging(("PER", "LOC") if name == "five" else ("PER",))
            made[name] = lora(root / "adapters" / name, open_base(str(home)), task, seed=seed)
        return cls(base=base, **made)


def lora(folder: Path, base: Any, task: Any, *, seed: int = 0, **changes: Any) -> Path:
    """A LoRA adapter as FACTS.md has it."""
    how = {"lora_r": 4, "lora_target_modules": ["query", "value"], **changes}
    return tiny.adapter(folder, "lora", base, task, seed=seed, **how)


def _wider(base: Path, folder: Path) -> Path:
    """The same base with seven more words."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = [*(base / "vocab.txt").read_text().split("\n")[:-1], *(f"##new{i}" for i in range(7))]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True, model_max_length=64).save_pretrained(folder)
    config = BertConfig.from_pretrained(base)
    config.vocab_size = len(words)
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder


Change = Callable[[Path, Kit], None]
Forge = Callable[[dict[str, Any], Kit], None]


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One of the 25.

    Attributes:
        number: in FACTS.md.
        what: in words.
        change: does it to a copy of the sound folder.
        forge: what a forger writes into the card beside digests and shapes.
        unchecked: words of the warning that names it, where a folder without a card cannot show it.
        labels: what the user says the classes are.
        by: of stock PEFT, `from_pretrained` or `load_adapter`.
        undetectable: a card that is forged to fit leaves nothing to find (why).
    """

    number: int
    what: str
    change: Change
    forge: Forge | None = None
    unchecked: str = ""
    labels: tuple[str, ...] = LABELS
    by: str = "from_pretrained"
    undetectable: str = ""

    def __str__(self) -> str:
        return f"{self.number:02d} {self.what}"

    def make(self, kit: Kit, folder: Path, card: str) -> Path:
        """The damaged folder, its card `kept`, `resealed` or `none`."""
        shutil.copytree(kit.sound, folder)
        self.change(folder, kit)
        if card == "resealed":
            reseal(folder, lambda card: self.forge(card, kit) if self.forge else None)
        if card == "none":
            (folder / CARD).unlink()
            (folder / "README.md").unlink()
        return folder


def reseal(folder: Path, forge: Callable[[dict[str, Any]], None] = lambda card: None) -> None:
    """Write a card that fits the folder's files, as a forger would."""
    card = json.loads((folder / CARD).read_text())
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != CARD]
    card["files"] = {path.relative_to(folder).as_posix(): digest_file(path) for path in paths}
    with contextlib.suppress(Exception):  # no safetensors file any more: its old shapes stay
        card["tensors"] = tensor_shapes(folder)
    forge(card)
    del card["digest"]
    (folder / CARD).write_text(as_json({**card, "digest": digest_value(card)}))


# what is done to a folder ---------------------------------------------------------------------------------------------


def _foreign(name: str) -> Change:
    def change(folder: Path, kit: Kit) -> None:
        shutil.copytree(getattr(kit, name), folder, dirs_exist_ok=True)

    return change


def _tensors(edit: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Change:
    def change(folder: Path, kit: Kit) -> None:
        from safetensors.torch import load_file, save_file

        edited = dict(edit(load_file(folder / WEIGHTS)))
        save_file(edited, folder / WEIGHTS, metadata={"format": "pt"})

    return change


def _bytes(name: str, edit: Callable[[bytes], bytes]) -> Change:
    def change(folder: Path, kit: Kit) -> None:
        (folder / name).write_bytes(edit((folder / name).read_bytes()))

    return change


def _options(**changes: Any) -> Change:
    def edit(data: bytes) -> bytes:
        return json.dumps({**json.loads(data), **changes}, indent=2).encode()

    return _bytes(CONFIG, edit)


def _settings(**changes: Any) -> Forge:
    return lambda card, kit: card["method"]["settings"].update(changes)


def _our_base(card: dict[str, Any], kit: Kit) -> None:
    card["base"] = json.loads((kit.sound / CARD).read_text())["base"]


def _permuted(folder: Path, kit: Kit) -> None:
    card = json.loads((folder / CARD).read_text())
    card["task"]["labels"] = list(PERMUTED)
    (folder / CARD).write_text(as_json(card))


def _half(tensors: dict[str, Any]) -> dict[str, Any]:
    lost = [name for name in sorted(tensors) if "lora_" in name][::2]
    return {name: tensor for name, tensor in tensors.items() if name not in lost}


def _headless(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor for name, tensor in tensors.items() if "lora_" in name}


def _more(tensors: dict[str, Any]) -> dict[str, Any]:
    twin = next(name for name in tensors if "query.lora_A" in name)
    return {**tensors, twin.replace("query", "key"): tensors[twin].clone()}


def _five(folder: Path, kit: Kit) -> None:
    shutil.copy(kit.five / WEIGHTS, folder / WEIGHTS)


def flipped(data: bytes, bit: int) -> bytes:
    """The same bytes but for one bit."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def _pickled(folder: Path, kit: Kit) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(payload(folder / "it-ran"))


def payload(marker: Path, protocol: int = 2) -> bytes:
    """A pickle that makes a file when it is loaded."""
    import pickle

    return pickle.dumps(_Hostile(marker), protocol=protocol)


class _Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.marker), "w")


PERMUTED = ("O", "I-PER", "B-PER")
TOO_LARGE = 1e6
BASE, BITS = "whether it was trained on", "whether it has been modified"
FITS = "its tensors fit our base, and whose they are only the digest of the base tells"
DAMAGES = (
    Damage(
        number=1,
        what="base of the same shape, other weights",
        change=_foreign("other"),
        unchecked=BASE,
        undetectable=FITS,
    ),
    Damage(number=2, what="base of another architecture, same sizes", change=_foreign("roberta"), forge=_our_base),
    Damage(number=3, what="`id2label` permuted", change=_permuted, labels=PERMUTED, unchecked="meaning of its classes"),
    Damage(number=4, what="five labels for three", change=_five),
    Damage(
        number=5, what="base of another vocabulary size", change=_foreign("wider"), unchecked=BASE, undetectable=FITS
    ),
    Damage(number=6, what="half of the LoRA tensors missing", change=_tensors(_half)),
    Damage(
        number=7, what="half of the LoRA tensors missing, `load_adapter`", change=_tensors(_half), by="load_adapter"
    ),
    Damage(number=8, what="head tensors missing", change=_tensors(_headless)),
    Damage(number=9, what="head tensors missing, `load_adapter`", change=_tensors(_headless), by="load_adapter"),
    Damage(number=10, what="extra tensors", change=_tensors(_more)),
    Damage(
        number=11,
        what="all values NaN",
        change=_tensors(lambda tensors: {name: tensor * float("nan") for name, tensor in tensors.items()}),
    ),
    Damage(number=12, what="file cut in half", change=_bytes(WEIGHTS, lambda data: data[: len(data) // 2])),
    Damage(
        number=13,
        what="one bit flipped in the data",
        change=_bytes(WEIGHTS, lambda d: flipped(d, len(d) * 8 - 20)),
        unchecked=BITS,
        undetectable="it is then another adapter, and whole",
    ),
    Damage(number=14, what="empty weights file", change=_bytes(WEIGHTS, lambda data: b"")),
    Damage(number=15, what="no tensors", change=_tensors(lambda tensors: {})),
    Damage(number=16, what="no tensors, `load_adapter`", change=_tensors(lambda tensors: {}), by="load_adapter"),
    Damage(
        number=17, what="`lora_alpha` 1e6", change=_options(lora_alpha=TOO_LARGE), forge=_settings(lora_alpha=TOO_LARGE)
    ),
    Damage(number=18, what="`r` 8 for 4", change=_options(r=8), forge=_settings(lora_r=8)),
    Damage(
        number=19,
        what="`target_modules` shrunk to query",
        change=_options(target_modules=["query"]),
        forge=_settings(lora_target_modules=["query"]),
    ),
    Damage(
        number=20,
        what="unknown `peft_type`",
        change=_options(peft_type="NOVEL"),
        forge=lambda card, kit: card["method"].update(name="novel"),
    ),
    Damage(number=21, what="unknown config key", change=_options(novel_option=3), forge=_settings(novel_option=3)),
    Damage(
        number=22,
        what="config JSON cut",
        change=_bytes(CONFIG, lambda data: data[: len(data) // 2]),
        undetectable="the card has the settings; a test of its own holds the config to them",
    ),
    Damage(number=23, what="`r` −4", change=_options(r=-4), forge=_settings(lora_r=-4)),
    Damage(
        number=24,
        what="foreign `base_model_name_or_path`",
        change=_options(base_model_name_or_path="somebody/else"),
        unchecked=BASE,
        undetectable="it is a name; the digests say that it is our base, and its answers are right",
    ),
    Damage(number=25, what="hostile pickle as `adapter_model.bin`", change=_pickled),
)
