"""A base model: its kind, number of positions and digests, and loading it with a task's head."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.errors import ModelError, SettingsError
from adapters.core.files import cache_folder, digest_file, digest_value, read_json, write_json
from adapters.core.sources.resolve import Source, resolve
from adapters.models.tokenizer import WordTokenizer, valid_text

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

NO_CODE = {"trust_remote_code": False}
"""For all that transformers loads: it would ask on the standard input whether to run Python code of a model."""
ENCODER, CAUSAL, ENCODER_DECODER = "encoder", "causal", "encoder-decoder"
"""Kinds of base model."""

# Names of the two dropout probabilities in the configs of different architectures.
_HIDDEN_DROPOUT = (
    "dropout",
    "dropout_p",
    "dropout_rate",
    "emb_pdrop",
    "embd_pdrop",
    "embed_dropout",
    "embedding_dropout",
    "hidden_dropout",
    "hidden_dropout_prob",
    "mlp_dropout",
    "resid_dropout",
    "resid_pdrop",
    "residual_dropout",
)
_HEAD_DROPOUT = ("classifier_dropout",)
_ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attn_pdrop", "attention_dropout")


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base model that has been located but not loaded: config and tokenizer are read, weights are not."""

    source: Source
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerFast
    quantization: Any = None
    """Quantization config for transformers (`quantization.config`); None for full precision."""
    device: Any = None
    """Device for quantized weights, which are quantized there as they are read."""

    @property
    def name(self) -> str:
        """Name for cards: a Hub id or an alias, never a cache path."""
        return self.source.public_name

    @property
    def folder(self) -> Path:
        """Folder with config, tokenizer and weights."""
        assert self.source.path is not None
        return self.source.path

    @cached_property
    def kind(self) -> str:
        """`encoder`, `causal` or `encoder-decoder`, by the classes that transformers has for the architecture."""
        from transformers.models.auto import modeling_auto as known

        if getattr(self.config, "is_encoder_decoder", False):
            return ENCODER_DECODER
        # BERT has a causal class too, but was trained with its masked one.
        if self.config.model_type in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
            return ENCODER
        if self.config.model_type in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return CAUSAL
        return ENCODER

    @cached_property
    def first_position(self) -> int:
        """Index of the first position of a text: in RoBERTa positions start after the padding index."""
        offset = "roberta" in self.config.model_type or self.config.model_type in ("camembert", "mpnet", "longformer")
        return int(self.config.pad_token_id or 0) + 1 if offset else 0

    @cached_property
    def positions(self) -> int:
        """Maximum length of an input in tokens, special tokens included."""
        limit = int(getattr(self.config, "max_position_embeddings", 0) or 512) - self.first_position
        return min(limit, int(self.tokenizer.model_max_length))

    @cached_property
    def digest(self) -> str:
        """sha256 of the weight file (of the list of digests if there are several), cached by path, size and mtime."""
        files = sorted(self.folder.glob("*.safetensors"))
        assert files, self.folder
        digests = [_cached_digest(file) for file in files]
        return digests[0] if len(digests) == 1 else digest_value(digests)

    @cached_property
    def tokenizer_digest(self) -> str:
        """sha256 of the files that define the tokenizer."""
        single = self.folder / "tokenizer.json"
        if single.is_file():
            return digest_file(single)
        parts = [self.folder / name for name in ("vocab.txt", "vocab.json", "merges.txt", "tokenizer.model")]
        return digest_value([[part.name, digest_file(part)] for part in parts if part.is_file()])

    def digests(self) -> dict[str, str]:
        """Its name and digests, as cards and other records of what was made with it have them."""
        return {"name": self.name, "weights_sha256": self.digest, "tokenizer_sha256": self.tokenizer_digest}

    @cached_property
    def word_tokenizer(self) -> WordTokenizer:
        """The tokenizer for data. A causal model is labelled at the last token of a part of a word.

        Cached, as creating it uses the tokenizer, which another thread may be using.
        """
        return WordTokenizer(self.tokenizer, labelled="last" if self.kind == CAUSAL else "first")

    @property
    def embeddings(self) -> int:
        """Number of tokens that the model knows, by its config; it can be more than the tokenizer has."""
        return int(getattr(self.config.get_text_config(), "vocab_size", 0) or len(self.tokenizer))

    @cached_property
    def pad_id(self) -> int:
        """The token that rows are padded with.

        A causal model's classifier reads the last token that is not this one (transformers compares ids, and looks at
        no mask), so that no row may end with it. For other models it is that of the config, from which RoBERTa counts
        positions, or else the tokenizer's.

        Raises ModelError if there is no such token.
        """
        tokens = self.tokenizer
        given = [tokens.pad_token_id, tokens.eos_token_id, tokens.unk_token_id]
        if self.kind != CAUSAL:
            given.insert(0, getattr(self.config, "pad_token_id", None))
            unread: list[int] = []
        else:
            # Data never become special tokens; ids beyond the vocabulary occur in no row either.
            given = [
                *given[:2],
                *sorted(set(tokens.all_special_ids) - {tokens.unk_token_id}),
                *range(len(tokens), self.embeddings),
            ]
            unread = [*self.word_tokenizer.after]
        for token in given:
            if token is not None and 0 <= token < self.embeddings and token not in unread:
                return int(token)
        raise ModelError(
            f"{self.name}: its tokenizer has no token to pad with. Set one that the model knows "
            "(tokenizer.pad_token), and save the tokenizer in the base's folder."
        )

    def seen(self, text: str) -> str:
        """A text as the tokenizer sees it: normalised, in lower case where it is uncased."""
        normalizer = self.tokenizer.backend_tokenizer.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(valid_text(text)))

    def config_with(self, changes: Mapping[str, Any]) -> PretrainedConfig:
        """The config with some entries changed (size and labels of the head), and the padding token."""
        config = copy.deepcopy(self.config)
        for name, value in changes.items():
            setattr(config, name, value)
        config.pad_token_id = self.pad_id
        return config

    def load(
        self, auto_class: str, changes: dict[str, Any], *, dropout: float | None = None, attention_dropout: float = 0.0
    ) -> PreTrainedModel:
        """The model with a newly initialised head, in fp32; if quantized, only head and pooler are fp32.

        Args:
            auto_class: a class of transformers, `AutoModelFor…`.
            changes: config entries for the size and the labels of the head.
            dropout: probability for the hidden states; None keeps that of the config.
            attention_dropout: probability for the attention weights.

        Raises:
            SettingsError: a dropout that no entry of the config takes.
            ModelError: weights of the body are missing, or have another shape than the config says.
        """
        from adapters.models import quantization
        from adapters.models.byte_dropout import use_byte_dropout

        self._check_dropout("dropout", dropout or 0.0, _HIDDEN_DROPOUT)
        self._check_dropout("attention_dropout", attention_dropout, _ATTENTION_DROPOUT)
        dropouts = {} if dropout is None else dict.fromkeys((*_HIDDEN_DROPOUT, *_HEAD_DROPOUT), dropout)
        dropouts |= dict.fromkeys(_ATTENTION_DROPOUT, attention_dropout)
        known = {name: value for name, value in dropouts.items() if hasattr(self.config, name)}
        config = self.config_with({**known, **changes})
        options = self._weight_options(auto_class, config)
        model, report = load_quietly(
            auto_class, self.folder, config=config, **options, output_loading_info=True, ignore_mismatched_sizes=True
        )
        if self.quantization is not None:
            quantization.keep_full_precision(model, options["quantization_config"].llm_int8_skip_modules)
        model.newly_initialised = sorted(report["missing_keys"])
        self._check_weights(model, report)
        use_byte_dropout(model)
        if auto_class not in ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM"):
            model.config.use_cache = False  # keys and values would not be used again
        return model

    def _check_dropout(self, flag: str, value: float, names: Sequence[str]) -> None:
        """Raises SettingsError for a probability above 0 where the config has none of the entries that take it."""
        if not value or any(hasattr(self.config, name) for name in names):
            return
        entries = [f"{name} {found}" for name, found in self.config.to_dict().items() if "drop" in name]
        raise SettingsError(
            f"--{flag} {value}: {self.name} is of the type {self.config.model_type}, whose config has no entry for it "
            f"(of dropout it has {', '.join(entries) or 'none'}). Leave it out."
        )

    def _check_weights(self, model: PreTrainedModel, report: Mapping[str, Any], *, whole: bool = False) -> None:
        """Raises ModelError where weights do not fit the config: transformers makes them random without a word.

        Args:
            model: as it was loaded.
            report: what `from_pretrained` says of its keys.
            whole: whether shapes of the head must fit, too: it is not a new one.
        """
        known = {id(parameter) for parameter in model.base_model.parameters()}
        body = {name for name, parameter in model.named_parameters() if id(parameter) in known}
        unfit = [one for one in sorted(report["mismatched_keys"]) if whole or one[0] in body]
        if unfit:
            name, found, wanted = unfit[0]
            entries = _entries_of(self.config, found, wanted)
            more = f" (and {len(unfit) - 1} more)" if len(unfit) > 1 else ""
            raise ModelError(
                f"{self.name}: its weights do not fit its config.json: {name} is {[*found]} in the file and would be "
                f"{[*wanted]} by the config{f' ({entries})' if entries else ''}{more}. Fetch the model again, or set "
                "the config to what its weights are."
            )
        lost = sorted(body & {*report["missing_keys"]})
        if 2 * len(lost) > len(body):
            raise ModelError(
                f"{self.name}: {type(model).__name__} finds none of its weights ({', '.join(lost[:3])} missing), so "
                "its body would be random. Use a base of another type (minilm, bert-base-cased, gpt2)."
            )
        lost = [name for name in lost if "pooler" not in name]  # checkpoints of masked models have none
        if lost:
            raise ModelError(
                f"{self.name}: its weights lack {len(lost)} tensors that its config.json asks for "
                f"({', '.join(lost[:3])}), so a part of its body would be random. Fetch the model again, or set "
                "the config to what its weights are (num_hidden_layers, say)."
            )

    def _weight_options(self, auto_class: str, config: PretrainedConfig) -> dict[str, Any]:
        """Options of `from_pretrained` for the weights: fp32, or quantized."""
        import torch

        from adapters.models import quantization

        if self.quantization is None:
            return {"dtype": torch.float32}
        return quantization.load_options(self.quantization, self.device, auto_class, config)

    def has_class(self, auto_class: str) -> bool:
        """Whether transformers has that class for this architecture."""
        import transformers

        return type(self.config) in getattr(transformers, auto_class)._model_mapping

    @cached_property
    def takes_cache(self) -> bool:
        """Whether the architecture accepts past keys and values."""
        import inspect

        import transformers

        body = transformers.AutoModel._model_mapping[type(self.config)]
        return "past_key_values" in inspect.signature(body.forward).parameters

    def load_body(self) -> PreTrainedModel:
        """The model without a head; a causal base keeps its language-model head if its weights include one."""
        import torch

        auto_class = "AutoModelForCausalLM" if self.kind == CAUSAL else "AutoModel"
        options = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
        model, report = load_quietly(auto_class, self.folder, **options)
        missing = [name for name in report["missing_keys"] if "pooler" not in name]  # a head has its own pooler
        if missing and self.kind == CAUSAL:
            model, report = load_quietly("AutoModel", self.folder, **options)
            self._check_weights(model, report)
            return model
        self._check_weights(model, report, whole=True)
        model.newly_initialised = sorted(report["missing_keys"])
        return model

    def load_generator(self) -> PreTrainedModel:
        """The model with its own language-model head (masked, for an encoder). Raises ModelError if it has none."""
        classes = {ENCODER_DECODER: "AutoModelForSeq2SeqLM", ENCODER: "AutoModelForMaskedLM"}
        auto_class = classes.get(self.kind, "AutoModelForCausalLM")
        options = self._weight_options(auto_class, self.config)
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        model, report = load_quietly(auto_class, self.folder, **options)
        self._check_weights(model, report, whole=True)
        missing = sorted(report["missing_keys"])
        if missing:
            raise ModelError(
                f"{self.name}: its weights have no language-model head ({', '.join(missing[:3])} missing), so it "
                f"cannot {'fill masks' if self.kind == ENCODER else 'generate answers'}. Use a checkpoint with its "
                f"head ({'bert-base-cased' if self.kind == ENCODER else 'smollm2, gpt2'}), or train a method."
            )
        return model


def _entries_of(config: PretrainedConfig, found: Sequence[int], wanted: Sequence[int]) -> str:
    """The entries of a config that say the sizes in which a wanted shape differs from the one found; may be empty."""
    sizes = [size for size, own in zip(wanted, found, strict=False) if size != own]
    entries = [f"{name} {value}" for name, value in config.to_dict().items() if type(value) is int and value in sizes]
    return ", ".join(entries)


def open_base(name: str) -> Base:
    """Locate a base by path, alias or Hub id, and read its config and tokenizer. Raises SourceError, ModelError."""
    from transformers import AutoConfig

    source = resolve(name, "model")
    assert source.path is not None, name
    try:
        config = AutoConfig.from_pretrained(source.path, **NO_CODE)
    except (ValueError, KeyError, OSError) as error:
        _refuse_code(name, error)
        raise ModelError(f"{name}: transformers cannot read its config.json ({error}).") from error
    base = Base(source=source, config=config, tokenizer=_open_tokenizer(source.path, name))
    _check_vocabulary(base)
    if base.tokenizer.pad_token_id is None or base.tokenizer.pad_token_id >= base.embeddings:
        base.tokenizer.pad_token = base.tokenizer.eos_token or base.tokenizer.unk_token
    return base


def _check_vocabulary(base: Base) -> None:
    """Raises ModelError if a text can become a token for which the model has no embedding."""
    rows, tokens, words = base.embeddings, base.tokenizer, base.word_tokenizer
    unused = set(tokens.all_special_ids) - {*words.before, *words.after}
    beyond = [number for number in tokens.get_added_vocab().values() if number >= rows and number not in unused]
    if beyond or tokens.vocab_size > rows:
        number = min(beyond) if beyond else tokens.vocab_size - 1
        raise ModelError(
            f"{base.name}: its tokenizer has the token {tokens.convert_ids_to_tokens(number)!r} (id {number}), but the "
            f"model has embeddings for {rows:,} tokens only. Use the tokenizer that belongs to the model, or enlarge "
            "the embeddings (model.resize_token_embeddings(len(tokenizer))) and save both."
        )


def quiet_libraries() -> None:
    """Silence messages of libraries that a user cannot act on. Errors are still shown."""
    import logging
    import warnings

    import transformers

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # logs about optional kernels when imported
    warnings.filterwarnings(
        "ignore", message=".*is_gradient_checkpointing.*"
    )  # PEFT uses a deprecated name of transformers
    transformers.logging.disable_progress_bar()


def load_quietly(auto_class: str, folder: Path, **options: Any) -> PreTrainedModel:
    """`from_pretrained` without the warning about a new head, which is intended here. Safetensors only."""
    import transformers
    from safetensors import SafetensorError

    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        loader = getattr(transformers, auto_class)
        model: PreTrainedModel = loader.from_pretrained(folder, use_safetensors=True, **NO_CODE, **options)
    except SafetensorError as error:
        names = ", ".join(path.name for path in sorted(folder.glob("*.safetensors")))
        raise ModelError(f"{folder}: {names} damaged or cut short ({error}). Fetch the model again.") from error
    except ValueError as error:
        _refuse_code(str(folder), error)
        if "Unrecognized configuration class" not in str(error):
            raise
        raise ModelError(f"{folder}: transformers has no {auto_class} for this architecture.") from error
    finally:
        transformers.logging.set_verbosity(before)
    return model


def _open_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerFast:
    """The base's own fast tokenizer."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **NO_CODE)
    except Exception as error:  # every kind of tokenizer raises its own errors, always about the files
        _refuse_code(name, error)
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(
            f"{name}: tokenizer.json or its like is missing or damaged ({reason}). Fetch the model again."
        ) from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{name}: has no fast tokenizer (tokenizer.json), which is needed for offsets and words.")
    return tokenizer


def _refuse_code(name: str, error: Exception) -> None:
    """Raises ModelError if transformers has said that a model can be loaded by code of its own only."""
    if "trust_remote_code" in str(error):
        raise ModelError(
            f"{name}: is of a class that transformers does not have, and brings Python code for it. No code of a model "
            "is ever run here. Use a model of a class that transformers has, or a version of transformers that has it."
        ) from error


def _cached_digest(file: Path) -> str:
    """sha256 of a weight file, cached by path, size and mtime, as hashing takes seconds per GB."""
    status = file.stat()
    key = [str(file.resolve()), status.st_size, status.st_mtime_ns]
    cached = cache_folder("digests") / f"{digest_value(key)}.json"
    try:
        return str(read_json(cached)["sha256"])
    except (OSError, ValueError, KeyError):
        digest = digest_file(file)
        write_json(cached, {"sha256": digest, "file": key})
        return digest
