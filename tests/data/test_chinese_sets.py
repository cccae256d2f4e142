"""The public Chinese data sets, as they are published: counts and labels, with the flags that docs/chinese.md names."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import SHARED_DATA

from adapters.core import discovery
from adapters.core.settings import CommonSettings, join
from adapters.tasks.base import examples

SETS: list[tuple[str, str, int, int, dict[str, Any]]] = [
    ("zh_fewclue/tnews.dev.jsonl", "classification", 1098, 15, {}),
    ("zh_fewclue/eprstmt.dev.jsonl", "classification", 160, 2, {}),
    ("zh_fewclue/bustm.dev.jsonl", "classification", 160, 2, {}),
    ("zh_ocnli/dev.jsonl", "classification", 2950, 3, {}),
    ("zh_thucnews_titles/test.tsv", "classification", 10_000, 10, {}),
    ("zh_chnsenticorp/dev.tsv", "classification", 1200, 2, {}),
    ("zh_cluener/dev.jsonl", "ner", 1343, 21, {"by_character": True, "spans": "snap"}),
    ("zh_resume_ner/dev.char.bmes", "ner", 463, 17, {"repair_tags": True}),
    ("zh_cmrc2018/trial.json", "question_answering", 1000, 0, {"repair_questions": True}),
]
"""File, task, examples, outputs of a head, flags."""

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"no real data: {SHARED_DATA} is absent")


@pytest.mark.parametrize(("file", "name", "count", "labels", "flags"), SETS, ids=[one[0] for one in SETS])
def test_a_public_set_is_read_whole(file: str, name: str, count: int, labels: int, flags: dict[str, Any]) -> None:
    path = str(SHARED_DATA / file)
    kind = join(CommonSettings, discovery.load("tasks", name).Settings)
    task, splits, _ = examples.read_splits(name, kind(train_file=path, validation_file=path, **flags))
    assert (len(splits["train"]), len(task.labels)) == (count, labels)
