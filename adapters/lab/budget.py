"""How many dev examples a budget of passes is worth: it is spent evenly, so every condition is scored on the same ones.

Successive halving would look longer at fewer conditions. With five orders each, a poor draw can put the best condition
into the half that is dropped, and what is left would be scored on other examples than the rest; spent evenly, all rows
of the table can be compared.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from adapters.errors import SettingsError
from adapters.lab.asking import Asker, Draw
from adapters.prompting.calibration import Calibration
from adapters.tasks import Example

LEAST = 10
"""Dev examples below which a choice would be noise."""


def affordable(
    asker: Asker, draws: Sequence[Draw], calibrations: Sequence[Calibration], *, budget: int, dev: int
) -> int:
    """Dev examples that every draw can be scored on within the budget.

    Args:
        asker: knows what a draw costs.
        draws: all that are tried.
        calibrations: all that are tried; they share what is read.
        budget: of passes.
        dev: examples there are.

    Raises:
        SettingsError: the budget is worth fewer than `LEAST` (or than all there are).
    """
    nothing = cost(asker, draws, calibrations, 0)
    each = cost(asker, draws, calibrations, 1) - nothing
    number = min(dev, (budget - nothing) // each)
    least = min(LEAST, dev)
    if number < least:
        raise SettingsError(
            f"--budget {budget}: must be at least {nothing + least * each} for {len(draws)} readings (prompts, shots, "
            f"orders) of {least} dev examples. Give more, or try fewer --prompts, --shots, --orders or --calibration."
        )
    return number


def drawn(examples: Sequence[Example], number: int) -> list[Example]:
    """So many of the examples, the same in every run, in their order: files are often sorted by label."""
    chosen = random.Random("lab/dev").sample(range(len(examples)), number)
    return [examples[i] for i in sorted(chosen)]


def cost(asker: Asker, draws: Sequence[Draw], calibrations: Sequence[Calibration], number: int) -> int:
    """Passes of all draws: those of one prompt and number of shots cost the same, and an ensemble its members."""
    known: dict[tuple[str, int], int] = {}
    every = dict.fromkeys(asked for draw in draws for asked in draw.asked)
    for draw in every:
        if (draw.prompt, draw.shots) not in known:
            known[draw.prompt, draw.shots] = asker.passes(draw, calibrations, number)
    return sum(known[draw.prompt, draw.shots] for draw in every)
