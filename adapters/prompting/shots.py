"""Which training examples are shown as demonstrations, and in which order."""

from __future__ import annotations

import random
from collections.abc import Sequence

from adapters.errors import SettingsError
from adapters.tasks import Example


def draw(train: Sequence[Example], number: int, seed: int) -> list[Example]:
    """So many different training examples, drawn and ordered by the seed. Raises SettingsError if there are fewer."""
    if number > len(train):
        raise SettingsError(
            f"--shots {number}: there are {len(train)} training examples. Give at most --shots {len(train)}."
        )
    chosen = random.Random(f"shots/{seed}").sample(range(len(train)), number)
    return [train[i] for i in chosen]
