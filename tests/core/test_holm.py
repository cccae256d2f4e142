"""Holm's adjustment is that of the paper, and keeps its promise."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.core.holm import holm


def test_holm_is_what_the_paper_says() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_alarms_falsely_in_one_family_of_twenty() -> None:
    generator = np.random.default_rng(2)
    alarms = sum(min(holm(list(generator.uniform(size=7)))) < 0.05 for _ in range(4000))
    assert 0.038 <= alarms / 4000 <= 0.062
