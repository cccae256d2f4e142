"""Settings common to all runs; recipe.py joins those of the task and the method."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, make_dataclass
from typing import Any, get_type_hints

from adapters.core.errors import SettingsError

INCIDENTAL = frozenset({"output_dir", "overwrite_output_dir", "resume_from_checkpoint"})
"""Settings that affect neither the model nor the scores, and so are left out of digests of settings."""
SHORTEST = 200
"""Optimizer steps that a training has at least, where nothing was given that says how long it is: a few epochs of a few
hundred examples teach nothing. LoRA on 150 of TREC's questions, three epochs: 9 steps, accuracy 17; 200 steps, 77."""
LENGTHS = frozenset({"num_train_epochs", "max_train_steps", "min_train_steps"})
"""Settings that say how long a training is."""
FILE = "file"
"""In the metadata of a field: its value names a file that is read, which that of an artifact must have within it."""
OWN_DEFAULTS = "own_defaults"
"""In the metadata of a field of `join_methods`: what its default is."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which data, and how they are read."""

    dataset_name: str | None = "conll2003"
    """Path, Hub id or alias (conll2003) of the dataset. Not used with --train_file; --validation_file and --test_file
    replace its splits."""
    dataset_config_name: str | None = None
    """Configuration name of a Hub dataset."""
    train_file: str | None = None
    """Training data: column file, JSON, CSV, Excel, Parquet, lines of a label and a text, SQuAD, or parallel lines;
    also in .gz, .bz2, .xz and .zip."""
    validation_file: str | None = None
    """Validation (dev) data. Default: a part of the training data."""
    test_file: str | None = None
    """Test data. Without it the final scores are those of dev, and named so."""
    dataset_format: str | None = None
    """Reader of the data files, by name: conll, jsonl, csv, excel, parquet, labelled_lines, … Default: detected."""
    column_names: list[str] = field(default_factory=list)
    """Names of the columns of a table without a header: label,title,text. The first line is then a row, unless it is
    a header after all, whose names these replace."""
    document_column_name: str | None = None
    """Column that says which document an example is a part of, so that whole documents can be resampled. Default:
    document_id, doc_id, article_id, document; -DOCSTART- lines of a column file; the context of a question."""
    encoding: str = "utf-8"
    """Encoding of the data files."""
    validation_split_percentage: int = 10
    """Percentage of the training data used as dev if there is no dev split (chosen by a hash of the text, or whole
    documents by a hash of their names, whatever the seed)."""
    max_train_samples: int | None = None
    """Truncate the number of training examples to this value."""
    max_eval_samples: int | None = None
    """Truncate the number of dev examples to this value."""
    max_predict_samples: int | None = None
    """Truncate the number of test examples to this value."""
    sample_selection: str = "first"
    """Examples that --max_..._samples keep: first, or random (the same in every run, for sorted files)."""
    train_draw: int | None = None
    """Number of a random draw of --max_train_samples training examples; each number draws others. Default: as
    --sample_selection says."""
    allow_unknown_tokens: bool = False
    """Train even if more than 30 % of the tokens are unknown to the tokenizer."""
    plugin_dir: list[str] = field(default_factory=list)
    """Folders with your own methods/, tasks/, evaluation/metrics/, data/readers/ or prompts/."""

    def check(self) -> None:
        """Check all values before anything is read. Raises SettingsError that names the flag."""
        for name in ("max_train_samples", "max_eval_samples", "max_predict_samples"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "at least 1")
        require(
            0 < self.validation_split_percentage < 100,
            "validation_split_percentage",
            self.validation_split_percentage,
            "between 1 and 99",
        )
        require(
            self.sample_selection in ("first", "random"), "sample_selection", self.sample_selection, "first or random"
        )
        if self.train_draw is not None:
            require(self.train_draw >= 0, "train_draw", self.train_draw, "0 or more")
            needed = "given with --max_train_samples, the number of examples to draw"
            require(self.max_train_samples is not None, "train_draw", self.train_draw, needed)


@dataclass(frozen=True, kw_only=True)
class CommonSettings(DataSettings):
    """Model, data, training and output of a run."""

    model_name_or_path: str = "minilm"
    """Path, Hub id (bert-base-cased) or alias (minilm, e5, smollm2) of the base model."""
    max_length: int = 256
    """Maximum length of a window in tokens; longer sentences are split into overlapping windows, never truncated.
    Also --max_seq_length."""
    max_tokens_per_batch: int = 1024
    """Maximum tokens, padding included, in a training batch over all processes. Batches are formed by length."""
    per_device_train_batch_size: int | None = None
    """Training batch size per device, instead of --max_tokens_per_batch."""
    per_device_eval_batch_size: int | None = None
    """Evaluation batch size per device, instead of by tokens."""
    gradient_accumulation_steps: int | None = None
    """Number of batches to accumulate before an optimizer step. Default: 1; where texts are so long that a batch has
    few labels, as many as give a step 16."""
    learning_rate: float = 1e-4
    """Peak learning rate."""
    weight_decay: float = 0.01
    """AdamW's weight decay, not applied to biases and norms."""
    adam_beta1: float = 0.9
    """AdamW's first-moment decay."""
    adam_beta2: float = 0.999
    """AdamW's second-moment decay."""
    adam_epsilon: float = 1e-8
    """AdamW's epsilon."""
    num_train_epochs: float = 3.0
    """Number of training epochs."""
    max_train_steps: int | None = None
    """Number of optimizer steps; overrides --num_train_epochs."""
    min_train_steps: int | None = None
    """Train at least this number of optimizer steps, where epochs or early stopping would end sooner. Default: 200,
    so that few examples are enough; none where --num_train_epochs or --max_train_steps is given."""
    max_train_seconds: float | None = None
    """Stop training after this many seconds of training steps, and keep the best weights so far. The learning-rate
    schedule is that of all steps."""
    lr_scheduler_type: str = "linear"
    """Learning rate schedule of transformers: linear, cosine, constant_with_warmup, …"""
    lr_scheduler_kwargs: str | None = None
    """Further values of the schedule, as a JSON object: '{"num_cycles": 2}'."""
    num_warmup_steps: int | None = None
    """Number of warm-up steps. Default: a tenth of all steps."""
    max_grad_norm: float = 1.0
    """Maximum gradient norm, for gradient clipping."""
    dropout: float | None = None
    """Dropout probability of the base's hidden states in training. Default: that of its config."""
    attention_dropout: float = 0.0
    """Dropout probability of attention weights; 0 allows the fast attention kernels."""
    early_stopping_patience: int = 3
    """Stop training when the dev score has not improved for this number of scorings: one each epoch; in a training of
    more than 20 epochs of fewer than 10 steps, one after each twentieth of its steps, or 10 steps if that is less."""
    checkpointing_steps: str | None = None
    """Save a checkpoint every n optimizer steps, or every "epoch". Ctrl-C and SIGTERM always save one before training
    stops."""
    save_total_limit: int = 1
    """Number of checkpoints to keep; older ones are deleted."""
    resume_from_checkpoint: str | None = None
    """Resume from the folder of a checkpoint, or from the "latest" in --output_dir."""
    with_tracking: bool = False
    """Log losses and scores to the trackers of --report_to."""
    report_to: list[str] = field(default_factory=lambda: ["tensorboard"])
    """Trackers of --with_tracking: tensorboard (writes to --output_dir/logs), wandb, trackio, or others supported by
    Accelerate."""
    dry_run: bool = False
    """Check everything, take some steps, print the estimated time and memory, and write nothing."""
    mixed_precision: str = "auto"
    """no, bf16, fp16, or auto: bf16 if it is faster on this machine."""
    torch_compile: bool = False
    """Compile the model before training. It takes minutes; on a CPU in bf16 training was no faster."""
    seed: int = 0
    """Random seed."""
    trial: bool = False
    """A trial of a search: scored on dev, while test is never read for a score; leaves no artifact and measures no
    latency."""

    load_in_8bit: bool = False
    """Quantize the base to 8 bits (bitsandbytes), for prompting and for methods that do not train its weights."""
    load_in_4bit: bool = False
    """Quantize the base to 4 bits."""
    bnb_4bit_quant_type: str = "nf4"
    """4-bit data type: nf4 or fp4."""

    metrics: list[str] = field(default_factory=list)
    """Further metrics: names of metrics, or scripts of Hugging Face's evaluate, by a local folder or .py file
    (./my_metric), or from the Hub (evaluate:exact_match, owner/name) with --trust_remote_code."""
    trust_remote_code: bool = False
    """Let --metrics run scripts from the Hub on this machine."""
    output_dir: str = "runs/run"
    """Folder of the run, for settings.json, artifact/, predictions.jsonl, scores.json and report.txt."""
    overwrite_output_dir: bool = False
    """Overwrite a run in --output_dir."""

    def check(self) -> None:
        """Check all values before anything is read. Raises SettingsError that names the flag."""
        super().check()
        at_least_one = (
            "max_length",
            "max_tokens_per_batch",
            "early_stopping_patience",
            "save_total_limit",
        )
        optional = (
            "gradient_accumulation_steps",
            "max_train_steps",
            "min_train_steps",
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
        )
        for name in (*at_least_one, *optional):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "at least 1")
        every = self.checkpointing_steps
        known = every is None or every == "epoch" or (every.isascii() and every.isdigit() and int(every) > 0)
        require(known, "checkpointing_steps", every, "a number of steps, at least 1, or epoch")
        resumed = self.resume_from_checkpoint
        named = resumed is None or bool(resumed.strip())
        require(named, "resume_from_checkpoint", repr(resumed), "latest, or the folder of a checkpoint")
        require(0 <= self.seed < 2**32, "seed", self.seed, "between 0 and 4294967295")
        warmup = self.num_warmup_steps
        require(warmup is None or warmup >= 0, "num_warmup_steps", warmup, "0 or more")
        seconds = self.max_train_seconds
        require(seconds is None or (seconds > 0 and math.isfinite(seconds)), "max_train_seconds", seconds, "above 0")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        require(self.num_train_epochs > 0, "num_train_epochs", self.num_train_epochs, "above 0")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        require(self.max_grad_norm > 0, "max_grad_norm", self.max_grad_norm, "above 0")
        for name in ("adam_beta1", "adam_beta2"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        require(self.adam_epsilon > 0, "adam_epsilon", self.adam_epsilon, "above 0")
        finite = ("learning_rate", "num_train_epochs", "weight_decay", "max_grad_norm", "adam_epsilon")
        for name in finite:
            require(math.isfinite(getattr(self, name)), name, getattr(self, name), "a finite number")
        require(0 <= self.attention_dropout < 1, "attention_dropout", self.attention_dropout, "in [0, 1)")
        require(self.dropout is None or 0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        both = self.load_in_8bit and self.load_in_4bit
        require(not both, "load_in_4bit", True, "given without --load_in_8bit")
        kinds = ("nf4", "fp4")
        require(self.bnb_4bit_quant_type in kinds, "bnb_4bit_quant_type", self.bnb_4bit_quant_type, " or ".join(kinds))
        precisions = ("auto", "no", "bf16", "fp16")
        require(self.mixed_precision in precisions, "mixed_precision", self.mixed_precision, f"one of {precisions}")


def require(holds: bool, flag: str, given: object, needed: str) -> None:
    """Raises SettingsError with flag, value and what is needed, unless the condition holds."""
    if not holds:
        raise SettingsError(f"--{flag} {given}: must be {needed}.")


def shortest(given: Collection[str]) -> dict[str, int]:
    """The least number of steps of a training, as a default, unless one of the settings given says how long it is."""
    return {} if LENGTHS & {*given} else {"min_train_steps": SHORTEST}


def check_tracking(settings: Any, given: Collection[str]) -> None:
    """Raises SettingsError where trackers are given by name and are not turned on."""
    tracked = settings.with_tracking or "report_to" not in given
    require(tracked, "report_to", ", ".join(settings.report_to), "given with --with_tracking, which turns trackers on")


def join(common: type, *others: type) -> Any:
    """Join settings classes: all their fields; for fields of the same name, the default of the later class."""
    unique = list(dict.fromkeys((*reversed(others), common)))
    return make_dataclass("Settings", [], bases=tuple(unique), frozen=True, kw_only=True)


def with_defaults(kind: type, defaults: Mapping[str, Any]) -> type:
    """A settings class with other defaults."""
    if not defaults:
        return kind
    hints = get_type_hints(kind)
    changed = [(name, hints[name], field(default=value)) for name, value in defaults.items()]
    return make_dataclass("Settings", changed, bases=(kind,), frozen=True, kw_only=True)


def join_methods(common: type, methods: Mapping[str, type], *others: type) -> Any:
    """Join the settings of several methods that are run with the same flags.

    A setting whose default is not the same in all of them has none here: its value is None unless it is given, and
    each method takes its own.

    Args:
        common: settings of all of them.
        methods: settings by method.
        others: further settings, whose defaults are those of all methods.
    """
    joined = join(common, *methods.values(), *others)
    usual, own = {one.name: one for one in fields(common)}, dict[str, dict[str, Field[Any]]]()
    for method, kind in methods.items():
        for one in fields(kind):
            own.setdefault(one.name, {})[method] = one
    hints = get_type_hints(joined)
    changed = []
    for name in {one.name for kind in others for one in fields(kind)} & {*own}:
        del own[name]
    for name, of in own.items():
        defaults = [_default(one) for one in (*of.values(), *([usual[name]] if name in usual else []))]
        if any(default != defaults[0] for default in defaults):
            known = dict[str, list[str]]()
            for method, one in of.items():
                known.setdefault(_shown(_default(one)), []).append(method)
            told = "; ".join(f"{value} ({', '.join(those)})" for value, those in known.items())
            rest = f"; {_shown(_default(usual[name]))} (the others)" if name in usual else ""
            about = f"Default: each method's own: {told}{rest}."
            changed.append((name, hints[name] | None, field(default=None, metadata={OWN_DEFAULTS: about})))
    return make_dataclass("Settings", changed, bases=(joined,), frozen=True, kw_only=True)


def lasting(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the incidental ones: what the result of a run depends on."""
    return {name: value for name, value in values.items() if name not in INCIDENTAL}


def own_defaults(kind: type) -> set[str]:
    """Names of the settings whose default is each method's own."""
    return {one.name for one in fields(kind) if OWN_DEFAULTS in one.metadata}


def _shown(default: object) -> str:
    """A default in --help."""
    return "none" if default is None else str(default)


def _default(one: Field[Any]) -> Any:
    """The default of a field."""
    return one.default if one.default_factory is MISSING else one.default_factory()
