"""Data in memory, written as a file."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from adapters.core.errors import DataError
from adapters.data.in_memory import write_rows


def test_a_frame_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    frame = pandas.DataFrame([["a", "x", "b"]], columns=["text", "label", "text"])
    with pytest.raises(DataError, match="train: two columns of the frame have the name 'text'"):
        write_rows("train", frame, tmp_path / "train.jsonl")
    assert not [*tmp_path.iterdir()]
