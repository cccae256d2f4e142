"""The files of `../shared/data/wild` that have entities: read as its `want.json` says, or refused in its words."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from adapters.core.errors import UserError
from adapters.data.dataset_files import open_file
from adapters.data.tag_schemes import spans
from adapters.data.word_splitter import joined_offsets
from adapters.tasks.base.example import Example
from adapters.tasks.ner import Settings, Task

WILD = Path(__file__).parents[3] / "shared" / "data" / "wild"
WANTED: dict[str, Any] = json.loads((WILD / "want.json").read_text()) if WILD.is_dir() else {}
NER = {name: want for name, want in WANTED.items() if want["task"] == "ner"}


def entities(example: Example) -> list[dict[str, str]]:
    inputs = example.inputs
    text = inputs.get("text", " ".join(inputs["tokens"]))
    offsets = inputs.get("offsets", joined_offsets(inputs["tokens"]))
    found = spans(example.gold)
    return [{"text": text[offsets[begin][0] : offsets[end - 1][1]], "label": kind} for kind, begin, end in found]


@pytest.mark.skipif(not NER, reason=f"no real data: {WILD} is absent")
@pytest.mark.parametrize("name", NER or [""])
def test_a_file_is_read_right_or_refused_in_words_that_help(name: str) -> None:
    want, path = NER[name], WILD / name
    path = path / "train" if (path / "train").is_dir() else path
    flags = shlex.split(want.get("flags", ""))
    given: dict[str, Any] = dict(zip([flag[2:] for flag in flags[::2]], flags[1::2], strict=True))
    encoding = given.pop("encoding", "utf-8")
    if "label_names" in given:
        given["label_names"] = given["label_names"].split(",")
    if "refuse" in want:
        with pytest.raises(UserError) as raised:
            Task.read({"train": open_file(path, encoding=encoding)}, Settings(**given))
        assert all(word in str(raised.value) for word in want["refuse"])
        assert "--repair_tags" not in str(raised.value)
        return
    _, splits = Task.read({"train": open_file(path, encoding=encoding)}, Settings(**given))
    train = splits["train"]
    assert (len(train), sorted(train.label_counts())) == (want["examples"], want["labels"])
    if "entities" in want:
        assert [entities(example) for example in train] == want["entities"]


@pytest.mark.skipif(not NER, reason=f"no real data: {WILD} is absent")
def test_there_are_twenty_two_files() -> None:
    assert len(NER) == 22
