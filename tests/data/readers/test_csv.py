"""CSV and TSV files: values exactly as in the file, rows at their lines."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file
from adapters.data.rows import Row

SHARED = Path(__file__).parents[4] / "shared" / "data"
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")
CELLS = st.text(CHARACTERS | st.sampled_from('",;\n\r\t|'), max_size=6)


def write(folder: Path, content: str | bytes, name: str = "train.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, **options: str) -> tuple[list[Row], Faults]:
    faults = Faults(str(path))
    return list(open_file(path, **options).rows(faults)), faults


def tables(cells: st.SearchStrategy[str]) -> st.SearchStrategy[list[list[str]]]:
    return st.integers(2, 4).flatmap(
        lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=5)
    )


def written(table: list[list[str]], delimiter: str, end: str, quote_all: bool) -> tuple[str, list[int]]:
    """The file's text, and the line at which each row begins."""
    stream = io.StringIO(newline="")
    # Python's writer may leave a lone carriage return without quotes, where readers take it for a line end.
    quote_all = quote_all or any("\r" in cell for row in table for cell in row)
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=end, quoting=quoting)
    starts = []
    writer.writerow([f"column {number}" for number in range(len(table[0]))])
    for row in table:
        starts.append(stream.getvalue().count("\n") + 1)
        writer.writerow(row)
    return stream.getvalue(), starts


@settings(deadline=None)
@given(tables(CELLS), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_csv_reads_back_as_written_with_its_line_numbers(
    tmp_path_factory: pytest.TempPathFactory, table: list, delimiter: str, end: str, quote_all: bool, mark: bool
) -> None:
    if delimiter == "\t":  # see the next test
        table = [[cell.replace("\t", " ") for cell in row] for row in table]
    text, starts = written(table, delimiter, end, quote_all)
    rows, faults = read(write(tmp_path_factory.mktemp("csv"), "\ufeff" * mark + text))
    assert faults.count == 0
    assert [list(row.values.values()) for row in rows] == table
    assert [row.line for row in rows] == starts


@settings(deadline=None)
@given(tables(CELLS.map(lambda cell: cell.replace("\n", " ").replace("\r", " "))), st.booleans())
def test_tsv_reads_back_as_written(tmp_path_factory: pytest.TempPathFactory, table: list, quote_all: bool) -> None:
    text, starts = written(table, "\t", "\n", quote_all)
    rows, faults = read(write(tmp_path_factory.mktemp("tsv"), text, "train.tsv"))
    assert faults.count == 0
    assert [list(row.values.values()) for row in rows] == table
    assert [row.line for row in rows] == starts


def test_a_quote_that_opens_a_tsv_cell_without_closing_it_does_not_swallow_rows(tmp_path: Path) -> None:
    content = 'label\ttext\n1\t"so good\n0\t"PC" card\n1\t"quoted"\n0\tthe end"\n'
    rows, faults = read(write(tmp_path, content, "train.tsv"))
    assert faults.count == 0
    assert [row.values["text"] for row in rows] == ['"so good', '"PC" card', "quoted", 'the end"']


def test_a_tsv_cell_in_quotes_may_run_over_lines(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path, 'label\ttext\n1\t"a\nb"\n0\t"d\te"\n', "train.tsv"))
    assert [(row.line, row.values["text"]) for row in rows] == [(2, "a\nb"), (4, "d\te")]


def test_values_stay_strings(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path, "a,b,c\nNA,1, x \n,01,null\n"))
    assert [row.values for row in rows] == [{"a": "NA", "b": "1", "c": " x "}, {"a": "", "b": "01", "c": "null"}]


def test_a_tsv_is_split_at_tabs_even_where_commas_are_more(tmp_path: Path) -> None:
    assert open_file(write(tmp_path, "a,b,c\td\n1\t2\n", "train.tsv")).columns == ["a,b,c", "d"]


def test_a_delimiter_inside_a_quoted_name_does_not_count(tmp_path: Path) -> None:
    assert open_file(write(tmp_path, '"a,b,c";d\n1;2\n')).columns == ["a,b,c", "d"]


def test_a_single_column_is_read(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path, 'text\n"a\nb"\nc\n', "train.tsv"))
    assert [row.values for row in rows] == [{"text": "a\nb"}, {"text": "c"}]


def test_form_feeds_and_unicode_line_separators_do_not_end_a_row(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path, "a,b\n1\x0c\u2028,\u00852\n"))
    assert rows[0].values == {"a": "1\x0c\u2028", "b": "\u00852"}


@pytest.mark.parametrize(("suffix", "compress"), [(".bz2", bz2.compress), (".gz", gzip.compress)])
@pytest.mark.parametrize(("extension", "delimiter"), [(".csv", b","), (".tsv", b"\t")])
def test_compressed_files_are_read(tmp_path: Path, suffix: str, compress, extension: str, delimiter: bytes) -> None:
    path = write(tmp_path, compress(b"a,b\n1,2\n".replace(b",", delimiter)), f"train{extension}{suffix}")
    assert read(path)[0][0].values == {"a": "1", "b": "2"}


def test_a_damaged_compressed_file_is_refused_when_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="damaged or cut short"):
        open_file(write(tmp_path, b"a,b\n1,2\n", "train.csv.gz"))


def test_a_row_of_another_cell_count_is_a_fault_at_the_line_where_it_begins(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n"1\n1",2\n3,"4\n4",5\n6\n7,8\n')
    rows, faults = read(path)
    assert [row.line for row in rows] == [2, 7]
    assert faults.shown == [
        f"{path}:4: found 3 cells, the header has 2",
        f"{path}:6: found 1 cell, the header has 2",
    ]


def test_a_stray_quote_is_a_fault_and_reading_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n1,"x"y\n2,z\n')
    rows, faults = read(path)
    assert [row.values["b"] for row in rows] == ["z"]
    assert faults.shown[0].startswith(f"{path}:2: the row that begins here is not CSV")


def test_a_quote_that_is_never_closed_is_a_fault_where_it_opens(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n1,2\n3,"x\n4,5\n6,7\n')
    rows, faults = read(path)
    assert [row.line for row in rows] == [2]
    assert faults.shown[0].startswith(f"{path}:3: the row that begins here is not CSV")


def test_bytes_of_another_encoding_are_faults_and_their_row_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n1,"x\ncafé"\n2,y\n'.encode("latin-1"))
    rows, faults = read(path)
    assert [row.values["b"] for row in rows] == ["y"]
    assert faults.shown == [f"{path}:3: byte 0xe9 is not utf-8"]
    assert read(path, encoding="latin-1")[0][0].values["b"] == "x\ncafé"


def test_nul_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n1,\0\n2,3\n")
    rows, faults = read(path)
    assert (len(rows), faults.shown) == (1, [f"{path}:2: the line contains a NUL character"])


def test_a_very_long_cell_is_read_and_the_limit_of_the_process_is_left_as_it_was(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    rows, faults = read(write(tmp_path, "a,b\n1," + "x" * 300_000 + "\n"))
    assert (len(rows[0].values["b"]), faults.count) == (300_000, 0)
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b,a\n1,2,3\n", "train.csv:1: two columns have the name 'a'"),
        ("a,b\n", "contains no row after its header"),
        ("\ufeff", "contains no row"),
        ('a,"b\n1,2\n', "train.csv:1: the row that begins here is not CSV"),
        ("\n", "the file is empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_when_opened(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        open_file(write(tmp_path, content))


def test_a_fault_of_many_lines_is_shown_once_with_its_number(tmp_path: Path) -> None:
    _, faults = read(write(tmp_path, "a,b\n1,2\n" + "x\n" * 25))
    with pytest.raises(DataError, match=r"25 faults:\n.*25 times: also at"):
        faults.raise_if_any()
    assert len(faults.shown) == 1


def test_csv_of_unknown_extension_has_to_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a;b\n1;2\n", "train.txt")
    with pytest.raises(DataError, match="--dataset_format NAME"):
        open_file(path)
    assert read(path, reader="csv")[0][0].values == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("banking77/train.csv", 10003),
        ("bitext_customer_service/test.csv", 810),
        ("financial_phrasebank/all-data.csv", 4846),
        ("zh_chnsenticorp/train.tsv", 9600),
        ("zh_chnsenticorp/dev.tsv", 1200),
    ],
)
def test_real_csv_files_have_the_published_number_of_rows(name: str, count: int) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"no real data at {SHARED}")
    rows, faults = read(SHARED / name)
    assert (len(rows), faults.count) == (count, 0)
