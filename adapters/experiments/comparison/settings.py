"""The settings of a comparison, and which of them are invalid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from adapters.core.environment import require_libraries
from adapters.core.settings import INCIDENTAL, require
from adapters.evaluation.documents import RESAMPLE
from adapters.experiments.comparison import exported
from adapters.experiments.comparison.summary import COSTS
from adapters.experiments.many_runs import tuning
from adapters.experiments.many_runs.experiment_settings import (
    LAUNCHING,
    ExperimentSettings,
    check_experiment,
    check_margin,
)

GROWING = frozenset(
    {
        "methods",
        "resample",
        "exports",
        "seeds",
        "train_sizes",
        "also_on_prompt_base",
        "margin",
        "cost",
        "tuning_trials",
        "tuning_seconds",
        "tuning_tokens",
        "tuning_prompt_samples",
        "tuner",
        "search_space",
        *LAUNCHING,
        *INCIDENTAL,
    }
)
"""Settings that may change when a comparison resumes: its finished runs stay valid."""


@dataclass(frozen=True, kw_only=True)
class CompareSettings(ExperimentSettings):
    """What is compared."""

    methods: list[str] = field(
        default_factory=lambda: ["majority", "tfidf", "crf", "full", "head", "lora", "prefix", "zero_shot", "few_shot"]
    )
    """Methods to compare. Of the default ones, those that do not fit the task or the base are left out."""
    seeds: int = 3
    """Seeds of each method: 0, 1, …; a deterministic method runs once."""
    redraw: list[str] = field(default_factory=list)
    """What a seed draws in addition to the head, the order and dropout: train (with --max_train_samples or
    --train_sizes, each seed learns from other examples, the same for all methods)."""
    prompt_model_name_or_path: str | None = None
    """Base model of the prompted methods. Default: --model_name_or_path."""
    also_on_prompt_base: list[str] = field(default_factory=list)
    """Trained methods to run on the prompted base too (one seed), to separate the effects of method and base."""
    train_sizes: list[str] = field(default_factory=list)
    """Numbers of training examples to train with, or all: 50,200,1000,all."""
    full: bool = False
    """Use all examples, not the subsets of the recipe's defaults."""
    margin: float = 1.0
    """Points by which a method may score lower and still be called non-inferior."""
    cost: str = "storage"
    """Tie-breaker between non-inferior methods: storage, training (time), latency or memory."""
    tuning_trials: int = 6
    """Settings that each method tries on dev, its own among them, before it runs with the best ones; 0: none, all
    methods run at their default settings."""
    tuning_seconds: float | None = None
    """Seconds that each method's trials may take, instead of --tuning_trials."""
    tuning_tokens: int | None = None
    """Tokens that each method's trials may train on, instead of --tuning_trials."""
    tuning_prompt_samples: int = 50
    """Dev examples that a trial of a prompted method is scored on, at most."""
    search_space: str | None = None
    """TOML file with search spaces, a table for each method: [lora], learning_rate = {low = 1e-4, high = 1e-2},
    lora_r = [4, 8, 16]. Default: the methods' own."""
    resample: str = "auto"
    """What intervals and tests resample: whole documents, single examples, or auto: documents where every scored
    example knows its own, and there are at least 30 of them."""
    exports: list[str] = field(default_factory=list)
    """Also score what was trained as exports, each a row of its own: onnx, onnx_int8 (needs the extra export)."""
    forbid_overlap: bool = False
    """Refuse a test split that shares an example with train."""


def check_advice(settings: Any) -> None:
    """Raises SettingsError for a margin, a cost or a way of resampling that is invalid."""
    check_margin(settings.margin)
    require(settings.cost in COSTS, "cost", settings.cost, " or ".join(COSTS))
    require(settings.resample in RESAMPLE, "resample", settings.resample, " or ".join(RESAMPLE))


def check_exports(settings: Any) -> None:
    """Raises SettingsError for a form of exports that there is not, or without what writes them."""
    for form in settings.exports:
        require(form in exported.FORMS, "exports", form, " or ".join(exported.FORMS))
    if settings.exports:
        require_libraries("--exports", ("onnx", "onnxscript", "onnxruntime"), "export")


def check_tuning(settings: Any) -> None:
    """Raises SettingsError for a search that is invalid."""
    check_experiment(settings)
    require(
        settings.tuning_prompt_samples >= tuning.FEWEST,
        "tuning_prompt_samples",
        settings.tuning_prompt_samples,
        f"at least {tuning.FEWEST}",
    )
    budgets = [(name, getattr(settings, name)) for name in ("tuning_seconds", "tuning_tokens")]
    given = [(name, value) for name, value in budgets if value is not None]
    for name, value in given:
        require(value > 0, name, value, "above 0")
        require(len(given) == 1, name, value, "given without another budget")
        require(settings.tuning_trials > 0, name, value, "given without --tuning_trials 0, which allows no search")
