"""Data in memory, written as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest

from adapters.core.errors import DataError
from adapters.data.in_memory import write_rows


def test_a_frame_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    frame = pandas.DataFrame([["a", "x", "b"]], columns=["text", "label", "text"])
    with pytest.raises(DataError, match="train: two columns of the frame have the name 'text'"):
        write_rows("train", frame, tmp_path / "train.jsonl")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("value", [float("inf"), [1.0, -float("inf")], {"score": float("inf")}])
def test_an_infinite_number_is_refused_with_its_row(value: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train: row 2: column 'score' contains -?inf, which no file holds"):
        write_rows("train", [{"text": "a", "score": 1.0}, {"text": "b", "score": value}], tmp_path / "train.jsonl")
