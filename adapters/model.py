"""The base model of any kind: its kind, its budget of positions, its digests, and its loading with a task's head."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.alignment import Pieces
from adapters.errors import ModelError
from adapters.files import cache_folder, digest_file, digest_value, write_json
from adapters.sources import Source, resolve
from adapters.tasks import CAUSAL, ENCODER, ENCODER_DECODER

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

# The names that architectures give to the same two dropouts.
_HIDDEN_DROPOUT = ("hidden_dropout_prob", "resid_pdrop", "embd_pdrop", "dropout", "classifier_dropout")
_ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attn_pdrop", "attention_dropout")


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base model that has been found but not loaded: config and tokenizer are at hand, weights stay on disk."""

    source: Source
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerFast
    quantization: Any = None
    """How transformers shall hold the weights in fewer bits (`quantization.config`); None for whole ones."""
    device: Any = None
    """Where weights in fewer bits are to be held: they are quantised where they are read."""

    @property
    def name(self) -> str:
        """The name that a card may bear: a Hub id or an alias, never a cache path."""
        return self.source.public_name

    @property
    def folder(self) -> Path:
        """Where the config, the tokenizer and the weights lie."""
        assert self.source.path is not None
        return self.source.path

    @cached_property
    def kind(self) -> str:
        """encoder, causal or encoder-decoder, by what transformers can make of the architecture."""
        from transformers.models.auto import modeling_auto as known

        if getattr(self.config, "is_encoder_decoder", False):
            return ENCODER_DECODER
        # BERT has a causal class too; what it was trained for shows in its masked one.
        if self.config.model_type in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
            return ENCODER
        if self.config.model_type in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return CAUSAL
        return ENCODER

    @cached_property
    def first_position(self) -> int:
        """Number of a text's first position: RoBERTa's table of positions begins behind its padding index."""
        behind = "roberta" in self.config.model_type or self.config.model_type in ("camembert", "mpnet", "longformer")
        return int(self.config.pad_token_id or 0) + 1 if behind else 0

    @cached_property
    def positions(self) -> int:
        """Pieces, special ones included, that one input may have."""
        limit = int(getattr(self.config, "max_position_embeddings", 0) or 512) - self.first_position
        return min(limit, int(self.tokenizer.model_max_length))

    @cached_property
    def digest(self) -> str:
        """sha256 of the weight file (of the list of sha256s where there are several), cached by path, size, mtime."""
        files = sorted(self.folder.glob("*.safetensors"))
        assert files, self.folder
        digests = [_cached_digest(file) for file in files]
        return digests[0] if len(digests) == 1 else digest_value(digests)

    @cached_property
    def tokenizer_digest(self) -> str:
        """sha256 of the files that decide how a text becomes pieces."""
        whole = self.folder / "tokenizer.json"
        if whole.is_file():
            return digest_file(whole)
        parts = [self.folder / name for name in ("vocab.txt", "vocab.json", "merges.txt", "tokenizer.model")]
        return digest_value([[part.name, digest_file(part)] for part in parts if part.is_file()])

    def pieces(self) -> Pieces:
        """The tokenizer from the words' side; a model that reads leftwards labels the last piece of a part."""
        return self._pieces

    @cached_property
    def _pieces(self) -> Pieces:
        """Made once: making it asks the tokenizer, which another thread may be using."""
        return Pieces(self.tokenizer, labelled="last" if self.kind == CAUSAL else "first")

    def config_with(self, changes: Mapping[str, Any]) -> PretrainedConfig:
        """The config with a head's size and labels, and a piece to pad with."""
        config = copy.deepcopy(self.config)
        for name, value in changes.items():
            setattr(config, name, value)
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = self.tokenizer.pad_token_id
        return config

    def load(
        self, auto_class: str, changes: dict[str, Any], *, dropout: float | None = None, attention_dropout: float = 0.0
    ) -> PreTrainedModel:
        """The model with a head that is drawn anew, in fp32; of a base in fewer bits, head and pooler.

        Args:
            auto_class: a class of transformers, `AutoModelFor…`.
            changes: config entries that give the head its size and labels.
            dropout: of the hidden states; None keeps the config's own.
            attention_dropout: of the attention weights.
        """
        from adapters import quantization
        from adapters.dropout import use_byte_dropout

        dropouts = {} if dropout is None else dict.fromkeys(_HIDDEN_DROPOUT, dropout)
        dropouts |= dict.fromkeys(_ATTENTION_DROPOUT, attention_dropout)
        known = {name: value for name, value in dropouts.items() if hasattr(self.config, name)}
        config = self.config_with({**known, **changes})
        held = self._held(auto_class, config)
        model, report = load_quietly(auto_class, self.folder, config=config, **held,
                                     output_loading_info=True, ignore_mismatched_sizes=True)  # fmt: skip
        if self.quantization is not None:
            quantization.keep_whole(model, held["quantization_config"].llm_int8_skip_modules)
        model.drawn_anew = sorted(report["missing_keys"])
        body = {id(parameter) for parameter in model.base_model.parameters()}
        lost = [n for n, p in model.named_parameters() if n in report["missing_keys"] and id(p) in body]
        if 2 * len(lost) > len(body):
            raise ModelError(
                f"{self.name}: {type(model).__name__} finds none of its weights ({', '.join(lost[:3])} missing), its "
                "body would be noise. Use a base of another type (minilm, bert-base-cased, gpt2)."
            )
        use_byte_dropout(model)
        if auto_class not in ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM"):
            model.config.use_cache = False  # keys and values that nobody would ask for again
        return model

    def _held(self, auto_class: str, config: PretrainedConfig) -> dict[str, Any]:
        """What weights are loaded as: fp32, or fewer bits."""
        import torch

        from adapters import quantization

        if self.quantization is None:
            return {"dtype": torch.float32}
        return quantization.options(self.quantization, self.device, auto_class, config)

    @cached_property
    def text_tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer for running text: no space of its own before the first word, padding on the left."""
        return _open_tokenizer(self.folder, self.name, words=False)

    def has_class(self, auto_class: str) -> bool:
        """Whether transformers has this architecture with a head of that kind."""
        import transformers

        return type(self.config) in getattr(transformers, auto_class)._model_mapping

    @cached_property
    def takes_cache(self) -> bool:
        """Whether the architecture takes keys and values from outside, as a cache of what came before."""
        import inspect

        import transformers

        body = transformers.AutoModel._model_mapping[type(self.config)]
        return "past_key_values" in inspect.signature(body.forward).parameters

    def load_body(self) -> PreTrainedModel:
        """The model without a head, or, of a causal base whose weights have it, with its language-model head."""
        import torch

        auto_class = "AutoModelForCausalLM" if self.kind == CAUSAL else "AutoModel"
        model, report = load_quietly(auto_class, self.folder, dtype=torch.float32, output_loading_info=True)
        drawn = [name for name in report["missing_keys"] if "pooler" not in name]  # a head brings a pooler of its own
        if drawn and self.kind == CAUSAL:
            return load_quietly("AutoModel", self.folder, dtype=torch.float32)
        if drawn:
            raise ModelError(f"{self.name}: its weights lack {', '.join(drawn[:3])}. Fetch the model again.")
        return model

    def load_generator(self) -> PreTrainedModel:
        """The model with the language-model head that it was trained with; an encoder's fills masks.

        Raises ModelError where it has none.
        """
        classes = {ENCODER_DECODER: "AutoModelForSeq2SeqLM", ENCODER: "AutoModelForMaskedLM"}
        auto_class = classes.get(self.kind, "AutoModelForCausalLM")
        held = self._held(auto_class, self.config)
        model, report = load_quietly(auto_class, self.folder, output_loading_info=True, **held)
        drawn = sorted(report["missing_keys"])
        if drawn:
            raise ModelError(
                f"{self.name}: its weights hold no language-model head ({', '.join(drawn[:3])} missing), so it cannot "
                f"{'fill masks' if self.kind == ENCODER else 'write answers'}. Use a checkpoint with its head "
                f"({'bert-base-cased' if self.kind == ENCODER else 'smollm2, gpt2'}), or train a method."
            )
        return model


def open_base(name: str) -> Base:
    """Find a base model by path, alias or Hub id, and read its config and tokenizer. Raises SourceError, ModelError."""
    from transformers import AutoConfig

    source = resolve(name, "model")
    assert source.path is not None, name
    try:
        config = AutoConfig.from_pretrained(source.path)
    except (ValueError, KeyError, OSError) as error:
        raise ModelError(f"{name}: its config.json is not one that transformers knows ({error}).") from error
    return Base(source=source, config=config, tokenizer=_open_tokenizer(source.path, name))


def quiet_libraries() -> None:
    """Silence what libraries say that no user of this project can act on; their errors still show. And keep them small.

    To be called before a model is loaded or a product computed.
    """
    import logging
    import warnings

    import transformers

    from adapters.memory import keep_few_kernels

    keep_few_kernels()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # speaks of optional kernels at import
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")  # PEFT's use of a transformers name
    transformers.logging.disable_progress_bar()


def load_quietly(auto_class: str, folder: Path, **options: Any) -> PreTrainedModel:
    """`from_pretrained` without the report that the head is new, which is meant here. Safetensors only."""
    import transformers
    from safetensors import SafetensorError

    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        loader = getattr(transformers, auto_class)
        model: PreTrainedModel = loader.from_pretrained(folder, use_safetensors=True, **options)
    except SafetensorError as error:
        names = ", ".join(path.name for path in sorted(folder.glob("*.safetensors")))
        raise ModelError(f"{folder}: {names} damaged or cut short ({error}). Fetch the model again.") from error
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        raise ModelError(f"{folder}: transformers has no {auto_class} for this architecture.") from error
    finally:
        transformers.logging.set_verbosity(before)
    return model


def _open_tokenizer(folder: Path, name: str, *, words: bool = True) -> PreTrainedTokenizerFast:
    """A fast tokenizer that can pad and, for lists of words, puts a space before every one of them."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # each kind of tokenizer has errors of its own, all of them the files' fault
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(
            f"{name}: tokenizer.json or its like is missing or damaged ({said}). Fetch the model again."
        ) from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{name}: has no fast tokenizer (tokenizer.json), which offsets and words need.")
    backend = tokenizer.backend_tokenizer.pre_tokenizer
    if words and "ByteLevel(add_prefix_space=False" in repr(backend):
        # A word in a list must become the pieces that it has inside a sentence, " Paris" and not "Paris".
        tokenizer = AutoTokenizer.from_pretrained(folder, add_prefix_space=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def _cached_digest(file: Path) -> str:
    """sha256 of a weight file, remembered by path, size and mtime: hashing some GB takes seconds."""
    status = file.stat()
    seen = [str(file.resolve()), status.st_size, status.st_mtime_ns]
    note = cache_folder("digests") / f"{digest_value(seen)}.json"
    try:
        return str(json.loads(note.read_text())["sha256"])
    except (OSError, ValueError, KeyError):
        digest = digest_file(file)
        write_json(note, {"sha256": digest, "file": seen})
        return digest
