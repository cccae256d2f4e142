"""GGUF: a causal model for llama.cpp, merged, or the base and a LoRA adapter apart (`--apart`).

Only what llama.cpp computes as transformers does is written: a language model of a known architecture, with byte-level
BPE tokens. Weights are in f16, norms, biases and LoRA's matrices in f32.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.artifacts import artifact, loading, merging
from adapters.artifacts.export.base.export_format import ExportFormat, ExportRequest
from adapters.artifacts.export.base.record import derived, move
from adapters.artifacts.folding import folded, read_delta
from adapters.artifacts.model_card import gguf_model_card
from adapters.core.errors import ModelError
from adapters.models.base_model import CAUSAL, Base
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    from adapters.methods.base.delta import AdapterDelta

FORMAT = "gguf"
MODEL, BASE, ADAPTER = "model.gguf", "base.gguf", "adapter.gguf"
NAMES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gpt2": "gpt2"}
"""llama.cpp's names of architectures by transformers' `model_type`."""
NFC = "NFC"
"""The normalizer of Qwen2's tokenizer: a letter and its mark become one character."""
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""The pattern by which Qwen2's tokenizer cuts a text."""


class Format(ExportFormat):
    """GGUF."""

    options = ("apart",)

    def write(self, request: ExportRequest) -> list[str]:
        """Fold the adapter into its base, or read it, and write."""
        output, folder = merging.empty_output(request.output_dir), request.single
        card, method = merging.read_adapter(folder, request.plugin_dirs)
        if card["base"] is None:
            raise ModelError(f"{folder} cannot be written as GGUF: {method.name} has no base model.")
        base = loading.opened_base(card, method, folder, request.base)
        task, _ = loading.task_and_method(card, folder, request.plugin_dirs)
        task = task.on(base.kind)
        _check(folder, base, task)
        tokens = _tokens(folder, base)
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as made:
            files = Path(made)
            if request.apart:
                model = base.load_generator()
                delta = read_delta(method, base, task, folder, model)
                _check_low_rank(folder, method.title, delta)
                _write_model(files / BASE, model, base, tokens)
                _write_adapter(files / ADAPTER, model, base, delta)
            else:
                model = method.load(base, task, folder) if method.self_contained else folded(method, base, task, folder)
                if model is None:
                    raise ModelError(
                        f"{folder} cannot be written as GGUF: no weights can represent what {method.title} adds. "
                        "Train lora, dora or full, and export that."
                    )
                _write_model(files / MODEL, model, base, tokens)
            record: dict[str, Any] = {
                "format": FORMAT,
                "architecture": NAMES[base.config.model_type],
                "apart": request.apart,
                **({"normalizer": NFC} if _normalizer(base) else {}),
            }
            new = {**derived(card, folder, base), "export": record}
            artifact.write(output, lambda draft: move(files, draft), new, gguf_model_card(new, _prompt(base, task)))
        written = f"{BASE} and {ADAPTER}: llama-cli -m {BASE} --lora {ADAPTER}" if request.apart else MODEL
        notes = [f"in f16, for llama.cpp's architecture {record['architecture']}: {written}"]
        if "normalizer" in record:
            notes.append(f"give llama.cpp prompts in Unicode's {NFC}, which the tokenizer makes and llama.cpp does not")
        return notes


def _check(folder: Path, base: Base, task: Task) -> None:
    """Raises ModelError for a model that llama.cpp would compute otherwise, or not at all."""
    if base.kind != CAUSAL:
        raise ModelError(
            f"{folder} cannot be written as GGUF: {base.name} is of the kind {base.kind}. llama.cpp's conversion of "
            "encoders leaves out the pooler and the head without a word (the logits become another function). Use "
            "--format onnx."
        )
    if task.has_head:
        raise ModelError(
            f"{folder} cannot be written as GGUF: {task.name} has a head of its own, for which llama.cpp's "
            f"{base.config.model_type} has no place. Use --format onnx."
        )
    if base.config.model_type not in NAMES:
        raise ModelError(
            f"{folder} cannot be written as GGUF: the architecture {base.config.model_type} of {base.name} has not "
            f"been compared with llama.cpp. Known: {', '.join(NAMES)}."
        )
    rope = getattr(base.config, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default")
    if kind != "default":
        raise ModelError(
            f"{folder} cannot be written as GGUF: the rotary positions of {base.name} are scaled ({kind}), which is "
            "not written here. Use llama.cpp's own converter on the merged model (--format merged)."
        )


def _check_low_rank(folder: Path, title: str, delta: AdapterDelta) -> None:
    """Raises ModelError unless an adapter is LoRA's."""
    others = {name for one in delta.layers.values() for name, _ in one.tensors()} - {"down", "up"}
    if others or delta.prefix is not None or delta.prompt is not None or not delta.layers:
        raise ModelError(
            f"{folder} cannot be written as an adapter of GGUF: {title} adds more than a product of low rank, and "
            "llama.cpp knows no other. Leave out --apart, which merges it first."
        )


def _write_model(path: Path, model: Any, base: Base, tokens: Mapping[str, Any]) -> None:
    """Write a model with its tokenizer."""
    import gguf

    config, name = base.config, NAMES[base.config.model_type]
    writer = gguf.GGUFWriter(str(path), name)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(base.name)
    layers = config.num_hidden_layers
    writer.add_block_count(layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(base.embeddings)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    if name == "gpt2":
        writer.add_feed_forward_length(config.n_inner or 4 * config.n_embd)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_dimension_count(width)
        writer.add_key_length(width)
        writer.add_value_length(width)
        writer.add_rope_freq_base(float((config.rope_parameters or {}).get("rope_theta", 10_000.0)))
    for key, value in tokens.items():
        getattr(writer, f"add_{key}")(value)
    for tensor, values in _tensors(model, base):
        writer.add_tensor(tensor, values)
    _finish(writer)


def _write_adapter(path: Path, model: Any, base: Base, delta: AdapterDelta) -> None:
    """Write a LoRA adapter for the base. llama.cpp multiplies B·A by alpha / rank; with an alpha of 1, B by rank."""
    import gguf

    writer = gguf.GGUFWriter(str(path), NAMES[base.config.model_type])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 1.0)
    for layer, update in delta.layers.items():
        assert update.down is not None and update.up is not None, layer
        name = _name(f"{model.base_model_prefix}.{layer}.weight", base)
        up = _rows(layer, update.up.T.numpy() * len(update.down), base)
        writer.add_tensor(f"{name}.lora_a", np.ascontiguousarray(update.down.numpy(), np.float32))
        writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(up, np.float32))
    _finish(writer)


def _finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(model: Any, base: Base) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of a model by llama.cpp's names: matrices in f16, all else in f32."""
    state = model.state_dict()
    for full, tensor in state.items():
        if full == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        layer, _, part = full.rpartition(".")
        values = tensor.float().numpy()
        module = model.get_submodule(layer)
        linear = hasattr(module, "in_features") or hasattr(module, "num_embeddings")
        if part == "weight" and values.ndim == 2 and not linear:
            values = values.T  # GPT-2's layers store their weights as [in, out]
        values = _rows(layer, values, base)
        kind = np.float16 if values.ndim > 1 else np.float32
        written = np.ascontiguousarray(values, kind)
        if not np.isfinite(written).all():
            raise ModelError(f"{base.name}: {full} has values that f16 cannot hold.")
        yield _name(full, base), written


def _rows(layer: str, values: np.ndarray, base: Base) -> np.ndarray:
    """The rows of a matrix in llama.cpp's order.

    Rotary positions turn pairs of a head's dimensions. transformers pairs dimension i with i + width / 2, llama.cpp's
    `llama` neighbours: there the two halves of each head of queries and keys are interleaved.
    """
    config = base.config
    heads = {"q_proj": config.num_attention_heads, "k_proj": getattr(config, "num_key_value_heads", 0)}
    last = layer.rpartition(".")[2]
    if NAMES[config.model_type] != "llama" or last not in heads:
        return values
    halves = values.reshape(heads[last], 2, -1, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def _name(full: str, base: Base) -> str:
    """llama.cpp's name of a tensor."""
    import gguf

    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == NAMES[base.config.model_type])
    names = gguf.get_tensor_name_map(architecture, base.config.num_hidden_layers)
    found: str | None = names.get_name(full, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise ModelError(f"{base.name}: llama.cpp has no tensor for {full}.")
    return found


def _tokens(folder: Path, base: Base) -> dict[str, Any]:
    """What llama.cpp needs of a tokenizer, by the names of the writer's methods. Raises ModelError."""
    import gguf

    read = json.loads(base.tokenizer.backend_tokenizer.to_str())
    model, kind = read["model"], _cut(read.get("pre_tokenizer"))
    if model["type"] != "BPE" or kind is None or _normalizer(base) not in (None, {"type": NFC}):
        raise ModelError(
            f"{folder} cannot be written as GGUF: the tokenizer of {base.name} cuts texts in a way that has not been "
            "compared with llama.cpp's (known are byte-level BPE as of GPT-2, SmolLM and Qwen2)."
        )
    tokenizer, words = base.tokenizer, base.word_tokenizer
    known = {number: token for token, number in tokenizer.get_vocab().items()}
    added = {number: token.special for number, token in tokenizer.added_tokens_decoder.items()}
    kinds = gguf.TokenType
    types = [
        kinds.UNUSED
        if number not in known
        else (kinds.CONTROL if added[number] else kinds.USER_DEFINED)
        if number in added
        else kinds.NORMAL
        for number in range(base.embeddings)
    ]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "unk", "pad")}
    template = getattr(tokenizer, "chat_template", None)
    return {
        "tokenizer_model": "gpt2",
        "tokenizer_pre": kind,
        "token_list": [known.get(number, f"[PAD{number}]") for number in range(base.embeddings)],
        "token_types": [int(one) for one in types],
        "token_merges": merges,
        **{f"{name}_token_id": number for name, number in ids.items() if number is not None},
        "add_bos_token": bool(words.before),
        **({"chat_template": template} if template else {}),
    }


def _normalizer(base: Base) -> Any:
    """What a tokenizer does to a text before it cuts it; None of most. llama.cpp does nothing."""
    return json.loads(base.tokenizer.backend_tokenizer.to_str()).get("normalizer")


def _cut(pre: Any) -> str | None:
    """llama.cpp's name of the way in which a tokenizer cuts a text before it merges bytes; None if it has none."""
    parts = (pre or {}).get("pretokenizers", [pre])
    kinds = [(one or {}).get("type") for one in parts]
    bytes_alone = [one for one in parts if (one or {}).get("type") == "ByteLevel"]
    if len(bytes_alone) != 1 or bytes_alone[0].get("add_prefix_space"):
        return None
    by_pattern = bool(bytes_alone[0].get("use_regex", True))
    if kinds == ["ByteLevel"] and by_pattern:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and parts[0]["individual_digits"] and by_pattern:
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and parts[0]["pattern"] == {"Regex": QWEN} and not by_pattern:
        return "qwen2"
    return None


def _prompt(base: Base, task: Task) -> str:
    """What the model is given for a text, as the toolkit writes it."""
    given = task.sample_request()
    example = task.from_request({"text": given} if isinstance(given, str) else given, "")
    (row, *_) = task.encode([example], base.word_tokenizer, min(base.positions, 512))
    text: str = base.tokenizer.decode(row.input_ids)
    return text
