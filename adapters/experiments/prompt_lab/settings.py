"""The settings of the prompt lab."""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.core.errors import SettingsError
from adapters.core.settings import require
from adapters.experiments.prompt_lab.predictors import TOGETHER
from adapters.methods.base.prompt_method import CONSTRAINED
from adapters.prompting.calibration import SCORES, Calibration, parse
from adapters.prompting.demonstrations import SELECTIONS


@dataclass(frozen=True, kw_only=True)
class LabSettings:
    """What the lab compares."""

    prompts: list[str] = field(default_factory=list)
    """Prompts by name (taskswap prompts lists them), or .toml files. Default: <task>_few."""
    shots: list[int] = field(default_factory=lambda: [0, 1, 4, 8])
    """Numbers of demonstrations (shots); those that do not fit into the context are dropped, and counted."""
    seeds: int = 5
    """Seeds 0, 1, …, each of which draws and orders the shots; without shots there is one."""
    calibration: list[str] = field(default_factory=lambda: ["none"])
    """none, contextual, batch, pmi, domain, channel, or several joined by +, with a score if you like (pmi+mean)."""
    score: str = "sum"
    """Where --calibration has no score: the log-likelihood of a word as a sum, as a mean over tokens, or per byte."""
    ensemble: list[str] = field(default_factory=list)
    """Ensembles of conditions, by the mean of their class probabilities: seeds, prompts, prompts+seeds. They cost
    nothing beyond their members."""
    shot_selection: str = "random"
    """random; balanced: equally many of each class; hardest: least likely without shots; nearest: to each query, by
    --shot_encoder. The last two choose from 200 random examples."""
    shot_encoder: str = "minilm"
    """Encoder whose mean hidden states measure what is near."""
    apply_chat_template: str = "auto"
    """Write prompts as turns of the base's chat template: auto (where its tokenizer has one), yes or no."""
    max_new_tokens: int = 64
    """Longest generated answer, in tokens."""
    decoding: str = CONSTRAINED
    """Of generated answers: constrained to those that can be parsed, as in a run, or free, with parse failures
    counted."""
    optimize: bool = False
    """Choose prompt, shots and calibration on the dev split, and score them on test once."""
    budget: int | None = None
    """Texts that the model may read to choose, with --optimize; each word of a channel counts."""

    def check_lab(self) -> list[Calibration]:
        """The calibrations. Raises SettingsError for values that cannot work, before anything is read.

        What a prompted run has as well is checked by its method.
        """
        require(bool(self.shots), "shots", "", "numbers of demonstrations, as in 0,1,4,8")
        for shots in self.shots:
            require(shots >= 0, "shots", shots, "0 or more")
        require(self.seeds >= 1, "seeds", self.seeds, "at least 1")
        require(self.score in SCORES, "score", self.score, f"one of {', '.join(SCORES)}")
        for kind in self.ensemble:
            require(kind in TOGETHER, "ensemble", kind, f"of {', '.join(TOGETHER)}")
        chosen = f"one of {', '.join(SELECTIONS)}"
        require(self.shot_selection in SELECTIONS, "shot_selection", self.shot_selection, chosen)
        if self.optimize and self.budget is None:
            raise SettingsError(
                "--optimize: needs --budget, the number of texts that the model may read to choose, as in "
                "--optimize --budget 5000."
            )
        if self.budget is not None and not self.optimize:
            raise SettingsError(f"--budget {self.budget}: is for --optimize. Add --optimize, or leave it out.")
        require(self.budget is None or self.budget >= 1, "budget", self.budget, "at least 1")
        found = parse(self.calibration, self.score)
        require(bool(found), "calibration", "", "none, or names of calibrations, as in none,contextual")
        return list({calibration.name: calibration for calibration in found}.values())
