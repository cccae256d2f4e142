"""What the model card says of the base."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from adapters.artifacts.model_card import derived_model_card
from adapters.experiments.records import of_base
from adapters.models.base_model import open_base
from adapters.tasks.base.task import load_task


def test_what_is_said_on_each_use_of_a_base_is_in_the_cards(tiny_bert: Path) -> None:
    base, settings = open_base(str(tiny_bert)), tiny.method("full").settings
    assert "notice" not in of_base(base, settings)
    noted = replace(base, source=replace(base.source, notice="dequantized from 4 bits"))
    card = {"task": {"name": "ner"}, "method": {"library": "peft"}, "base": of_base(noted, settings)}
    assert card["base"]["notice"] == "dequantized from 4 bits"
    assert "dequantized from 4 bits." in derived_model_card(card, ["Merged."]).splitlines()


SAMPLED = {
    "a text": lambda: tiny.classifying(),
    "a pair": lambda: tiny.classifying(pair=True),
    "tags": lambda: tiny.tagging(),
    "a number of a pair": lambda: tiny.regressing(pair=True),
    "a relation": lambda: tiny.relating(),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_the_python_line_of_a_card_is_answered(
    name: str, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, task = open_base(str(tiny_bert)), SAMPLED[name]()
    tiny.adapter(tmp_path / "this/folder", "lora", base, task)
    card = {
        "task": task.card(),
        "request": task.sample_request(),
        "method": {"library": "peft"},
        "base": {"name": base.name},
    }
    (code,) = re.findall(r"```python\n(.*?)```", derived_model_card(card, []).partition("Of transformers'")[0], re.S)
    monkeypatch.chdir(tmp_path)
    exec(code.replace('"this/folder"', f'"this/folder", base={str(tiny_bert)!r}'), {})
    assert capsys.readouterr().out.strip()


def test_a_request_of_every_task_is_one_that_it_takes() -> None:
    for made in (*SAMPLED.values(), lambda: load_task("question_answering")(), lambda: load_task("summarization")()):
        task = made()
        given = task.sample_request()
        assert task.from_request(given if isinstance(given, dict) else {"text": given}, "0").inputs
