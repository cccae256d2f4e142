"""Column files: what is a sentence, what is a fault, and where."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.core import discovery
from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file
from adapters.data.rows import Row
from adapters.data.tag_spellings import is_tag

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
    # The first cell may not be what begins a comment or a document, and no cell what numbers words or looks like a tag.
    line = st.lists(
        cells.filter(lambda cell: not is_tag(cell) and not cell.isdecimal()), min_size=width, max_size=width
    )
    line = line.filter(
        lambda row: not "".join(row).isspace() and any(row) and not row[0].startswith(("#", "-DOCSTART-"))
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
    assert open_file(path).columns == ["tokens", "tags", "0", "1", "2", "3", "document_id", "-DOCSTART-"]
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


# layouts --------------------------------------------------------------------------------------------------------------

ADA = [("Ada", "B-PER"), ("met", "O"), ("Bob", "B-PER")]
OSLO = [("Oslo", "B-LOC"), ("slept", "O")]


def columns_file(folder: Path, line: str, name: str = "train.conll", before: str = "", after: str = "") -> Path:
    """Lines such as `{n}\t{word}\t{tag}` of two sentences; `n` counts the words of each from 1."""
    blocks = []
    for number, sentence in enumerate((ADA, OSLO)):
        rows = (line.format(n=n, z=n - 1, word=w, tag=t, s=number) for n, (w, t) in enumerate(sentence, 1))
        blocks.append(before.format(s=number) + "".join(row + "\n" for row in rows) + after)
    return write(folder, "\n".join(blocks), name)


def read_pairs(path: Path) -> list[list[tuple[str, str]]]:
    rows, faults = read(path)
    assert faults.count == 0, faults.shown
    return [[*zip(row.values["tokens"], row.values["tags"], strict=True)] for row in rows]


@pytest.mark.parametrize(
    "line",
    [
        "{word}\t{tag}",
        "{word} {tag}",
        "{z}\t{word}\t{tag}",
        "{n} {word} {tag}",
        "{n}\t{word}\t{tag}\t-\tann{s}",
        "{n}\t{word}\t{tag}\tO",
        "{n}\t{word}\t{tag}\tB-X",
        "{word}\t{tag}\tO",
        "{word}\tNN\tO\t{tag}",
        "{word}\tNN\tB-NP\t{tag}",
        "{n}\t{word}\t_\t_\t_\t_\t_\t_\t_\t{tag}",
        "{n}\t{word}\t_\tNOUN\t{tag}\t_\t_\t_\t_\t_",
        "{s}\t{n}\t{word}\tNN\t{tag}",
        "{tag}\t{word}",
        "{tag} {word}",
        "{word}\t\t{tag}",
        "{word} {tag} ",
    ],
)
def test_words_and_tags_are_found_in_whatever_columns_they_are(tmp_path: Path, line: str) -> None:
    assert read_pairs(columns_file(tmp_path, line)) == [ADA, OSLO]


def test_columns_that_are_not_read_are_named(tmp_path: Path) -> None:
    source: Any = open_file(columns_file(tmp_path, "{n}\t{word}\tB-NP\t{tag}\tB-X"))
    assert source.aliases == {"tokens": "1", "tags": "3"}
    assert source.other_tags == {"2": "phrases", "4": "another kind"}


@pytest.mark.parametrize("bare", ["{word}\tNN\tB-NP\t{tag}", "{word}\tNN\t{tag}\tX"])
def test_tags_without_letters_are_found_among_other_columns(tmp_path: Path, bare: str) -> None:
    path = columns_file(tmp_path, bare)
    path.write_text(re.sub("B-(PER|LOC)", r"\1", path.read_text()) + path.read_text().split("\n")[1] + "\n")
    assert read_pairs(path)[1] == [("Oslo", "LOC"), ("slept", "O"), ("met", "O")]


def test_columns_of_phrases_alone_are_the_tags(tmp_path: Path) -> None:
    assert read_pairs(write(tmp_path, "a DT B-NP\nb NN I-NP\n\nc VB B-VP\n")) == [
        [("a", "B-NP"), ("b", "I-NP")],
        [("c", "B-VP")],
    ]


def test_the_last_column_is_read_where_no_entity_is_in_any(tmp_path: Path) -> None:
    assert read_pairs(write(tmp_path, "EU NNP B-NP O\nrejects VBZ B-VP O\n")) == [[("EU", "O"), ("rejects", "O")]]


@pytest.mark.parametrize(
    "before",
    [
        "# sent_id = {s}\n# text = Ada met Bob\n",
        "#\thttp://example.org/{s} [2020]\n",
        "## doc-{s}\t<text>\n",
        "#\n",
        "#begin document (a);\n",
        "# begin document a\n",
        "-DOCSTART- -X- O\n\n",
        "0\t-DOCSTART-\tO\n\n",
        "#id={s}\n",
        "# a b\n",
    ],
)
@pytest.mark.parametrize("line", ["{word}\t{tag}", "{n} {word} {tag}"])
def test_comments_of_any_width_are_no_tokens(tmp_path: Path, before: str, line: str) -> None:
    assert read_pairs(columns_file(tmp_path, line, before=before)) == [ADA, OSLO]


def test_the_end_of_a_document_ends_a_sentence(tmp_path: Path) -> None:
    assert read_pairs(columns_file(tmp_path, "{word}\t{tag}", after="#end document\n")) == [ADA, OSLO]


def test_a_hash_with_a_tag_is_a_token_and_one_with_anything_else_a_comment(tmp_path: Path) -> None:
    rows = read_pairs(write(tmp_path, "#\tO\nAda\tB-PER\n\n# 1\t<x>\n#\tB-PER\n"))
    assert rows == [[("#", "O"), ("Ada", "B-PER")], [("#", "B-PER")]]


def test_a_word_with_a_hash_that_lacks_its_tag_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path, "Ada\tB-PER\n\n#NFL\n")
    assert "found 1 column," in read(path)[1].shown[0]


def test_ranges_and_empty_words_of_conll_u_are_left_out_and_lines_stay_right(tmp_path: Path) -> None:
    path = write(tmp_path, "1-2\tdu\t_\n1\tde\tO\n1.1\tx\tO\n2\tle\tB-X\n3\tA\tO\n\n1\tb\tO\n")
    rows, faults = read(path)
    assert tokens(rows) == [["de", "le", "A"], ["b"]]
    assert [rows[0].where(k) for k in range(3)] == [f"{path}:2", f"{path}:4", f"{path}:5"]
    assert dict(faults.notes) == {"lines of CoNLL-U's ranges and empty words left out": 2}


def test_words_numbered_anew_without_a_blank_line_begin_a_sentence(tmp_path: Path) -> None:
    path = write(tmp_path, "1\ta\tO\n2\tb\tB-X\n\n1\tc\tO\n2\td\tO\n1\te\tO\n")
    rows, faults = read(path)
    assert tokens(rows) == [["a", "b"], ["c", "d"], ["e"]]
    assert dict(faults.notes) == {"sentences begun where words are numbered anew, without a blank line": 1}


def test_numbers_are_words_where_there_is_no_other_column(tmp_path: Path) -> None:
    assert tokens(read(write(tmp_path, "1\tO\n2\tB-X\n\n1\tO\n"))[0]) == [["1", "2"], ["1"]]


def test_a_header_names_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "Token\tPOS\tNER\nAda\tNN\tB-PER\n\nmet\tVB\tO\n")
    source = open_file(path)
    assert source.columns == ["tokens", "tags", "Token", "POS", "NER", "0", "1", "2"]
    (first, second), _ = read(path)
    assert first.values["Token"] == first.values["0"] == first.values["tokens"] == ["Ada"]
    assert (second.values["NER"], second.where(0)) == (["O"], f"{path}:4")


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.txt", "a.ner", "a"])
@pytest.mark.parametrize("line", ["{word}\t{tag}", "{z}\t{word}\t{tag}", "{tag}\t{word}"])
def test_columns_are_read_under_any_extension(tmp_path: Path, name: str, line: str) -> None:
    assert read_pairs(columns_file(tmp_path, line, name, before="# s {s}\n")) == [ADA, OSLO]


@pytest.mark.parametrize("separator", [",", ";"])
def test_commas_may_separate_words_and_tags(tmp_path: Path, separator: str) -> None:
    text = f'word{separator}tag\nAda{separator}B-PER\n"{separator}"{separator}O\n\nOslo{separator}B-LOC\n'
    assert read_pairs(write(tmp_path, text, "a.csv")) == [[("Ada", "B-PER"), (separator, "O")], [("Oslo", "B-LOC")]]


@pytest.mark.parametrize(
    "text",
    [
        "sentence_id\tword\ttag\n1\tAda\tB-PER\n\n1\tmet\tO\n",
        "my_column\tword\ttag\n1\tAda\tB-PER\n\n1\tmet\tO\n",
        "word\ttag\nAda\tB-PER\nmet\tO\n",
        "text\tlabel\na fine film\tgood\n\na bad one\tbad\n",
        "id\ttext\tlabel\n1\ta fine film\tgood\n\n2\ta bad one\tbad\n",
        "Ada\tB-PER\nmet\tO\n",
        "Sentence #\tmy_column\ns0\tO\n\ns0\tB-X\n",
        "a\tb\n1\t" + "x" * 5000,
        "good\tB\n\nbad\tI\n",
    ],
)
def test_tables_are_left_to_their_reader(tmp_path: Path, text: str) -> None:
    assert not discovery.load("readers", "conll").claims(tmp_path / "train.tsv", text[:4096])


def test_a_long_table_of_words_without_a_blank_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no blank line from the first to the last \(3,000\)"):
        open_file(write(tmp_path, "word\tO\n" * 3000, "a.tsv"))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mixture_of_columns_comments_and_blanks_has_as_many_sentences_as_there_are(
    tmp_path: Path, data: st.DataObject
) -> None:
    draw = data.draw
    word = st.sampled_from(["Ada", "met", ".", "#", "##", "1", "2020", "-", "_", "O", "B", "李娜", "a-B", "# x"])
    tag = st.sampled_from(["O", "O", "B-PER", "B-LOC"])
    sentences = draw(st.lists(st.lists(st.tuples(word, tag), min_size=1, max_size=5), min_size=2, max_size=6))
    sentences = [[("Ada", "B-PER"), ("met", "O"), ("Bob", "B-PER")], *sentences]  # else nothing says what is what
    before = draw(st.lists(st.sampled_from(["{n}", "{s}", "_"]), max_size=2, unique=True))
    between = draw(st.lists(st.sampled_from(["NN", "_", "x{s}"]), max_size=2, unique=True))
    after = draw(st.lists(st.sampled_from(["-", "ann{s}", "_", "O"]), max_size=2, unique=True))
    comments = st.sampled_from(["", "# id = {s}\n", "#\n", "## x\ty\n", "-DOCSTART-\tO\n\n", "# a\tb\tc\n"])
    text = ""
    for number, sentence in enumerate(sentences):
        text += draw(comments).format(s=number)
        for n, (one, mark) in enumerate(sentence, 1):
            cells = [*before, "{word}", *between, "{tag}", *after]
            text += "\t".join(cell.format(n=n, s=number, word=one, tag=mark) for cell in cells) + "\n"
        text += "\n" * draw(st.integers(1, 2))
    path = write(tmp_path, text, draw(st.sampled_from(["a.conll", "a.tsv", "a.txt"])))
    try:
        if "tokens" not in open_file(path).columns:
            return  # a table, of which no task reads words and tags
        rows, faults = read(path)
    except DataError:
        return
    if not faults.count:
        found = [[*zip(row.values["tokens"], row.values["tags"], strict=True)] for row in rows]
        assert found == sentences


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


def documents(path: Path) -> list[str | None]:
    return [row.values.get("document_id") for row in read(path)[0]]


def test_lines_that_begin_documents_number_them_or_name_them(tmp_path: Path) -> None:
    conll = "-DOCSTART- -X- O\n\na x O\n\nb x O\n\n-DOCSTART- -X- O\n\n-DOCSTART- -X- O\n\nc x O\n"
    assert documents(write(tmp_path, conll)) == ["#1", "#1", "#3"]
    onto = "#begin document (a); part 000\na O\n\n#end document\n#begin document (a); part 001\nb O\n"
    assert documents(write(tmp_path, onto)) == ["#1", "#2"]
    universal = "# newdoc id = n01\n# sent_id = 1\n1\ta\tO\n\n# sent_id = 2\n1\tb\tO\n\n# newdoc\n1\tc\tO\n"
    assert documents(write(tmp_path, universal)) == ["n01", "n01", "#2"]


def test_documents_are_not_known_where_the_first_sentence_is_in_none(tmp_path: Path) -> None:
    path = write(tmp_path, "a x O\n\n-DOCSTART- -X- O\n\nb x O\n")
    assert documents(path) == [None, None] and "document_id" not in open_file(path).columns
