"""Few-shot (Brown et al. 2020, arXiv:2005.14165): the prompt contains some training examples with their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapters.methods.base.prompt_method import PromptMethod, PromptSettings


@dataclass(frozen=True, kw_only=True)
class Settings(PromptSettings):
    """Few-shot prompting."""

    shots: int = 5
    """Number of demonstrations, sampled from train. Those that do not fit the context are dropped and counted."""
    shot_seed: int | None = None
    """Seed that draws the shots and their order, whatever the run's. Default: --seed."""
    shot_selection: str = "random"
    """random; balanced: equally many of each class; hardest: those least likely without shots; nearest: those most
    similar to each query, by --shot_encoder. The last two choose among 200 sampled examples."""
    shot_encoder: str = "minilm"
    """Encoder whose mean hidden states define similarity."""
    ensemble_seeds: int = 1
    """Number of seeds for the shots and their order, whose class probabilities are averaged."""


class Method(PromptMethod):
    """The prompt with demonstrations."""

    name = "few_shot"
    shots = True
    reads_train = True

    @classmethod
    def moved_by_seed(cls, settings: Any) -> bool:
        """Only by the draw of the shots."""
        return settings.shots > 0 and settings.shot_seed is None
