"""The settings of the prompt lab."""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.errors import SettingsError
from adapters.lab.asking import TOGETHER
from adapters.prompting.calibration import SCORES, Calibration, parse
from adapters.prompting.shots import SELECTIONS
from adapters.settings import require


@dataclass(frozen=True, kw_only=True)
class LabSettings:
    """What is tried."""

    prompts: list[str] = field(default_factory=list)
    """Prompts by name (python -m adapters prompts lists them), or .toml files. Default: <task>_few."""
    shots: list[int] = field(default_factory=lambda: [0, 1, 4, 8])
    """Numbers of demonstrations; those that do not fit into the context are dropped, and counted."""
    orders: int = 5
    """Draws of the demonstrations and of their order, by the seeds 0, 1, …; without demonstrations there is one."""
    calibration: list[str] = field(default_factory=lambda: ["none"])
    """none, contextual, batch, pmi, domain, channel, or several joined by +, a score among them (pmi+mean)."""
    score: str = "sum"
    """Where --calibration names none: a word's log-likelihood whole (sum), by piece (mean), or by byte."""
    ensemble: list[str] = field(default_factory=list)
    """Rows in which draws answer together, by the mean of their class probabilities: orders, prompts, prompts+orders;
    they cost nothing beyond the draws."""
    shot_selection: str = "random"
    """random; balanced: of each class as many; hardest: least likely without shots; nearest: to each query, by
    --shot_encoder. The last two look among 200 examples drawn."""
    shot_encoder: str = "minilm"
    """Encoder whose mean hidden states say what is near."""
    max_new_tokens: int = 64
    """Longest answer, in pieces, where the model writes it."""
    optimise: bool = False
    """Choose prompt, shots and calibration on the dev split, and score them on test once."""
    budget: int | None = None
    """Texts that the model may read to choose, with --optimise; the words of a channel count one by one."""

    def check_lab(self) -> list[Calibration]:
        """The calibrations. Raises SettingsError for values that cannot work, before anything is read."""
        require(bool(self.shots), "shots", "", "numbers of demonstrations, as in 0,1,4,8")
        for shots in self.shots:
            require(shots >= 0, "shots", shots, "0 or more")
        require(self.orders >= 1, "orders", self.orders, "at least 1")
        require(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, "at least 1")
        require(self.score in SCORES, "score", self.score, f"one of {', '.join(SCORES)}")
        for kind in self.ensemble:
            require(kind in TOGETHER, "ensemble", kind, f"of {', '.join(TOGETHER)}")
        chosen = f"one of {', '.join(SELECTIONS)}"
        require(self.shot_selection in SELECTIONS, "shot_selection", self.shot_selection, chosen)
        if self.optimise and self.budget is None:
            raise SettingsError(
                "--optimise: needs --budget, the number of texts that the model may read to choose, as in "
                "--optimise --budget 5000."
            )
        if self.budget is not None and not self.optimise:
            raise SettingsError(f"--budget {self.budget}: is for --optimise. Add --optimise, or leave it out.")
        require(self.budget is None or self.budget >= 1, "budget", self.budget, "at least 1")
        found = parse(self.calibration, self.score)
        require(bool(found), "calibration", "", "none, or what is taken out, as in none,contextual")
        return list({calibration.name: calibration for calibration in found}.values())
