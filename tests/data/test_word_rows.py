"""Tables with a word in each row: as many sentences as there are, each word at its line; or refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.core.errors import DataError, Faults
from adapters.data.columns import ColumnRoles
from adapters.data.dataset_files import open_file
from adapters.data.entity_spans import SpanRules
from adapters.data.ner_rows import Sentence, find_ner_columns, find_tag_form, read_sentences
from adapters.data.rows import Row
from adapters.data.word_rows import is_word_a_row

ADA = [("Ada", "B-PER"), ("met", "O"), ("Bob", "B-PER")]
OSLO = [("Oslo", "B-LOC"), ("slept", "O")]


def table(path: Path, *rows: list[Any], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return path


def numbered(*sentences: list[tuple[str, str]], first: int = 1) -> list[list[Any]]:
    return [[number, *pair] for number, sentence in enumerate(sentences, first) for pair in sentence]


def read(path: Path, **named: Any) -> tuple[list[Sentence], Faults, ColumnRoles]:
    roles = ColumnRoles(open_file(path), named)
    columns = find_ner_columns(roles)
    faults = Faults(roles.source.name)
    form = find_tag_form(roles.source, columns)
    found = list(read_sentences(roles.source, columns, form, rules=SpanRules(), faults=faults))
    return [sentence for _, sentence in found], faults, roles


def pairs(sentences: list[Sentence]) -> list[list[tuple[str, str]]]:
    return [[*zip(one.words, one.tags, strict=True)] for one in sentences]


@pytest.mark.parametrize(
    "name",
    ["Sentence #", "sentence_id", "sent_id", "sentence_idx", "SentenceID", "sentence", "Sent", "sid", "seq_id", "id"],
)
def test_words_are_grouped_by_a_column_with_a_usual_name(tmp_path: Path, name: str) -> None:
    found, faults, roles = read(table(tmp_path / "a.csv", [name, "Word", "Tag"], *numbered(ADA, OSLO)))
    assert (pairs(found), faults.count) == ([ADA, OSLO], 0)
    assert roles.columns["sentence"] == [name]


def test_sentences_know_their_document_where_a_column_says_it(tmp_path: Path) -> None:
    rows = [["a", 1, *ADA[0]], ["", "", *ADA[1]], ["", 2, *OSLO[0]], ["b", 1, *OSLO[1]], ["", "", "too", "O"]]
    for named in ({}, {"document": "doc_id"}, {"document": "doc_id", "sentence": ["doc_id", "sent"]}):
        _, _, roles = read(table(tmp_path / "a.csv", ["doc_id", "sent", "word", "tag"], *rows), **named)
        assert (roles.columns["document"], roles.columns["sentence"][-1]) == (["doc_id"], "sent")
        assert [row.values["doc_id"] for row in roles.source.rows(Faults("a"))] == ["a", "a", "b"]


def test_a_blank_continues_the_sentence_before_it(tmp_path: Path) -> None:
    rows = [["Sentence: 1", *ADA[0]], ["", *ADA[1]], ["", *ADA[2]], ["Sentence: 2", *OSLO[0]], ["", *OSLO[1]]]
    found, faults, _ = read(table(tmp_path / "a.csv", ["Sentence #", "Word", "Tag"], *rows))
    assert (pairs(found), faults.count) == ([ADA, OSLO], 0)


def test_whole_numbers_written_as_decimals_are_the_same(tmp_path: Path) -> None:
    rows = [["1.0", *ADA[0]], ["1", *ADA[1]], ["nan", *ADA[2]], ["2.0", *OSLO[0]], ["2.0", *OSLO[1]]]
    assert pairs(read(table(tmp_path / "a.csv", ["sent_id", "word", "tag"], *rows))[0]) == [ADA, OSLO]


def test_sentences_that_are_numbered_anew_in_each_document_are_told_apart(tmp_path: Path) -> None:
    rows = [["a", 1, *pair] for pair in ADA] + [["b", 1, *pair] for pair in OSLO]
    found, faults, roles = read(table(tmp_path / "a.csv", ["doc_id", "sentence", "word", "tag"], *rows))
    assert (pairs(found), faults.count) == ([ADA, OSLO], 0)
    assert roles.columns["sentence"] == ["doc_id", "sentence"]


def test_json_lines_and_parquet_are_grouped_too(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [{"sentence_id": n, "token": word, "ner_tag": tag} for n, word, tag in numbered(ADA, OSLO)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        found, faults, _ = read(tmp_path / name)
        assert (pairs(found), faults.count) == ([ADA, OSLO], 0)


def test_of_two_columns_the_likeliest_name_is_read_and_the_other_said(tmp_path: Path) -> None:
    rows = [[number, 7, *pair] for number, *pair in numbered(ADA, OSLO)]
    path = table(tmp_path / "a.csv", ["sent_id", "paragraph", "word", "tag"], *rows)
    found, _, roles = read(path)
    assert pairs(found) == [ADA, OSLO]
    assert roles.notes == [
        "sentence is read from sent_id, the likeliest name; it could also be paragraph (--sentence_column_name)"
    ]
    assert pairs(read(path, sentence="paragraph")[0]) == [[*ADA, *OSLO]]


def test_a_column_in_which_nothing_repeats_groups_nothing(tmp_path: Path) -> None:
    rows = [[number, *pair] for number, pair in enumerate([*ADA, *OSLO])]
    with pytest.raises(DataError, match="no column that says which words are a sentence") as raised:
        read(table(tmp_path / "a.csv", ["id", "word", "tag"], *rows))
    assert "--sentence_column_name" in str(raised.value) and "--repair_tags" not in str(raised.value)


@pytest.mark.parametrize("odd", ["", "6"])
def test_numbers_of_rows_with_a_gap_or_a_double_are_no_sentences(tmp_path: Path, odd: str) -> None:
    rows: list[list[Any]] = [[number, *pair] for number, pair in enumerate((ADA + OSLO) * 10)]
    rows[7][0] = odd
    with pytest.raises(DataError, match="no column that says which words are a sentence"):
        read(table(tmp_path / "a.csv", ["id", "word", "tag"], *rows))


@pytest.mark.parametrize(
    "header", [["word", "tag"], ["tokens", "ner_tags"], ["text", "label"], ["document", "word", "tag"]]
)
def test_words_without_a_sentence_are_refused(tmp_path: Path, header: list[str]) -> None:
    rows = [["d", *pair][-len(header) :] for pair in [*ADA, *OSLO]]
    with pytest.raises(DataError, match=r"no column that says which words are a sentence.*Columns found: "):
        read(table(tmp_path / "a.csv", header, *rows))


def test_rows_without_a_word_separate_sentences_where_no_column_does(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", ["word", "tag"], *ADA, ["", ""], *OSLO, ["", ""])
    found, faults, _ = read(path)
    assert (pairs(found), faults.count) == ([ADA, OSLO], 0)


def test_rows_without_anything_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = numbered(ADA, OSLO)
    found, faults, _ = read(table(tmp_path / "a.csv", ["sid", "word", "tag"], *rows[:2], ["", "", ""], *rows[2:]))
    assert (pairs(found), faults.count, dict(faults.notes)) == ([ADA, OSLO], 0, {"rows without anything left out": 1})


@pytest.mark.parametrize(
    "row, what",
    [
        ([1, "", "O"], "column 'word' is empty"),
        ([1, "nan", "O"], "column 'word' is 'nan', which is no word"),
        ([1, "here", ""], "column 'tag' is empty"),
        ([3, "", ""], "column 'word' is empty"),
    ],
)
def test_a_row_without_a_word_or_a_tag_is_a_fault_at_its_line(tmp_path: Path, row: list[Any], what: str) -> None:
    path = table(tmp_path / "a.csv", ["sid", "word", "tag"], *numbered(ADA), row, *numbered(OSLO, first=2))
    _, faults, _ = read(path)
    assert faults.shown == [f"{path}:5: {what}"]


def test_a_wrong_tag_is_a_fault_at_the_line_of_its_word(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sid,word,tag\n1,Ada,B-PER\n\n\n1,met,I-LOC\n2,Oslo,B-LOC\n")
    found, faults, _ = read(path)
    assert faults.shown == [f"{path}:5: word 'met': I-LOC continues no entity (the tag before it is B-PER)"]
    assert pairs(found) == [[("Oslo", "B-LOC")]]


def test_a_sentence_that_comes_again_is_a_fault(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", ["sid", "word", "tag"], *numbered(ADA, OSLO), [1, "again", "O"])
    _, faults, _ = read(path)
    assert faults.shown == [f"{path}:7: sid '1' comes again, after other sentences (first at {path}:2)"]


def test_a_first_row_without_a_sentence_is_a_fault(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", ["sid", "word", "tag"], ["", "x", "O"], *numbered(ADA, OSLO))
    assert read(path)[1].shown == [f"{path}:2: no sentence in column 'sid', and none before it to continue"]


def test_words_that_are_numbers_in_json_are_faults(tmp_path: Path) -> None:
    rows = [{"sid": 1, "word": "in", "tag": "O"}, {"sid": 1, "word": 2020, "tag": "B-T"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read(tmp_path / "a.jsonl")[1].shown == [f"{tmp_path}/a.jsonl:2: column 'word' is 2020, which is no word"]


def test_rows_of_whole_sentences_are_not_grouped(tmp_path: Path) -> None:
    rows = [["1", "Ada met Bob", "B-PER O B-PER"], ["1", "Oslo", "B-LOC"]]
    found, faults, _ = read(table(tmp_path / "a.csv", ["sid", "tokens", "tags"], *rows))
    assert ([len(one.words) for one in found], faults.count) == ([3, 1], 0)


def test_texts_with_one_label_each_are_refused_with_the_task_that_fits(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", ["text", "label"], ["what a day", "good"], ["no , thanks", "bad"])
    with pytest.raises(DataError, match=r"one label for each, not a tag for each word.*--task classification"):
        read(path)


def test_lists_are_no_single_words() -> None:
    assert not is_word_a_row([Row("f", 1, 0, {"w": ["Ada"], "t": ["O"]})], "w", "t")
    assert not is_word_a_row([Row("f", 1, 0, {"w": "['Ada']", "t": "['O']"})], "w", "t")
    assert is_word_a_row([Row("f", 1, 0, {"w": "Ada", "t": "O"})], "w", "t")
    assert is_word_a_row([Row("f", 1, 0, {"w": "[", "t": "O"})], "w", "t")
    assert not is_word_a_row([], "w", "t")


WORDS = st.sampled_from(["Ada", "met", ".", ",", '"', "#", "[", "7", "-", "naïve", "李娜", "New York", "'s", "|", ";"])
SENTENCES = st.lists(
    st.lists(st.tuples(WORDS, st.sampled_from(["O", "O", "B-PER", "B-LOC"])), min_size=1, max_size=5),
    min_size=1,
    max_size=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), sentences=SENTENCES)
def test_any_order_name_separator_and_blanks_give_the_same_sentences_or_a_refusal(
    tmp_path: Path, data: st.DataObject, sentences: list[list[tuple[str, str]]]
) -> None:
    names = [
        data.draw(st.sampled_from(["Sentence #", "sentence_id", "sent_idx", "id", "SID", "text_no"])),
        data.draw(st.sampled_from(["Word", "token", "words", "form", "text"])),
        data.draw(st.sampled_from(["Tag", "labels", "ner", "NE", "my_column"])),
        data.draw(st.sampled_from(["POS", "lemma", "x"])),
    ]
    order = data.draw(st.permutations(range(4)))
    delimiter = data.draw(st.sampled_from([",", ";", "\t", "|"]))
    continued = data.draw(st.booleans())
    rows = []
    for number, sentence in enumerate(sentences):
        for at, (word, tag) in enumerate(sentence):
            rows.append([f"s{number}" if not (continued and at) else "", word, tag, "NN"])
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        for row in [names, *rows]:
            writer.writerow([row[number] for number in order])
            stream.write("\n" * data.draw(st.integers(0, 1)) if row is not names else "")
    try:
        found, faults, _ = read(path)
    except DataError as error:
        assert "olumn" in str(error)
        return
    if not faults.count:
        assert pairs(found) == sentences
