"""The history of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from adapters.core.errors import numbered

UNMOVED = 3
"""Equal dev scores in a row that are no chance, if the loss of training does not fall either."""
LEARNED = 0.95
"""Share of the first loss below which a loss has fallen."""


@dataclass(kw_only=True)
class History:
    """Losses, scores and speed of a training run."""

    seconds: float = 0.0
    tokens: int = 0
    steps: int = 0
    first_step_at: float = 0.0
    losses: list[float] = field(default_factory=list)
    scores: list[dict[str, float]] = field(default_factory=list)
    best_score: float | None = None
    best_step: int = 0
    stopped_early: bool = False
    out_of_time: bool = False
    warnings: list[str] = field(default_factory=list)

    def idle(self) -> str:
        """What dev scores say of a training that learned nothing; empty where they say no such thing."""
        found = {one["score"] for one in self.scores}
        if found == {0}:
            return "the dev score stayed 0, the model finds nothing"
        if len(self.scores) < UNMOVED or len(found) > 1 or found == {1}:
            return ""
        if self.scores[-1]["loss"] > LEARNED * self.scores[0]["loss"]:
            return f"the dev score stayed {100 * found.pop():.1f}, the model may answer everything alike"
        return ""

    def kept(self) -> str:
        """Which weights are kept, and whether training ended early."""
        epoch, score = next((one["epoch"], one["score"]) for one in self.scores if one["step"] == self.best_step)
        said = f"kept the weights after epoch {epoch}, dev score {score:.2%}"
        without = sum(one["step"] > self.best_step for one in self.scores)
        return said + (f"; ended early after {numbered(without, 'scores')} no higher" if self.stopped_early else "")

    def record(self) -> dict[str, Any]:
        """For scores.json."""
        return {
            "seconds": round(self.seconds, 2),
            "tokens": self.tokens,
            "tokens_per_second": round(self.tokens / max(self.seconds, 1e-9), 1),
            "steps": self.steps,
            "best_step": self.best_step,
            "stopped_early": self.stopped_early,
            "out_of_time": self.out_of_time,
            "warnings": self.warnings,
            "dev_scores": self.scores,
            "first_step_at": self.first_step_at,
            "last_loss": self.losses[-1] if self.losses else None,
        }
