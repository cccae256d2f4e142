"""How many dev examples a budget of passes allows: it is spent evenly, so all conditions share the same examples.

Successive halving would spend more on fewer conditions. But over five seeds, an unlucky draw can put the best condition
into the half that is dropped, and the remaining ones would be scored on other examples than the rest; spent evenly, all
rows of the table can be compared.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from adapters.core.errors import SettingsError
from adapters.experiments.prompt_lab.predictors import PredictorFactory, PromptCondition
from adapters.prompting.calibration import Calibration
from adapters.tasks.base.example import Example

LEAST = 10
"""Dev examples below which a choice would be noise."""


def affordable(
    predictors: PredictorFactory,
    conditions: Sequence[PromptCondition],
    calibrations: Sequence[Calibration],
    *,
    budget: int,
    dev: int,
) -> int:
    """Dev examples that every condition can be scored on within the budget.

    Args:
        predictors: knows the cost of a condition.
        conditions: all of them.
        calibrations: all of them; they share the passes.
        budget: number of passes.
        dev: number of dev examples.

    Raises:
        SettingsError: the budget allows fewer than `LEAST` examples, or than all where there are fewer.
    """
    fixed = cost(predictors, conditions, calibrations, 0)
    each = cost(predictors, conditions, calibrations, 1) - fixed
    number = min(dev, (budget - fixed) // each)
    least = min(LEAST, dev)
    if number < least:
        raise SettingsError(
            f"--budget {budget}: must be at least {fixed + least * each} for {len(conditions)} conditions (prompts, "
            f"shots, seeds) on {least} dev examples. Give more, or fewer --prompts, --shots, --seeds or --calibration."
        )
    return number


def sampled(examples: Sequence[Example], number: int) -> list[Example]:
    """A random sample in the original order, the same in every run: files are often sorted by label."""
    chosen = random.Random("lab/dev").sample(range(len(examples)), number)
    return [examples[i] for i in sorted(chosen)]


def cost(
    predictors: PredictorFactory,
    conditions: Sequence[PromptCondition],
    calibrations: Sequence[Calibration],
    number: int,
) -> int:
    """Passes of all conditions: one prompt and number of shots cost the same; an ensemble costs its members."""
    known: dict[tuple[str, int], int] = {}
    every = dict.fromkeys(single for condition in conditions for single in condition.singles)
    for condition in every:
        if (condition.prompt, condition.shots) not in known:
            known[condition.prompt, condition.shots] = predictors.passes(condition, calibrations, number)
    return sum(known[condition.prompt, condition.shots] for condition in every)
