"""Which file is which split, which reader reads it, and what is refused before work begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adapters.core import discovery
from adapters.core.errors import DataError, Faults, SettingsError, SourceError
from adapters.data.dataset_files import open_file, open_splits


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("a O\n\nb O\n")
    return folder


def found(folder: Path, **options: object) -> dict[str, str]:
    splits = open_splits(folder=folder, **options)  # type: ignore[arg-type]
    return {split: Path(source.name).name for split, source in splits.items()}


def test_the_readers_are_the_files_of_the_folder() -> None:
    readers = [
        "brat",
        "class_folders",
        "conll",
        "csv",
        "dygie",
        "excel",
        "fewrel",
        "hf_datasets",
        "jsonl",
        "labelled_lines",
        "parallel",
        "parquet",
        "semeval_relations",
        "seq_in",
        "spacy_tuples",
        "squad",
    ]
    assert discovery.names("readers") == readers


def test_each_reader_offers_what_the_protocol_lists() -> None:
    for name in discovery.names("readers"):
        module = discovery.load("readers", name)
        assert isinstance(module.EXTENSIONS, tuple)
        assert callable(module.recognises) and callable(module.open)
        assert module.recognises(Path("x"), "") is False
        assert module.FILES[0].isalpha() and not module.FILES.endswith(".")  # words within a message


def test_importing_the_readers_imports_no_heavy_library() -> None:
    code = (
        "import sys; from adapters.core import discovery; from adapters.data import arrow_cache\n"
        "for name in discovery.names('readers'): discovery.load('readers', name)\n"
        "print([name for name in ('torch', 'transformers', 'datasets', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "names",
    [
        ("train.conll", "dev.conll", "test.conll"),
        ("stsa.binary.train", "stsa.binary.dev", "stsa.binary.test"),
        ("raw.TREC.train", "raw.TREC.valid", "raw.TREC.test"),
        ("train.char.bmes", "eval.char.bmes", "test.char.bmes"),
        ("eng-train.txt", "eng-validation.txt", "eng-test.txt"),
        ("en_TRAIN.txt", "en_VAL.txt", "test_2016.txt"),
    ],
)
def test_a_part_of_the_name_says_the_split(tmp_path: Path, names: tuple[str, str, str]) -> None:
    fill(tmp_path, *names, "readme.conll", "training.conll", "latest.conll", ".train.conll.swp")
    assert found(tmp_path) == dict(zip(("train", "validation", "test"), names, strict=True))


def test_two_files_for_one_split_are_refused_unless_one_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "train.en.conll", "train.de.conll", "test.conll")
    with pytest.raises(DataError, match=r"train\.de\.conll and train\.en\.conll are all train.*--train_file"):
        open_splits(folder=tmp_path)
    named = {"train": str(tmp_path / "train.de.conll")}
    assert found(tmp_path, files=named) == {"train": "train.de.conll", "test": "test.conll"}


def test_a_file_that_names_two_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names several splits"):
        open_splits(folder=fill(tmp_path, "train_test.conll"))


def test_a_folder_without_train_and_test_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"It contains: all\.conll, dev\.conll"):
        open_splits(folder=fill(tmp_path, "all.conll", "dev.conll"))


def test_files_alone_are_enough(tmp_path: Path) -> None:
    path = str(fill(tmp_path, "mine.conll") / "mine.conll")
    assert list(open_splits(files={"train": None, "test": path, "validation": path})) == ["validation", "test"]


def test_no_data_at_all_is_refused() -> None:
    with pytest.raises(SettingsError, match="--dataset_name, or --train_file"):
        open_splits(files={"train": None})


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"--dataset_name .*nowhere: no such folder"):
        open_splits(folder=tmp_path / "nowhere")


def test_what_cannot_be_a_file_of_examples_is_refused_by_flag(tmp_path: Path) -> None:
    (tmp_path / "empty.conll").touch()
    (tmp_path / "wide.conll").write_bytes("a O\n".encode("utf-16"))
    said = {
        "nowhere.conll": "no such file. Check the path",
        ".": "is a folder, not a file",
        "empty.conll": "the file is empty. Give a file",
        "wide.conll": "Add --encoding utf-16",
    }
    for name, message in said.items():
        with pytest.raises(DataError, match=f"^--validation_file .*{message}"):
            open_splits(files={"validation": str(tmp_path / name)})


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a regular file"):
        open_file("/dev/null")


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    fill(tmp_path, "train.conll")
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=r"--train_file .*cannot be read .*permissions"):
        open_splits(files={"train": str(tmp_path / "train.conll")})


@pytest.mark.parametrize("encoding", ["utf-88", "hex", "a\0b", ""])
def test_an_unknown_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(SettingsError, match="--encoding"):
        open_file(fill(tmp_path, "train.conll") / "train.conll", encoding=encoding)


def test_an_unrecognised_file_is_refused_with_the_readers_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("good: a film\nbad: a film\n")
    with pytest.raises(DataError) as caught:
        open_file(path)
    for part in ("conll (.conll", "csv (.csv .tsv)", "jsonl (.jsonl", "parquet (.parquet)", "--dataset_format NAME"):
        assert part in str(caught.value)


def test_the_named_reader_wins_over_the_extension(tmp_path: Path) -> None:
    path = fill(tmp_path, "train.csv") / "train.csv"
    assert open_file(path, reader="conll").columns == ["tokens", "tags", "0", "1"]


def test_an_unknown_reader_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'conll'"):
        open_file(fill(tmp_path, "train.x") / "train.x", reader="conl")


PLUGIN = """
from adapters.data.rows import FileSource, Row, lines
EXTENSIONS = (".numbered",)
def recognises(path, head): return head.startswith("0 ")
def open(path, encoding): return Source(path=path, encoding=encoding, columns=["label", "text"])
class Source(FileSource):
    def rows(self, faults):
        for line in lines(self.path, self.encoding, faults):
            yield Row(self.name, line.number, 0, dict(zip(self.columns, line.text.strip().split(" ", 1))))
"""


@pytest.mark.parametrize("name", ["train.numbered", "train.numbered.gz", "train.txt"])
def test_a_reader_of_a_plugin_folder_needs_one_file(tmp_path: Path, name: str) -> None:
    import gzip

    (tmp_path / "data" / "readers").mkdir(parents=True)
    (tmp_path / "data" / "readers" / "numbered.py").write_text(PLUGIN)
    text = b"0 a bad film\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    source = open_file(tmp_path / name, plugin_dirs=[str(tmp_path)])
    assert [row.values for row in source.rows(Faults("x"))] == [{"label": "0", "text": "a bad film"}]


def test_two_readers_for_one_extension_are_refused_until_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "data" / "readers").mkdir(parents=True)
    (tmp_path / "data" / "readers" / "other.py").write_text(PLUGIN.replace(".numbered", ".conll"))
    path = fill(tmp_path, "train.conll") / "train.conll"
    with pytest.raises(DataError, match=r"conll and other can all read it.*--dataset_format conll"):
        open_file(path, plugin_dirs=[str(tmp_path)])
    assert open_file(path, reader="other", plugin_dirs=[str(tmp_path)]).columns == ["label", "text"]


def test_the_digest_of_a_file_is_of_its_bytes(tmp_path: Path) -> None:
    fill(tmp_path, "a.conll", "b.conll")
    (tmp_path / "c.conll").write_text("a O\n\nc O\n")
    a, b, c = (open_file(tmp_path / f"{name}.conll").digest() for name in "abc")
    assert a == b != c
