"""Lines of a label and a text: what is taken for such a file, what its rows are, and where its faults stand."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adapters.core import discovery
from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file, open_splits
from adapters.data.rows import HEAD, Row

READER = discovery.load("readers", "labelled_lines")
COLUMNS = discovery.load("readers", "conll")
# No white space at the ends, where it parts; inside, everything that other programs take for a line end.
TEXTS = (
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n\ufeff") | st.sampled_from("\t \u2028\x0c"),
        min_size=1,
        max_size=12,
    )
    .map(str.strip)
    .filter(bool)
)
WORDS = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=6)
ENDS = st.sampled_from(["\n", "\r\n"])


def write(folder: Path, content: str | bytes, name: str = "train.txt") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, **options: str) -> tuple[list[Row], Faults]:
    faults = Faults(str(path))
    return list(open_file(path, **options).rows(faults)), faults


def recognised(text: str) -> bool:
    return bool(READER.recognises(Path("x"), text[:HEAD]))


# rows -----------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(WORDS, TEXTS), min_size=1, max_size=5), st.sampled_from([" ", "  ", "\t"]), ENDS)
def test_a_file_reads_back_as_written_with_its_line_numbers(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str]], gap: str, end: str
) -> None:
    assume(not table[0][0].startswith("__label__"))
    if gap != "\t":  # many tabs in texts would make a file of tabs
        table = [(label, text.replace("\t", " ").strip() or "x") for label, text in table]
    content = "".join(f"{label}{gap}{text}{end}\n{end}" for label, text in table)
    path = write(tmp_path_factory.mktemp("labelled"), content)
    rows, faults = read(path, reader="labelled_lines")
    assert faults.count == 0
    assert [(row.values["label"], row.values["text"]) for row in rows] == table
    assert [row.line for row in rows] == [1 + 3 * number for number in range(len(table))]


@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(WORDS, min_size=1, max_size=3, unique=True), TEXTS), min_size=1, max_size=5))
def test_fasttexts_labels_are_a_list_in_every_row_where_any_line_has_several(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[list[str], str]]
) -> None:
    assume(not any(text.startswith("__label__") for _, text in table))
    lines = [" ".join(f"__label__{label}" for label in labels) + f" {text}\n" for labels, text in table]
    path = write(tmp_path_factory.mktemp("labelled"), "".join(lines))
    rows, faults = read(path)
    several = any(len(labels) > 1 for labels, _ in table)
    assert faults.count == 0
    assert [(row.values["label"], row.values["text"]) for row in rows] == [
        (labels if several else labels[0], text) for labels, text in table
    ]


def test_labels_of_a_coarse_and_a_fine_part_have_a_column_of_the_coarse_one(tmp_path: Path) -> None:
    source = open_file(write(tmp_path, "NUM:date When was 1:1 ?\nLOC:city Where ?\nNUM:dist How far ?\nLOC:other ?\n"))
    assert source.columns == ["label", "text", "coarse"]
    first = next(source.rows(Faults("x")))
    assert first.values == {"label": "NUM:date", "text": "When was 1:1 ?", "coarse": "NUM"}
    mixed = open_file(write(tmp_path, "NUM:date When ?\nLOC Where ?\n"), reader="labelled_lines")
    assert mixed.columns == ["label", "text"]


def test_where_most_lines_hold_a_tab_labels_may_hold_blanks_and_texts_tabs(tmp_path: Path) -> None:
    path = write(tmp_path, "card arrival\tWhere is\tit?\nlost card\tGone!\nlost card gone\n")
    rows, faults = read(path, reader="labelled_lines")
    assert [row.values for row in rows] == [
        {"label": "card arrival", "text": "Where is\tit?"},
        {"label": "lost card", "text": "Gone!"},
    ]
    assert faults.shown == [f"{path}:3: no tab between label and text, but most lines have one"]


def test_a_tab_inside_a_text_parts_no_label_where_blanks_do(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path, "0 a\tb\n1 good film\n0 bad film\n1\tgreat\n0 bad\n"))
    assert [row.values["label"] for row in rows] == ["0", "1", "0", "1", "0"]
    assert [row.values["text"] for row in rows] == ["a\tb", "good film", "bad film", "great", "bad"]


def test_faults_are_told_with_their_lines(tmp_path: Path) -> None:
    content = b"0 a bad film\n1 good\n1\n0   \n1 caf\xe9\n\n1 nice\rone\n 1 stray\n" + b"0 x\n" * 30
    path = write(tmp_path, content)
    rows, faults = read(path, reader="labelled_lines")
    assert [row.line for row in rows] == [1, 2, *range(9, 39)]
    assert faults.shown == [
        f"{path}:3: label '1', but no text",
        f"{path}:4: label '0', but no text",
        f"{path}:5: byte 0xe9 is not utf-8",
        f"{path}:7: a carriage return inside the line",
        f"{path}:8: no label before the text",
    ]
    assert "A line needs a label, a tab or a space, and a text." in faults.advice


def test_a_file_with_such_faults_is_still_recognised(tmp_path: Path) -> None:
    rows, faults = read(write(tmp_path, "0 a bad film\n1\n1 a good one\n0 poor\n"))
    assert (len(rows), faults.count) == (3, 1)


def test_faults_of_fasttext_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "__label__a x\nno label\n__label__ y\n__label__b\n__label__a z\n", "train.ft")
    rows, faults = read(path)
    assert [(row.line, row.values["label"]) for row in rows] == [(1, "a"), (5, "a")]
    assert faults.shown == [
        f"{path}:2: does not begin with __label__, as most lines do",
        f"{path}:3: no label before the text",
        f"{path}:4: label 'b', but no text",
    ]


@pytest.mark.parametrize("content", ["0\n1\n", "__label__a\n"])
def test_a_file_without_any_text_is_refused_with_its_lines(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"train\.txt:1: label .*but no text"):
        open_file(write(tmp_path, content), reader="labelled_lines")


def test_a_byte_order_mark_a_compression_and_latin_1(tmp_path: Path) -> None:
    marked = write(tmp_path, "\ufeff0 bad film\n1 good film\n0 bad\n")
    assert [row.values["label"] for row in read(marked)[0]] == ["0", "1", "0"]
    packed = write(tmp_path, gzip.compress("1 café\n1 né\n".encode("latin-1")), "train.txt.gz")
    rows, faults = read(packed, encoding="latin-1")
    assert ([row.values["text"] for row in rows], faults.count) == (["café", "né"], 0)


# what is recognised ---------------------------------------------------------------------------------------------------

LABELLED = {
    "numbers": "0 a bad film\n1 a good film\n1 fine\n",
    "signs": "-1\tbad, bad\n1\tgood\n",
    "one label so far": "1 good film\n1 better film\n",
    "four classes": "3 Wall St. Bears\n4 New chip\n3 Oil up\n4 Search engine\n2 Match won\n2 Match lost\n",
    "Chinese": "1 很好\n0 不好\n1 好\n",
    "capitals": "POS I liked it\nNEG I did not\nPOS Nice\nNEG No\n",
    "coarse and fine": "NUM:dist How far ?\nLOC:city Where ?\nNUM:date When ?\nLOC:other Where to ?\n",
    "fastText": "__label__joy __label__awe what a day\n",
    "CRLF": "0 a bad film\r\n1 a good film\r\n",
    "blank lines at the end": "0 a bad film\n1 a good film\n\n\n",
    "cut off in a label": ("1 a good film and a bad one\n" * 147)[: HEAD - 1] + "0",
}
OTHER = {
    "prose": "The film is good.\nA man walks.\nThe dog is old.\nThe end.\n",
    "prose that begins with I": "I like it.\nI hate it.\nA film.\nI see.\n",
    "one line": "1 good film",
    "a numbered list": "1 one thing\n2 another thing\n3 a third\n4 a fourth\n",
    "numbered by dots": "1. one\n2. two\n1. three\n",
    "shouting": "THE CAT SAT\nTHE DOG RAN\nTHE END\nTHE CAT\n",
    "years": "2019-01-02 it rained\n2019-01-03 it rained\n",
    "CSV": "text,label\n1 good film,1\n0 bad film,0\n",
    "CSV without header": "0,bad film\n1,good film\n",
    "TSV with header": "label\ttext\n0\tbad film\n1\tgood film\n",
    "TSV of three columns": "0\tbad\tfilm\n1\tgood\tfilm\n",
    "JSONL": '{"text": "a"}\n{"text": "b"}\n',
    "JSON list": "[\n1 ,\n1 ]\n",
    "columns": "EU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER\n",
    "columns of numbers": "1 CD\n2 CD\n1 CD\n2 CD\n",
    "columns of capitals": "UN B-org\nEU O\nUN B-org\nEU O\n",
    "columns and tags": "0 O\n0 O\n1 B-misc\n",
    "sentences of columns": "UN said\nUN does\n\nUN said\nUN does\n",
    "CoNLL-U": "1\tUN\tUN\n2\tsaid\tsay\n\n1\tUN\tUN\n2\tsaid\tsay\n",
    "numbers": "0 1 1\n1 0 1\n0 0 1\n",
    "numbers alone": "0\n1\n0\n1\n",
    "Parquet": "PAR1 \0 x\nPAR1 y\n",
    "Python": "import x\nimport y\n",
    "nothing": "",
    "blank lines": "\n\n\n",
    "fastText only at first": "__label__a x\nplain prose\n",
}


@pytest.mark.parametrize("name", LABELLED)
def test_such_files_are_recognised(name: str) -> None:
    assert recognised(LABELLED[name])


@pytest.mark.parametrize("name", OTHER)
def test_such_files_are_not_taken(name: str) -> None:
    assert not recognised(OTHER[name])


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("01-AIO:B_ \t\n\rx.,{é"), max_size=60) | st.text(max_size=40))
def test_nothing_is_taken_for_labelled_lines_and_columns_at_once(text: str) -> None:
    assert not (recognised(text) and COLUMNS.recognises(Path("x"), text))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["0", "1"]), TEXTS.map("film {}".format)), min_size=2, max_size=6))
def test_what_is_recognised_can_be_opened_and_loses_no_line(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str]]
) -> None:
    text = "".join(f"{label} {text}\n" for label, text in table)
    assume(recognised(text))
    rows, faults = read(write(tmp_path_factory.mktemp("labelled"), text))
    assert len(rows) + faults.count == len(table)


# real files -----------------------------------------------------------------------------------------------------------


def test_sst2_is_found_as_three_splits(shared_data: Path) -> None:
    found = {name: list(source.rows(Faults(name))) for name, source in open_splits(folder=shared_data / "sst2").items()}
    assert {name: len(rows) for name, rows in found.items()} == {"train": 6920, "validation": 872, "test": 1821}
    assert Counter(row.values["label"] for row in found["test"]) == {"0": 912, "1": 909}


def test_trec_is_read_as_latin_1_and_says_so_otherwise(shared_data: Path) -> None:
    sources = open_splits(folder=shared_data / "trec", encoding="latin-1")
    rows = {name: list(source.rows(Faults(name))) for name, source in sources.items()}
    assert {name: len(split) for name, split in rows.items()} == {"train": 5452, "test": 500}
    assert len({row.values["label"] for row in rows["train"]}) == 50
    assert len({row.values["coarse"] for row in rows["train"]}) == 6
    faults = Faults("trec")
    list(open_splits(folder=shared_data / "trec")["train"].rows(faults))
    assert faults.shown == [f"{shared_data}/trec/raw.TREC.train:66: byte 0xf0 is not utf-8"]
    assert "--encoding latin-1" in faults.advice[0]


def test_no_other_real_file_is_taken(shared_data: Path) -> None:
    from adapters.data.dataset_files import _head

    files = [path for path in sorted(shared_data.rglob("*")) if path.is_file()]
    taken = {path.parent.name for path in files if READER.recognises(path, _head(path, "utf-8"))}
    assert len(files) > 30 and taken == {"sst2", "trec"}
