"""Few-shot (Brown et al. 2020, arXiv:2005.14165): some training examples stand in the prompt with their answers."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.prompting.method import PromptMethod, PromptSettings


@dataclass(frozen=True, kw_only=True)
class Settings(PromptSettings):
    """Few-shot prompting."""

    shots: int = 5
    """Demonstrations, drawn from train by the seed; those that do not fit into the context are dropped, and counted."""
    shot_selection: str = "random"
    """random; balanced: of each class as many; hardest: least likely without shots; nearest: to each query, by
    --shot_encoder. The last two look among 200 examples drawn."""
    shot_encoder: str = "minilm"
    """Encoder whose mean hidden states say what is near."""
    ensemble_orders: int = 1
    """Draws of the shots and of their order, whose class probabilities are averaged."""


class Method(PromptMethod):
    """The prompt with demonstrations."""

    name = "few_shot"
    shots = True
