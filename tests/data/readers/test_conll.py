"""Column files: what is a sentence, what is a fault, and where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core import discovery
from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file
from adapters.data.rows import Row

SHARED = Path(__file__).parents[4] / "shared" / "data"


def read(path: Path, **options: str) -> tuple[list[Row], Faults]:
    faults = Faults(str(path))
    return list(open_file(path, **options).rows(faults)), faults


def write(folder: Path, content: str | bytes, name: str = "train.conll") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def tokens(rows: list[Row]) -> list[list[str]]:
    return [row.values["tokens"] for row in rows]


# White space other than the separator, and what other programs take for line ends, belongs to the cells.
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\r\n\ufeff"), max_size=4)


@st.composite
def tables(draw: st.DrawFn, cells: st.SearchStrategy[str]) -> list[list[list[str]]]:
    width = draw(st.integers(2, 4))
    # The first cell may not be what begins a comment or a document.
    line = st.lists(cells, min_size=width, max_size=width).filter(
        lambda row: not "".join(row).isspace() and any(row) and not row[0].startswith(("# ", "-DOCSTART-"))
    )
    return draw(st.lists(st.lists(line, min_size=1, max_size=4), min_size=1, max_size=4))


@settings(deadline=None)
@given(tables(CELLS), st.sampled_from(["\n", "\r\n"]), st.integers(1, 3), st.booleans(), st.booleans())
def test_a_tab_separated_file_reads_back_as_written_with_its_line_numbers(
    tmp_path_factory: pytest.TempPathFactory, table: list, end: str, blanks: int, mark: bool, last_end: bool
) -> None:
    lines: list[str] = []
    starts = []
    for sentence in table:
        starts.append(len(lines) + 1)
        lines += ["\t".join(row) for row in sentence] + [""] * blanks
    text = "\ufeff" * mark + end.join(lines) + end * last_end
    rows, faults = read(write(tmp_path_factory.mktemp("columns"), text))
    assert faults.count == 0
    assert [row.line for row in rows] == starts
    assert tokens(rows) == [[row[0] for row in sentence] for sentence in table]
    assert [row.values["tags"] for row in rows] == [[row[-1] for row in sentence] for sentence in table]
    for number in range(len(table[0][0])):
        assert [row.values[str(number)] for row in rows] == [[row[number] for row in block] for block in table]


@settings(deadline=None)
@given(tables(CELLS.map(lambda cell: cell.replace(" ", "_") + "x")), st.integers(1, 3))
def test_a_space_separated_file_reads_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, table: list, spaces: int
) -> None:
    text = "\n\n".join("\n".join((" " * spaces).join(row) for row in sentence) for sentence in table)
    rows, faults = read(write(tmp_path_factory.mktemp("columns"), text))
    assert faults.count == 0
    assert tokens(rows) == [[row[0] for row in sentence] for sentence in table]


def test_columns_are_named_by_number_and_where_names_the_line_of_an_item(tmp_path: Path) -> None:
    path = write(tmp_path, "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n")
    assert open_file(path).columns == ["tokens", "tags", "0", "1", "2", "3"]
    ((row,), _) = read(path)
    assert row.values["1"] == ["NNP", "VBZ"]
    assert row.where() == f"{path}:3"
    assert row.where(1) == f"{path}:4"


def test_a_relative_path_stays_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a O\n")
    monkeypatch.chdir(tmp_path)
    assert read(Path("train.conll"))[0][0].where() == "train.conll:1"


def test_a_source_is_read_again_from_the_beginning(tmp_path: Path) -> None:
    source = open_file(write(tmp_path, "a O\n\nb O\n"))
    assert list(source.rows(Faults("x"))) == list(source.rows(Faults("x")))


def test_docstart_lines_end_a_sentence_whatever_their_columns(tmp_path: Path) -> None:
    rows, faults = read(write(tmp_path, "-DOCSTART-\na O\n-DOCSTART- -X- O O\nb O\n"))
    assert (tokens(rows), faults.count) == ([["a"], ["b"]], 0)


def test_a_line_of_white_space_ends_a_sentence(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path, "a\tO\n\t\nb\tO\n \t \nc\tO\n"))
    assert tokens(rows) == [["a"], ["b"], ["c"]]


def test_form_feeds_and_unicode_line_separators_do_not_end_a_line(tmp_path: Path) -> None:
    rows, faults = read(write(tmp_path, "a\x0cb\tO\nc\u0085d\tO\ne\u2028f\tO\n"))
    assert (tokens(rows), faults.count) == ([["a\x0cb", "c\u0085d", "e\u2028f"]], 0)


def test_with_tabs_a_token_may_hold_spaces_or_be_empty(tmp_path: Path) -> None:
    rows, faults = read(write(tmp_path, "New York\tB\n\tO\n"))
    assert (tokens(rows), faults.count) == ([["New York", ""]], 0)


def test_conll_u_comments_are_skipped_and_do_not_shift_line_numbers(tmp_path: Path) -> None:
    rows, faults = read(write(tmp_path, "# newdoc\n# text = a b\n1\ta\tO\n2\tb\tO\n\n# text = c\n1\tc\tO\n"))
    assert faults.count == 0
    assert [(row.line, row.values["1"]) for row in rows] == [(3, ["a", "b"]), (7, ["c"])]


@pytest.mark.parametrize("separator", ["\t", " "])
def test_a_hash_with_all_its_columns_is_a_token(tmp_path: Path, separator: str) -> None:
    text = "# O\n1 O\n\n# O\n#NFL B\n".replace(" ", separator)
    rows, faults = read(write(tmp_path, text))
    assert (tokens(rows), faults.count) == ([["#", "1"], ["#", "#NFL"]], 0)


def test_another_column_count_is_a_fault_at_its_line_and_reading_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path, "\na NN B O\nb NN O\nc O\n\nd NN B O\n# x y\n\ne NN B O\n")
    rows, faults = read(path)
    assert tokens(rows) == [["e"]]
    assert faults.shown == [
        f"{path}:3: found 3 columns, the file's first token line (line 2) has 4 (2 times: also at 7)",
        f"{path}:4: found 2 columns, the file's first token line (line 2) has 4",
    ]


def test_nul_is_a_fault_and_its_sentence_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "a O\nb\0c O\n\nd O\n")
    rows, faults = read(path)
    assert tokens(rows) == [["d"]]
    assert faults.shown == [f"{path}:2: the line contains a NUL character"]


def test_bytes_of_another_encoding_are_faults_that_name_byte_and_flag(tmp_path: Path) -> None:
    path = write(tmp_path, "a O\ncafé O\n".encode("latin-1"))
    _, faults = read(path)
    assert faults.shown == [f"{path}:2: byte 0xe9 is not utf-8"]
    with pytest.raises(DataError, match="--encoding latin-1"):
        faults.raise_if_any()
    assert tokens(read(path, encoding="latin-1")[0]) == [["a", "café"]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "gbk", "utf-32"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "中 B\n国 E\n\na O\n".encode(encoding))
    rows, faults = read(path, encoding=encoding)
    assert (tokens(rows), faults.count) == ([["中", "国"], ["a"]], 0)


def test_damaged_utf_16_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path, "a O\n".encode("utf-16-le") * 10000 + b"\x00\xdc\n\x00")
    _, faults = read(path, encoding="utf-16-le")
    assert faults.count == 1
    assert "from here on, not utf-16-le" in faults.shown[0]


def test_a_carriage_return_inside_a_line_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path, "a\tO\nb\rc\tO\n")
    assert read(path)[1].shown == [f"{path}:2: a carriage return inside the line"]


def test_a_fault_of_many_lines_is_shown_once_with_its_number(tmp_path: Path) -> None:
    path = write(tmp_path, "a O\n\n" + "b\n" * 25)
    _, faults = read(path)
    with pytest.raises(DataError) as caught:
        faults.raise_if_any()
    assert "25 faults:" in str(caught.value) and str(caught.value).count("found 1 column,") == 1
    assert f"{path}:3: " in str(caught.value) and "(25 times: also at 4, 5, 6, …)" in str(caught.value)


def test_a_file_without_a_tag_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.conll:2: no tag column"):
        open_file(write(tmp_path, "\na\nb\n"))


@pytest.mark.parametrize("content", ["\n\n", "\ufeff", "-DOCSTART- O\n\n", "# only\n# comments\n"])
def test_a_file_without_a_sentence_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"contains no sentence|is empty"):
        open_file(write(tmp_path, content))


@pytest.mark.parametrize("content", ["a O\nb O\n\nc O\n", "a\tNN\tO\n\t\nc\tNN\tO\n", "# id\na O\n\n# id\nb O\n\n"])
def test_a_column_file_of_unknown_extension_is_recognised(tmp_path: Path, content: str) -> None:
    assert open_file(write(tmp_path, content, "train.txt")).columns[:2] == ["tokens", "tags"]


def test_a_long_column_file_is_recognised_though_its_head_ends_within_a_line(tmp_path: Path) -> None:
    content = "\n\n".join(["abc def O\nghi jkl B-LOC"] * 1000)
    assert len(open_file(write(tmp_path, content, "train.txt")).columns) == 5


@pytest.mark.parametrize(
    "content",
    [
        "1 a good film\n0 bad\n\n1 fine\n",
        "1 good\n0 bad\n",
        "1 good\n0 bad\n\n\n",
        "one\n\ntwo\n",
        "a, b\nc, d e\n\nf g\n",
    ],
)
def test_other_text_is_not_taken_for_a_column_file(tmp_path: Path, content: str) -> None:
    assert not discovery.load("readers", "conll").recognises(tmp_path / "train.txt", content)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wnut17/{}.conll", {"train": 3394, "dev": 1009, "test": 1287}),
        ("crossner/ai/{}.conll", {"train": 100, "dev": 350, "test": 431}),
        ("zh_resume_ner/{}.char.bmes", {"train": 3821, "dev": 463, "test": 477}),
    ],
)
def test_real_column_files_have_the_published_number_of_sentences(name: str, expected: dict[str, int]) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"no real data at {SHARED}")
    read_all = {split: read(SHARED / name.format(split)) for split in expected}
    assert {split: len(rows) for split, (rows, _) in read_all.items()} == expected
    assert all(faults.count == 0 for _, faults in read_all.values())
