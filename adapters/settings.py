"""The settings that every run has; a task's and a method's are joined to them by recipe.py."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, make_dataclass
from typing import Any

from adapters.errors import SettingsError

INCIDENTAL = frozenset({"output_dir", "overwrite_output_dir"})
"""Settings that change neither a model nor a score, and so stay out of digests of settings."""


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """Model, data, training and output of a run."""

    model_name_or_path: str = "minilm"
    """Base model: a folder, a Hub id (bert-base-cased) or an alias (minilm, smollm2)."""
    dataset_name: str | None = "conll2003"
    """Dataset: a folder of files, a Hub id, or an alias (conll2003). Not read where --train_file is given;
    --validation_file and --test_file stand in for its splits."""
    dataset_config_name: str | None = None
    """Configuration of a Hub dataset."""
    train_file: str | None = None
    """Training examples: column file, JSONL, CSV, parquet, lines of a label and a text, SQuAD, parallel lines."""
    validation_file: str | None = None
    """Dev examples; where there are none, they are cut from train."""
    test_file: str | None = None
    """Test examples; where there are none, scores are named dev."""
    dataset_format: str | None = None
    """Reader of the files: columns, jsonl, csv, parquet, labelled, parallel, squad. Default: by what they are."""
    encoding: str = "utf-8"
    """Encoding of text files."""
    validation_split_percentage: int = 10
    """Share of train that becomes dev where there is no dev split (chosen by a seeded hash of the text)."""
    max_train_samples: int | None = None
    """Use so many training examples."""
    max_eval_samples: int | None = None
    """Use so many dev examples."""
    max_predict_samples: int | None = None
    """Use so many test examples."""
    sample_selection: str = "first"
    """Which examples those are: the first ones, or a random draw, the same in every run (for files in some order)."""
    allow_unknown: bool = False
    """Train although the base's tokenizer does not know more than 30 % of the pieces."""

    max_length: int = 256
    """Pieces in one window; longer sentences are windowed with overlap and joined, never cut. Also --max_seq_length."""
    train_batch_pieces: int = 1024
    """Pieces (padding included) in one training batch, over all processes, formed by length."""
    per_device_train_batch_size: int | None = None
    """Form training batches of so many examples a process instead of --train_batch_pieces."""
    per_device_eval_batch_size: int | None = None
    """Form evaluation batches of so many examples instead of by pieces."""
    gradient_accumulation_steps: int = 1
    """Batches in one optimizer step."""
    learning_rate: float = 1e-4
    """Peak learning rate."""
    weight_decay: float = 0.01
    """AdamW's decay, not applied to biases and norms."""
    adam_beta1: float = 0.9
    """AdamW's memory of gradients."""
    adam_beta2: float = 0.999
    """AdamW's memory of their squares."""
    adam_epsilon: float = 1e-8
    """AdamW's smallest divisor."""
    num_train_epochs: float = 3.0
    """Passes over the training examples."""
    max_train_steps: int | None = None
    """Stop after so many optimizer steps, whatever the epochs."""
    lr_scheduler_type: str = "linear"
    """transformers' name: linear, cosine, constant_with_warmup, …"""
    num_warmup_steps: int | None = None
    """Steps of warm-up. Default: a tenth of all steps."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    dropout: float | None = None
    """Dropout of the base's hidden states while training. Default: the base's own."""
    attention_dropout: float = 0.0
    """Dropout of attention weights; 0 keeps attention on the fast path."""
    early_stopping_patience: int = 3
    """Stop when the dev score has not risen for so many epochs."""
    checkpointing_steps: str | None = None
    """Write a checkpoint every so many optimizer steps, or every "epoch". One is written in any case where Ctrl-C or
    SIGTERM stops the training."""
    keep_checkpoints: int = 1
    """How many of the newest stay."""
    resume_from_checkpoint: str | None = None
    """Go on from a checkpoint's folder, or from the latest one of --output_dir: "latest"."""
    with_tracking: bool = False
    """Tell trackers of losses and scores."""
    report_to: list[str] = field(default_factory=lambda: ["tensorboard"])
    """Which: tensorboard (files in --output_dir/logs), wandb, trackio, or another that Accelerate knows."""
    dry_run: bool = False
    """Resolve everything, take some steps, say what the run would take, and write nothing."""
    mixed_precision: str = "auto"
    """no, bf16, fp16, or auto: bf16 where this machine multiplies faster in it."""
    torch_compile: bool = False
    """Let torch compile the model before it is trained. It takes minutes; on a CPU in bf16 it was no faster then."""
    seed: int = 0
    """Seed of everything that is drawn."""

    load_in_8bit: bool = False
    """Hold the base's matrices in 8 bits (bitsandbytes), for prompting and for what is trained beside them."""
    load_in_4bit: bool = False
    """Hold them in 4 bits."""
    bnb_4bit_quant_type: str = "nf4"
    """How 4 bits are read: nf4 or fp4."""

    metrics: list[str] = field(default_factory=list)
    """Further metrics beside the task's own."""
    output_dir: str = "runs/run"
    """Folder of the run: settings.json, artifact/, predictions.jsonl, scores.json, report.txt."""
    overwrite_output_dir: bool = False
    """Replace the run that --output_dir holds."""
    plugin_dir: list[str] = field(default_factory=list)
    """Folders with methods/, tasks/, metrics/ or data/ of your own."""

    def check(self) -> None:
        """Refuse values that cannot work, before anything is read. Raises SettingsError that names the flag."""
        at_least_one = ("max_length", "train_batch_pieces", "gradient_accumulation_steps", "early_stopping_patience",
                        "keep_checkpoints")  # fmt: skip
        optional = ("max_train_samples", "max_eval_samples", "max_predict_samples", "max_train_steps",
                    "per_device_train_batch_size", "per_device_eval_batch_size")  # fmt: skip
        for name in (*at_least_one, *optional):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "at least 1")
        every = self.checkpointing_steps
        known = every is None or every == "epoch" or (every.isascii() and every.isdigit() and int(every) > 0)
        require(known, "checkpointing_steps", every, "a number of steps, at least 1, or epoch")
        require(0 <= self.seed < 2**32, "seed", self.seed, "between 0 and 4294967295")
        warmup = self.num_warmup_steps
        require(warmup is None or warmup >= 0, "num_warmup_steps", warmup, "0 or more")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        require(self.num_train_epochs > 0, "num_train_epochs", self.num_train_epochs, "above 0")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        require(self.max_grad_norm > 0, "max_grad_norm", self.max_grad_norm, "above 0")
        require(0 < self.validation_split_percentage < 100, "validation_split_percentage",
                self.validation_split_percentage, "between 1 and 99")  # fmt: skip
        for name in ("adam_beta1", "adam_beta2"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        require(self.adam_epsilon > 0, "adam_epsilon", self.adam_epsilon, "above 0")
        finite = ("learning_rate", "num_train_epochs", "weight_decay", "max_grad_norm", "adam_epsilon")
        for name in finite:
            require(math.isfinite(getattr(self, name)), name, getattr(self, name), "a finite number")
        require(0 <= self.attention_dropout < 1, "attention_dropout", self.attention_dropout, "in [0, 1)")
        require(self.dropout is None or 0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        require(
            self.sample_selection in ("first", "random"), "sample_selection", self.sample_selection, "first or random"
        )
        both = self.load_in_8bit and self.load_in_4bit
        require(not both, "load_in_4bit", True, "given without --load_in_8bit")
        kinds = ("nf4", "fp4")
        require(self.bnb_4bit_quant_type in kinds, "bnb_4bit_quant_type", self.bnb_4bit_quant_type, " or ".join(kinds))
        precisions = ("auto", "no", "bf16", "fp16")
        require(self.mixed_precision in precisions, "mixed_precision", self.mixed_precision, f"one of {precisions}")


def require(holds: bool, flag: str, given: object, needed: str) -> None:
    """Raises SettingsError that says flag, value and what is needed, unless the condition holds."""
    if not holds:
        raise SettingsError(f"--{flag} {given}: must be {needed}.")


def join(common: type, *others: type) -> Any:
    """One settings class of several: all their fields, and where two name the same field the later class's default."""
    unique = list(dict.fromkeys((*reversed(others), common)))
    return make_dataclass("Settings", [], bases=tuple(unique), frozen=True, kw_only=True)
