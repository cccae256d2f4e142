"""Opening a base: no Python code of a model is run, and nobody is asked whether it may be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from adapters.core.errors import ModelError
from adapters.models.base_model import load_quietly, open_base

CODE = "from pathlib import Path\nPath({place!r}).touch()\n"
CLASSES = {"AutoConfig": "own.Config", "AutoModel": "own.Model", "AutoTokenizer": ["own.Tokenizer", "own.Tokenizer"]}


@pytest.fixture
def with_code(tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base whose config names classes in a file beside it, which leaves `ran` when it is run."""
    folder = tmp_path / "base"
    shutil.copytree(tiny_bert, folder)
    (folder / "own.py").write_text(CODE.format(place=str(tmp_path / "ran")))
    edit(folder / "config.json", auto_map=CLASSES)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
    return folder


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_base_of_an_unknown_class_with_code_is_refused_in_words(with_code: Path, tmp_path: Path) -> None:
    edit(with_code / "config.json", model_type="own")
    with pytest.raises(ModelError, match="No code of a model is ever run here"):
        open_base(str(with_code))
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_of_an_unknown_class_with_code_is_refused_too(with_code: Path, tmp_path: Path) -> None:
    edit(with_code / "tokenizer_config.json", tokenizer_class="Own", auto_map=CLASSES)
    for path in ("tokenizer.json", "vocab.txt"):
        (with_code / path).unlink(missing_ok=True)
    with pytest.raises(ModelError):
        open_base(str(with_code))
    assert not (tmp_path / "ran").exists()


def test_a_base_of_a_known_class_is_opened_by_that(with_code: Path, tmp_path: Path) -> None:
    base = open_base(str(with_code))
    assert type(load_quietly("AutoModel", base.folder)).__module__.startswith("transformers.")
    assert not (tmp_path / "ran").exists()
