"""Tables as people and pandas save them: columns without names, an index, no header, other delimiters."""

from __future__ import annotations

import time
from pathlib import Path

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core.errors import DataError, Faults, SettingsError
from adapters.data.columns import ColumnRoles
from adapters.data.dataset_files import open_file, open_splits
from adapters.data.readers.base.tables import FirstLine, judge
from adapters.data.rows import notes_of
from adapters.tasks.base.examples import read_named

WILD = Path(__file__).parents[4] / "shared" / "data" / "wild"
TEXTS = ["a dull film", "so good, really", "it ends\nbadly", 'the "best" one', "fine; or not", "well\tdone"]
CELLS = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9)


def write(folder: Path, content: str | bytes, name: str = "train.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, **options: object) -> list[dict[str, str]]:
    faults = Faults(str(path))
    rows = [row.values for row in open_file(path, **options).rows(faults)]  # type: ignore[arg-type]
    faults.raise_if_any()
    return rows


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        open_file(path, **options)  # type: ignore[arg-type]
    return str(caught.value)


FRAMES = st.lists(st.tuples(CELLS, st.sampled_from(["good", "bad", "so-so"])), min_size=1, max_size=8)


@settings(deadline=None)
@given(FRAMES, st.sampled_from([",", ";", "\t", "|"]), st.booleans(), st.sampled_from([0, 1, 2]), st.booleans())
def test_what_pandas_writes_is_read_as_pandas_reads_it(
    tmp_path_factory: pytest.TempPathFactory, table: list, delimiter: str, index: bool, quoting: int, shuffled: bool
) -> None:
    path = tmp_path_factory.mktemp("csv") / "train.csv"
    frame = pandas.DataFrame(table, columns=["text", "label"])
    frame = frame.sample(frac=1, random_state=0) if shuffled else frame
    frame.to_csv(path, sep=delimiter, index=index, quoting=quoting, lineterminator="\n")
    theirs = pandas.read_csv(
        path, sep=delimiter, index_col=0 if index else None, dtype=str, keep_default_na=False, quoting=0
    )
    assert read(path) == theirs.to_dict("records")
    left_out = ["the first column (without a name) numbers the rows, and is left out"] if index else []
    assert notes_of(open_file(path)) == left_out


def test_an_index_that_pandas_saved_twice_is_left_out_once_and_the_other_is_kept_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, "Unnamed: 0,Unnamed: 0.1,text,label\n0,5,a,x\n1,7,b,y\n")
    assert read(path) == [{"Unnamed: 0.1": n, "text": t, "label": x} for n, t, x in [("5", "a", "x"), ("7", "b", "y")]]
    assert notes_of(open_file(path)) == ["the first column ('Unnamed: 0') numbers the rows, and is left out"]


@pytest.mark.parametrize("numbers", ["0,0,1", "0,1,x", "1.5,2.5,3.5"])
def test_a_first_column_that_does_not_number_the_rows_is_kept(tmp_path: Path, numbers: str) -> None:
    cells = numbers.split(",")
    rows = read(write(tmp_path, ",text,label\n" + "".join(f"{n},t{n},x\n" for n in cells)))
    assert [row["column_1"] for row in rows] == cells


@pytest.mark.parametrize("names", ["v1,v2,,,", "v1,v2,Unnamed: 2,Unnamed: 3,Unnamed: 4", " v1 , v2, , ,"])
def test_columns_without_a_name_and_without_values_are_left_out_and_said(tmp_path: Path, names: str) -> None:
    path = write(tmp_path, f'{names}\nspam,"so \x93now\x94",,,\nham,"fine",, ,\n'.encode("latin-1"))
    assert read(path, encoding="cp1252") == [{"v1": "spam", "v2": "so “now”"}, {"v1": "ham", "v2": "fine"}]
    assert notes_of(open_file(path, encoding="cp1252")) == ["3 columns without a name and without values are left out"]


def test_a_column_without_a_name_but_with_values_has_the_name_of_its_position(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label,,column_3\na,x,,1\nb,y,more,2\n")
    assert read(path)[1] == {"text": "b", "label": "y", "column_3_": "more", "column_3": "2"}
    assert notes_of(open_file(path)) == ["column 3 has no name in the header, and is called column_3_"]


def test_a_table_whose_rows_have_other_numbers_of_cells_still_has_its_faults(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label,,\na,x,,\nb,y\n")
    faults = Faults("x")
    assert len(list(open_file(path).rows(faults))) == 1
    assert faults.shown == [f"{path}:3: found 2 cells, the header has 4"]


@pytest.mark.parametrize("mark", [";", "\t", ","])
def test_a_first_line_that_says_the_delimiter_to_excel_is_no_header(tmp_path: Path, mark: str) -> None:
    path = write(tmp_path, f"sep={mark}\r\ntext{mark}label\r\na b{mark}x\r\n")
    assert read(path) == [{"text": "a b", "label": "x"}]
    assert [row.line for row in open_file(path).rows(Faults("x"))] == [3]


def test_a_header_of_one_odd_blank_is_a_header(tmp_path: Path) -> None:
    assert open_file(write(tmp_path, "\u2028\na b\nc\n")).columns == ["column_1"]


def test_blanks_round_names_go_and_blanks_before_quotes_do_not_break_them(tmp_path: Path) -> None:
    path = write(tmp_path, 'text, label , note\n"a, b", "bad" , x\n'.replace('" ,', '",'))
    assert read(path) == [{"text": "a, b", "label": "bad", "note": "x"}]


def test_a_blank_before_a_quote_inside_a_quoted_cell_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, 'text,label\n"he said, ""no""", x\n" ""so"" it goes",y\n')
    assert read(path) == [{"text": 'he said, "no"', "label": " x"}, {"text": ' "so" it goes', "label": "y"}]


def test_names_that_occur_twice_are_named(tmp_path: Path) -> None:
    said = refusal(write(tmp_path, "text,label, text,label,other\na,b,c,d,e\n"))
    assert "train.csv:1: two columns have the name 'text' (also twice: label)" in said
    assert "--column_names" in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", "text\tlabel\na, b, c\tx\nd\ty\n"),
        ("train.csv", "text;label\na, b, c;x\nd, e;y\n"),
        ("train.csv", "text|label\na, b|x\nd;e|y\n"),
        ("train.tsv", "text,label\na,x\nd,y\n"),
        ("train.csv", "text, long;label\na;x\nd;y\n"),
        ("train.csv", "a,b,c;label\nx;y\nz;y\n"),
    ],
)
def test_the_delimiter_is_the_one_that_splits_the_lines_alike(tmp_path: Path, name: str, content: str) -> None:
    rows = read(write(tmp_path, content, name))
    assert [list(row.values())[-1] for row in rows] == ["x", "y"] or [list(row.values())[-1] for row in rows] == [
        "y"
    ] * 2
    assert {len(row) for row in rows} == {2}


NO_HEADER = [
    '"1","headline 0","the lamp arrived broken"\n"2","headline 1","works as described"\n"1","headline 2","fine"\n',
    "good\ta film\nbad\tanother\ngood\ta third\n",
    "2020-01-01,rain\n2020-01-02,sun\n2020-01-03,snow\n",
    "this is the first of the texts,A\nand this here is the second one,B\nthe third of them is this,C\n",
    "ID-1,q\nID-2,w\nID-3,e\n",
    "0,0,a\n1,0,b\n1,1,c\n",
]


@pytest.mark.parametrize("content", NO_HEADER)
@pytest.mark.parametrize("name", ["train.csv", "train.tsv"])
def test_a_first_line_that_looks_like_data_is_refused_and_read_with_names(
    tmp_path: Path, content: str, name: str
) -> None:
    path = write(tmp_path, content, name)
    said = refusal(path)
    assert "train." in said and ":1: the first line looks like data" in said and "--column_names " in said
    width = len(pandas.read_csv(path, header=None, sep="\t" if "\t" in content else ",").columns)
    names = ["one", "two", "three"][:width]
    rows = read(path, column_names=names)
    theirs = pandas.read_csv(path, header=None, names=names, dtype=str, sep="\t" if "\t" in content else ",")
    assert rows == theirs.to_dict("records")
    assert "the file has no header" in notes_of(open_file(path, column_names=names))[0]


def test_the_suggested_names_are_the_label_where_values_recur_and_the_text_where_they_are_long(tmp_path: Path) -> None:
    assert "--column_names label,column_2,text;" in refusal(write(tmp_path, NO_HEADER[0]))


@pytest.mark.parametrize(
    "content",
    [
        "text,label\nlabel,text\ntext,x\n",
        "0,1\na film,1\nanother,0\na third,0\n",
        ",0,1\n0,a film,1\n1,another,0\n",
        "text,0,1,2\na,0,1,0\nb,1,0,1\n",
        "Timestamp,How satisfied are you with our service?\n2020-01-01,I am very satisfied with all of it\n"
        "2020-01-02,I am not satisfied with any of it\n",
        "x,y\n1,2\n3,4\n",
        "word,tag\nword,O\nother,O\n" + "and,O\n" * 60,
        "sentence1,sentence2\na1,b1\na2,b2\n",
    ],
)
def test_a_good_header_is_a_header(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, content)
    names = content.split("\n")[0].split(",")
    assert open_file(path).columns == [name for name in names if name]
    assert len(read(path)) == content.count("\n") - 1


def test_a_header_in_the_middle_of_files_that_were_put_together_is_a_fault(tmp_path: Path) -> None:
    path, faults = write(tmp_path, "text,label\na,x\ntext,label\nb,y\n"), Faults("x")
    assert [row.values["text"] for row in open_file(path).rows(faults)] == ["a", "b"]
    assert faults.shown == [f"{path}:3: the header again"]


def test_with_names_a_header_is_replaced_or_taken_and_no_row_is_lost_or_added(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label\na,x\nb,y\n")
    assert read(path, column_names=["one", "two"]) == [{"one": "a", "two": "x"}, {"one": "b", "two": "y"}]
    assert notes_of(open_file(path, column_names=["one", "two"])) == [
        "the first line is a header (text, label), whose names --column_names replaces"
    ]
    path = write(tmp_path, "foo,bar\na,x\nb,y\n")
    assert read(path, column_names=["foo", "bar"]) == read(path) == [{"foo": "a", "bar": "x"}, {"foo": "b", "bar": "y"}]
    assert "may be the header or a row" in refusal(path, column_names=["one", "two"])


def test_names_of_another_number_or_of_one_kind_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, NO_HEADER[0])
    assert "has 2 names (a, b), but the first line has 3 cells" in refusal(path, column_names=["a", "b"])
    assert "--column_names a,b,a: two columns have the name 'a'" in refusal(path, column_names=["a", "b", "a"])


def test_names_for_files_that_have_their_own_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, '{"text": "a"}\n', "train.jsonl")
    with pytest.raises(SettingsError, match="--column_names: is for tables without a header"):
        open_splits(files={"train": str(path)}, column_names=["text"])


def test_a_single_row_without_a_header_is_read_with_names(tmp_path: Path) -> None:
    assert read(write(tmp_path, "1,a long text of many words\n"), column_names=["1", "a long text of many words"]) == []
    with pytest.raises(DataError, match="may be the header or a row"):
        read(write(tmp_path, "1,a long text of many words\n"), column_names=["label", "text"])


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), CELLS), min_size=4, max_size=9), st.permutations([0, 1]))
def test_no_row_of_a_table_without_a_header_is_ever_lost(
    tmp_path_factory: pytest.TempPathFactory, table: list, order: list[int]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "train.csv"
    frame = pandas.DataFrame([[row[at] for at in order] for row in table])
    frame.to_csv(path, index=False, header=False, lineterminator="\n")
    try:
        rows = read(path, column_names=["one", "two"])
    except DataError as error:
        assert "may be the header or a row" in str(error) or "one of them" in str(error)
        return
    assert len(rows) == len(table)


def test_the_names_change_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKSWAP_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path, "".join(f"{'good' if n % 2 else 'bad'},film {n % 40}\n" for n in range(200)))
    for names, text in ((["label", "text"], "film 1"), (["text", "label"], "good")):
        _, splits = read_named(
            "classification", [], train_file=str(path), validation_file=str(path), column_names=names
        )
        texts = [example.inputs["text"] for split in splits.values() for example in split]
        assert text in texts and len(texts) == 400


def test_a_table_of_one_column_is_refused_by_what_it_needs(tmp_path: Path) -> None:
    source = open_file(write(tmp_path, "text\na film\nanother\n"))
    with pytest.raises(DataError, match="one column only"):
        ColumnRoles(source).find("label", ["label"], what="labels")


def test_a_hundred_thousand_columns_are_read_and_never_listed(tmp_path: Path) -> None:
    names = [f"c{number}x" for number in range(100_000)]
    row = ",".join(["1"] * len(names))
    path = write(tmp_path, ",".join(names) + f"\n{row}\n{row}\n")
    began = time.process_time()
    source = open_file(path)
    assert len(next(iter(source.rows(Faults("x")))).values) == 100_000
    assert time.process_time() - began < 60  # a quadratic search takes hours
    with pytest.raises(DataError) as caught:
        ColumnRoles(source).find("label", ["label"], what="labels")
    assert len(str(caught.value)) < 2000
    path.write_text(",".join(names + names) + f"\n{row},{row}\n")
    assert len(refusal(path)) < 2000


def test_the_wild_tables_are_read_or_refused_as_their_list_says() -> None:
    if not WILD.is_dir():
        pytest.skip(f"no real data at {WILD}")
    assert len(read(WILD / "21_spam.csv", encoding="cp1252")) == 6
    assert len(read(WILD / "24_no_header.csv", column_names=["label", "title", "text"])) == 6
    assert open_file(WILD / "29_label_cells.csv").columns == ["text", "label"]
    assert "--column_names" in refusal(WILD / "24_no_header.csv")


def test_the_judgement_says_why() -> None:
    rows = [["1", "x"], ["2", "y"], ["1", "z"]]
    assert judge(["1", "w"], rows) == (FirstLine.DATA, "'1' occurs 2 more times in its column")
    assert judge(["3", "w"], rows) == (FirstLine.DATA, "'3' has the form of the cells below it")
    assert judge(["label", "w"], rows) == (FirstLine.HEADER, "")
    assert judge(["v", "w"], rows) == (FirstLine.UNSURE, "")
