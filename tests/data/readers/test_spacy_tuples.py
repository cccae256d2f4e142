"""spaCy's lists of a text and its annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.core import discovery
from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file

ADA = ["Ada met Bob.", {"entities": [[0, 3, "PER"]]}]
OSLO = ["Oslo", {"entities": []}]


def write(path: Path, value: Any, *, by_lines: bool = False, indent: int | None = None) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in value) if by_lines else json.dumps(value, indent=indent))
    return path


def read(path: Path) -> list[tuple[str, Any]]:
    source, faults = open_file(path), Faults(str(path))
    rows = list(source.rows(faults))
    assert source.columns == ["text", "entities"] and faults.count == 0, faults.shown
    return [(row.values["text"], row.values["entities"]) for row in rows]


EXPECTED = [("Ada met Bob.", [[0, 3, "PER"]]), ("Oslo", [])]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "document", [[ADA, OSLO], {"annotations": [ADA, None, OSLO]}, {"classes": ["PER"], "annotations": [ADA, OSLO]}]
)
def test_a_document_is_read(tmp_path: Path, document: Any, indent: int | None) -> None:
    assert read(write(tmp_path / "a.json", document, indent=indent)) == EXPECTED


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_lines_are_read(tmp_path: Path, name: str) -> None:
    assert read(write(tmp_path / name, [ADA, OSLO], by_lines=True)) == EXPECTED


def test_a_first_text_longer_than_what_is_looked_at_is_recognised(tmp_path: Path) -> None:
    long = ["x " * 9000, {"entities": [[0, 1, "X"]]}]
    assert len(read(write(tmp_path / "a.json", [long, ADA]))) == 2


@pytest.mark.parametrize("wrong", [["Ada"], [1, {}], ["Ada", []], {"text": "Ada"}, ["Ada", {}, 1]])
def test_an_example_of_another_form_is_a_fault_at_its_line(tmp_path: Path, wrong: Any) -> None:
    path = write(tmp_path / "a.jsonl", [ADA, wrong, OSLO], by_lines=True)
    faults = Faults("a")
    assert len(list(open_file(path).rows(faults))) == 2
    assert faults.count == 1 and faults.shown[0].startswith(f"{path}:2: ")


def test_a_file_without_a_sound_example_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[["Ada", {"entities": [')
    with pytest.raises(DataError, match="not JSON"):
        open_file(path)


@pytest.mark.parametrize(
    "text", ['[{"text": "a", "entities": []}]', '[["a", "b"]]', '["a", "b"]', '{"annotations": [{}]}']
)
def test_other_documents_are_not_recognised(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    assert not discovery.load("readers", "spacy_tuples").recognises(path, text)
