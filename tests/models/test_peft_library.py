"""PEFT without bitsandbytes, until a quantized base needs it."""

from __future__ import annotations

import ast
from pathlib import Path

import forked
import pytest
import tiny

import adapters
from adapters.models.base_model import open_base

pytestmark = pytest.mark.slow

HERE = Path(adapters.__file__).parent
WITHOUT = """
import sys
from adapters.models.peft_library import peft

stand_in = peft.helpers.bnb
assert "bitsandbytes" not in sys.modules
used = stand_in.functional
import bitsandbytes

assert sys.modules["bitsandbytes"] is bitsandbytes is not stand_in
assert used is bitsandbytes.functional, "PEFT's own use of it reaches the real one"
"""


def test_peft_is_imported_without_bitsandbytes_which_is_imported_when_it_is_used(tmp_path):
    (tmp_path / "without.py").write_text(WITHOUT)
    ended = forked.ended([tmp_path / "without.py"], tmp_path)
    assert ended.returncode == 0, ended.stderr


SILENT = """
import sys
from adapters.cli.main import main

code = main(sys.argv[1:])
assert "bitsandbytes" not in sys.modules
sys.exit(code)
"""


def test_an_adapter_answers_without_bitsandbytes_and_without_a_word_about_it(tmp_path, tiny_bert):
    (tmp_path / "silent.py").write_text(SILENT)
    adapter = tiny.adapter(tmp_path / "adapter", "lora", open_base(str(tiny_bert)), tiny.tagging())
    words = [tmp_path / "silent.py", "predict", adapter, "Ada lived in Oslo.", "--base", tiny_bert]
    ended = forked.ended(words, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert [line for line in ended.stderr.splitlines() if line] == ["device: cpu (auto), float32"], ended.stderr


def test_nothing_else_imports_peft():
    found = []
    for path in sorted(HERE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [path.name for name in names if name.split(".")[0] == "peft"]
    assert found == ["peft_library.py"]
