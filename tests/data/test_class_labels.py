"""Names of classes, as `--label_names` gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.core.errors import SettingsError
from adapters.data.class_labels import label_names


@pytest.mark.parametrize("given", [["O", "B-PER"], ["O ", " B-PER"], "O,B-PER"])
def test_names_are_taken_in_order(given: Any) -> None:
    assert label_names(given) == ["O", "B-PER"]


def test_no_name_is_none() -> None:
    assert label_names([]) == []


@pytest.mark.parametrize(
    "value",
    [
        ["bad", "good"],
        {"0": "bad", "1": "good"},
        {"1": "good", "0": "bad"},
        {"bad": 0, "good": 1},
        {"architectures": ["X"], "id2label": {"0": "bad", "1": "good"}},
    ],
)
def test_a_json_file_has_a_list_or_a_dict(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "names.json"
    path.write_text(json.dumps(value))
    assert label_names([str(path)]) == ["bad", "good"]


@pytest.mark.parametrize("value", [[], {}, [1, 2], {"1": "good"}, {"0": "bad", "2": "good"}, "bad", {"bad": 1}])
def test_a_json_file_of_another_form_is_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "names.json"
    path.write_text(json.dumps(value))
    with pytest.raises(SettingsError, match=r"--label_names .*must contain a list of names"):
        label_names([str(path)])


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read as JSON"):
        label_names([str(tmp_path / "no.json")])


@pytest.mark.parametrize("given, message", [(["a", "b", "a"], "'a' occurs twice"), (["a", " "], "a name is empty")])
def test_double_and_empty_names_are_refused(given: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        label_names(given)
