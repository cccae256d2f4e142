"""`taskswap export`: what is written, and what is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

import adapters
from adapters.cli import export
from adapters.cli.main import main
from adapters.core import discovery

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def translator(tmp_path: Path) -> tuple[Path, Path]:
    """A causal base, and an adapter that translates on it."""
    from adapters.models.base_model import open_base

    base = open_base(str(tiny.llama(tmp_path / "llama")))
    task = discovery.load("tasks", "translation").Task(source_lang="en", target_lang="de")
    return tmp_path / "llama", tiny.adapter(tmp_path / "translator", "lora", base, task, lora_r=2)


@pytest.mark.parametrize(
    ("flags", "files"),
    [
        (["--format", "gguf"], {"README.md", "card.json", "model.gguf"}),
        (["--format", "gguf", "--apart"], {"README.md", "adapter.gguf", "base.gguf", "card.json"}),
        (["--format", "merged"], {"README.md", "card.json", "config.json", "model.safetensors", "tokenizer.json"}),
    ],
)
def test_an_adapter_is_exported(translator, tmp_path: Path, capsys, flags: list[str], files: set[str]) -> None:
    base, folder = translator
    out = tmp_path / "out"
    assert main(["export", str(folder), *flags, "--output_dir", str(out), "--base", str(base)]) == 0
    assert f"written to {out}" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} >= files
    if "gguf" in flags:
        assert "English: A text.\nGerman:" in (out / "README.md").read_text()
        assert main(["inspect", str(out)]) == 0
        assert "export to gguf" in capsys.readouterr().out
        assert main(["predict", str(out), "a"]) == 2
        assert "an export to gguf, not an export to ONNX" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a", "--format", "onxx"], "did you mean 'onnx'"),
        (["--format", "onnx"], "Give an artifact, or --adapters"),
        (["a", "--format", "onnx", "--adapters", "x=b"], "one of the two"),
        (["--format", "onnx", "--adapters", "x"], "must be NAME=FOLDER"),
        (["--format", "onnx", "--adapters", "x=a", "x=b"], "x is given twice"),
        (["--format", "onnx", "--adapters", "../x=a"], "letters, digits"),
        (["a", "--format", "onnx", "--test_file", "t.csv"], "only with --quantize"),
        (["a", "--format", "onnx", "--quantize", "int8", "--text_column_name", "t"], "names a column of --test_file"),
        (["a", "--format", "merged", "--quantize", "int8"], "a: no such folder"),
        (["nowhere", "--format", "gguf"], "nowhere: no such folder"),
    ],
)
def test_wrong_flags_are_refused(words: list[str], said: str, tmp_path: Path, capsys) -> None:
    assert main(["export", *words, "--output_dir", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--format", "gguf"], ["--format", "merged"], ["--format", "onnx"]])
def test_an_output_folder_that_cannot_be_made_is_refused(translator, tmp_path: Path, capsys, words: list[str]) -> None:
    base, folder = translator
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    given = ["export", str(folder), *words, "--base", str(base), "--output_dir", str(tmp_path / "file" / "x")]
    assert main(given) == 2
    assert f"--output_dir {tmp_path}/file/x: {tmp_path}/file is a file. Name a folder." in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_test_data_of_a_run_are_found_again_by_their_own_file(tmp_path: Path) -> None:
    """Never a file of which only a part was cut as test; a file that cannot be read alone is left."""
    rows = ["text,label", *(f"a {'good' if n % 2 else 'bad'} film {n},{'yes' if n % 2 else 'no'}" for n in range(40))]
    for name, lines in {"train": rows, "test": rows[:9], "one": rows[:2]}.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    found = {}
    for name in ("test", "one", "train"):
        given = {"test": str(tmp_path / f"{name}.csv")} if name != "train" else {}
        train = str(tmp_path / "train.csv")
        made = adapters.train(task="classification", method="tfidf", train=train, output_dir=tmp_path / name, **given)
        assert made is not None
        found[name] = export._test(export.Settings(artifact=made.folder, format="onnx", output_dir=tmp_path / "out"))
    assert found["test"] is not None and len(found["test"]) == 8
    assert found["one"] is None and found["train"] is None
