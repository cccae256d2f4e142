"""What a frozen base model makes of texts: a vector for each, for routing and herding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.models.base_model import Base
from adapters.serving.bank.routing import text_in
from adapters.tasks.base.example import Example, Examples


class Features:
    """What a frozen base makes of examples; the base is loaded once, and a whole split read once."""

    def __init__(self, base: Base) -> None:
        """Args: base: the base model."""
        self.base = base
        self._embed: Any = None
        self._splits: dict[str, np.ndarray] = {}

    def __call__(self, examples: Sequence[Example]) -> np.ndarray:
        """float32 `[examples, hidden]`."""
        from adapters.tasks.base.embedding import text_embedder

        if self._embed is None:
            self._embed = text_embedder(str(self.base.folder))
        return np.asarray(self._embed([text_in(example.inputs) for example in examples]))

    def of(self, split: Examples) -> np.ndarray:
        """float32 `[examples, hidden]` of a split, which is kept."""
        key = split.dataset._fingerprint
        if key not in self._splits:
            self._splits[key] = self(split[:])
        return self._splits[key]
