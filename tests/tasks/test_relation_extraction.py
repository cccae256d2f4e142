"""Relation extraction: marks, windows, the head on two marks, requests, and data in people's forms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import build_tiny_bert
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core.discovery import load
from adapters.core.errors import DataError, SettingsError
from adapters.core.settings import CommonSettings, join
from adapters.data.labels import LabelSet
from adapters.models.tokenizer import IGNORED
from adapters.tasks.base import examples
from adapters.tasks.base.entity_marks import marked, window
from adapters.tasks.base.example import Encoded, Example
from adapters.tasks.relation_extraction import Task

LABELS = LabelSet(("born_in", "no_relation", "works_for"))
TEXT = "Ada Lovelace lived in London"


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    root = tmp_path_factory.mktemp("tiny")
    bert = open_base(str(build_tiny_bert(root / "bert")))
    return {"bert": bert, **{name: open_base(str(tiny.BUILDERS[name](root / name))) for name in ("gpt2", "roberta")}}


def pair(text: str, head: tuple[int, int], tail: tuple[int, int], gold: str | None = None, **types: str) -> Example:
    return Example(id="0", inputs={"text": text, "head": [*head], "tail": [*tail], **types}, gold=gold)


def read(
    folder: Path, rows: list[Any] | str, name: str = "train.jsonl", *, cut: bool = False, **given: Any
) -> tuple[Any, Any]:
    path = folder / name
    path.write_text(rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows))
    kind = join(CommonSettings, load("tasks", "relation_extraction").Settings)
    files = {} if cut else {"validation_file": str(path), "test_file": str(path)}
    task, found, _ = examples.read_splits("relation_extraction", kind(train_file=str(path), **files, **given))
    return task, found


# marks and windows ----------------------------------------------------------------------------------------------------


def test_marks_are_those_of_the_paper() -> None:
    assert marked(TEXT, (0, 12, "PERSON"), (22, 28, "CITY")).text == (
        "@ * person * Ada Lovelace @ lived in # ^ city ^ London #"
    )
    assert marked(TEXT, (22, 28, None), (0, 12, None)).text == "# Ada Lovelace # lived in @ London @"
    assert marked("東京大学の", (0, 2, None), (0, 4, None)).text == "# @ 東京 @ 大学 # の"


@given(st.data())
def test_without_its_marks_a_marked_text_is_the_text(data: st.DataObject) -> None:
    text = data.draw(st.text(alphabet="ab 京.", min_size=2, max_size=20))
    spans = []
    for _ in range(2):
        start = data.draw(st.integers(0, len(text) - 1))
        spans.append((start, data.draw(st.integers(start + 1, len(text)))))
    if spans[0] == spans[1]:
        return
    found = marked(text, (*spans[0], None), (*spans[1], None))
    assert found.text.replace("@", "").replace("#", "").replace(" ", "") == text.replace(" ", "")
    for side, sign in enumerate("@#"):
        opening, closing = found.opening[side], found.closing[side]
        assert (found.text[opening], found.text[closing]) == (sign, sign)
        inside = found.text[opening + 1 : closing]
        assert inside.replace("#@"[side], "").replace(" ", "") == text[slice(*spans[side])].replace(" ", "")


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(0, 59), st.integers(0, 59), st.integers(1, 10), st.integers(1, 10))
def test_a_window_holds_both_opening_marks_and_never_more_than_its_room(
    room: int, first: int, second: int, size: int, other: int
) -> None:
    words = [f"w{number}" for number in range(80)]
    text = " ".join(words)
    starts = [text.index(f"w{number}") for number in range(80)]
    spans = [(starts[at], starts[at + most] - 1) for at, most in ((first, size), (second, other))]
    if spans[0] == spans[1]:
        return
    found = marked(text, (*spans[0], None), (*spans[1], None))
    offsets, at = [], 0
    for word in found.text.split(" "):
        offsets.append((at, at + len(word)))
        at += len(word) + 1
    kept, places, cut = window(found, offsets, room)
    assert len(kept) <= room
    assert list(kept) == sorted(kept)
    assert cut == (len(kept) < len(offsets))
    assert [found.text[offsets[kept[place]][0]] for place in places] == ["@", "#"]
    whole = (*found.opening, *found.closing)
    tokens = [next(n for n, (start, end) in enumerate(offsets) if start <= place < end) for place in whole]
    if max(tokens) - min(tokens) < room:
        assert set(tokens) <= set(kept)


# the head -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["bert", "roberta", "gpt2"])
def test_scores_are_a_linear_layer_on_the_states_of_two_marks(base: str, bases: dict[str, Any]) -> None:
    import torch

    opened = bases[base]
    task = Task(LABELS).on(opened.kind)
    model = opened.load(task.auto_class(opened.kind), task.config(), dropout=0.0).eval()
    example = pair(TEXT, (0, 12), (22, 28), "works_for")
    (row,) = task.encode([example], opened.word_tokenizer, 60, learning=True)
    head, tail, cut = row.detail
    read_tokens = opened.tokenizer.convert_ids_to_tokens([row.input_ids[head], row.input_ids[tail]])
    signs = [opened.tokenizer.unk_token if "@" not in opened.tokenizer.get_vocab() and base == "bert" else None]
    if signs == [None]:
        assert [token.strip("Ġ▁") for token in read_tokens] == ["@", "#"]
    assert not cut
    inputs = {"input_ids": torch.tensor([row.input_ids])}
    with torch.no_grad():
        states = model.base_model(**inputs).last_hidden_state[0]
        layer = getattr(model, "classifier", None) or model.score
        weight, bias = layer.weight, layer.bias
        both = torch.cat([states[head], states[tail]])
        joined = torch.cat([weight[:3], weight[3:]], 1) @ both + bias[:3] + bias[3:]
        (answer,) = task.answers(model, inputs, opened.word_tokenizer)
    (prediction,) = task.decode([example], [row], [answer], opened.word_tokenizer)
    np.testing.assert_allclose(prediction.detail, torch.softmax(joined, 0).numpy(), atol=1e-5)


def test_the_loss_is_the_cross_entropy_of_the_sums_at_both_marks() -> None:
    import torch

    task = Task(LABELS)
    logits = torch.randn(3, 9, 6)
    targets = torch.full((3, 9), IGNORED)
    places, classes = [(1, 5), (7, 2), (0, 8)], [2, 0, 1]
    for row, ((head, tail), label) in enumerate(zip(places, classes, strict=True)):
        targets[row, head], targets[row, tail] = label, label + 3
    summed, count = task.loss(logits, targets)
    sums = torch.stack([logits[row, head, :3] + logits[row, tail, 3:] for row, (head, tail) in enumerate(places)])
    wanted = torch.nn.functional.cross_entropy(sums, torch.tensor(classes))
    assert count == (targets != IGNORED).sum()
    torch.testing.assert_close(summed / count, wanted)


def test_the_head_starts_at_the_shares_of_the_relations() -> None:
    rows = [np.array([IGNORED, label, label + 3]) for label in (0, 0, 0, 2)]
    prior = Task(LABELS).prior(rows)
    assert prior is not None
    np.testing.assert_allclose(np.exp(prior[:3]), np.array([4, 1, 2]) / 7)
    assert not prior[3:].any()


def test_a_causal_model_reads_both_entities_after_the_text(bases: dict[str, Any]) -> None:
    base = bases["gpt2"]
    task = Task(LABELS).on(base.kind)
    (row,) = task.encode([pair(TEXT, (0, 12), (22, 28))], base.word_tokenizer, 200)
    text = base.tokenizer.decode(row.input_ids)
    assert text == "@ Ada Lovelace @ lived in # London #\n@ Ada Lovelace @ # London #"
    assert row.detail[:2] == (row.detail[0], len(row.input_ids) - 1)
    (short,) = task.encode([pair(TEXT * 9, (0, 12), (22, 28))], base.word_tokenizer, 60)
    assert len(short.input_ids) <= 60
    assert short.detail[2]


def test_long_names_leave_room_for_the_text_and_others_are_as_before(bases: dict[str, Any]) -> None:
    """A byte-level BPE has three tokens for each of these characters."""
    base = bases["gpt2"]
    task = Task(LABELS).on(base.kind)
    names = "東京都立大学" * 5, "大阪市立大学" * 5
    text = f"{names[0]}と{names[1]}の"
    long = pair(text, (0, 30), (31, 61))
    short = pair(TEXT, (0, 12), (22, 28))
    rows = task.encode([long, short], base.word_tokenizer, 128)
    assert rows[1:] == [replace(row, example=1) for row in task.encode([short], base.word_tokenizer, 128)]
    assert len(rows[0].input_ids) == 128 and rows[0].detail[2]
    tokens = base.tokenizer.convert_ids_to_tokens(rows[0].input_ids)
    head, tail, _ = rows[0].detail
    assert (tokens[head].strip("Ġ"), tokens[tail].strip("Ġ"), tail) == ("@", "#", 127)
    named = base.tokenizer.decode(rows[0].input_ids).rpartition("\n")[2]
    assert named == f"@ {names[0][:10]} @ # {names[1][:10]} #"  # 30 of 32 tokens: no character is cut
    traced = task.traced(long, base.word_tokenizer, 128)
    assert traced.rows[0].shape == (128, len(traced.words))


@pytest.mark.parametrize("base", ["bert", "gpt2"])
def test_too_few_tokens_for_two_marks_are_a_fault_of_the_setting(base: str, bases: dict[str, Any]) -> None:
    opened = bases[base]
    with pytest.raises(SettingsError, match=r"--max_length 3: .* larger"):
        Task(LABELS).on(opened.kind).encode([pair(TEXT, (0, 12), (22, 28))], opened.word_tokenizer, 3)


def test_a_text_too_long_for_both_entities_keeps_the_beginning_of_each_and_is_counted(bases: dict[str, Any]) -> None:
    base = bases["bert"]
    text = "Ada " + "and so on " * 100 + "London"
    example = pair(text, (0, 3), (len(text) - 6, len(text)))
    task = Task(LABELS)
    (row,) = task.encode([example], base.word_tokenizer, 20)
    assert len(row.input_ids) <= 20
    (prediction,) = task.decode([example], [row], [np.zeros((20, 6))], base.word_tokenizer)
    assert prediction.truncated


def test_prompts_choose_by_one_score_per_relation(bases: dict[str, Any]) -> None:
    task = Task(LABELS)
    example = pair(TEXT, (0, 12), (22, 28))
    row = Encoded(example=0, input_ids=[], targets=[])
    (found,) = task.decode([example], [row], [np.array([0.0, 0.0, 2.0])], bases["bert"].word_tokenizer)
    assert found.value == "works_for"
    from adapters.tasks.base.task import AnswerForm

    form = AnswerForm(format="label")
    assert task.fill(example, form) == {
        **{"labels": "born in, no relation, works for", "text": TEXT, "head": "Ada Lovelace", "tail": "London"}
    }
    assert task.read_answer(example, " Works For ", form).value == "works_for"


# words that are erased ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "left", "names"),
    [
        ("Ada", " Lovelace lived in London", ["Lovelace", "London"]),
        ("Lovelace lived", "Ada   in London", ["Ada", "London"]),
        ("Ada Lovelace", "…  lived in London", ["…", "London"]),
        ("London", "Ada Lovelace lived in …", ["Ada Lovelace", "…"]),
        ("Ada Lovelace lived in London", "…    …", ["…", "…"]),
    ],
)
def test_an_entity_stays_in_its_place_when_words_are_erased(gone: str, left: str, names: list[str]) -> None:
    task, example = Task(LABELS, types=("LOC", "PER")), pair(TEXT, (0, 12), (22, 28))
    example.inputs["head"].append("PER")
    words = task.words(example)
    erased = np.array([TEXT[word.start : word.end] in gone.split() for word in words])
    found = task.without(example, words, erased)
    assert found.inputs["text"] == left
    assert [*task._names(found)] == names
    assert found.inputs["head"][2:] == ["PER"] and found.inputs["tail"][2:] == []


@settings(deadline=None)
@given(st.data())
def test_entities_keep_their_other_words_whichever_are_erased(data: st.DataObject) -> None:
    text = data.draw(st.text(alphabet="ab 京.", min_size=2, max_size=20))
    spans = []
    for _ in range(2):
        start = data.draw(st.integers(0, len(text) - 1))
        spans.append((start, data.draw(st.integers(start + 1, len(text)))))
    if spans[0] == spans[1] or not all(text[slice(*span)].strip() for span in spans):
        return
    task, example = Task(LABELS), pair(text, *spans)
    words = task.words(example)
    erased = np.array(data.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words))), bool)
    gone = {at for word, out in zip(words, erased, strict=True) if out for at in range(word.start, word.end)}
    found = task.without(example, words, erased)
    assert found.inputs["text"].replace("…", "") == "".join(sign for at, sign in enumerate(text) if at not in gone)
    for name, span in zip(task._names(found), spans, strict=True):
        left = "".join(text[at] for at in range(*span) if at not in gone).strip()
        assert name.replace("…", "").strip() == left
        assert name == name.strip() and name
    (marks,) = task.plain_texts(found)
    assert (marks.count("headmark"), marks.count("tailmark")) == (2, 2)


# requests and cards ---------------------------------------------------------------------------------------------------


def test_a_request_has_marks_in_its_text_or_names_its_entities() -> None:
    task = Task(LABELS)
    forms: list[dict[str, Any]] = [
        {"text": "<e1>Ada Lovelace</e1> lived in <e2>London</e2>"},
        {"text": TEXT, "head": [0, 12], "tail": {"start": 22, "end": 28}},
        {"text": TEXT, "head": "Ada Lovelace", "tail": "London"},
    ]
    assert {json.dumps(task.from_request(form, "1").inputs) for form in forms} == {
        json.dumps({"text": TEXT, "head": [0, 12], "tail": [22, 28]})
    }


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({"text": TEXT}, "the text has no marks of its two entities"),
        ({"text": TEXT, "head": [0, 12]}, "relation_extraction takes {text} with marks"),
        ({"text": TEXT, "head": [0, 12], "tail": [0, 12]}, "head and tail are the same characters"),
        ({"text": TEXT, "head": [0, 99], "tail": [22, 28]}, "outside the text"),
        ({"text": " "}, "relation_extraction takes"),
        ({"question": "?"}, "found question"),
    ],
)
def test_a_request_that_names_no_pair_is_refused(inputs: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError) as raised:
        Task(LABELS).from_request(inputs, "1")
    assert problem in str(raised.value)


def test_an_adapter_that_learned_with_types_asks_for_them() -> None:
    task = Task(LABELS, types=("LOC", "PER"))
    for types in ({}, {"head_type": "PER", "tail_type": "city"}):
        with pytest.raises(DataError, match="this adapter learned with types, which are LOC, PER; give one"):
            task.from_request({"text": TEXT, "head": [0, 12], "tail": [22, 28], **types}, "1")
    given = {"text": TEXT, "head": [0, 12], "tail": [22, 28], "head_type": "PER", "tail_type": "LOC"}
    assert task.from_request(given, "1").inputs["tail"] == [22, 28, "LOC"]
    assert Task.from_card(task.card()).card() == task.card()
    assert task.card()["entity_markers"] == "typed"


def test_an_output_shows_both_entities_and_the_likeliest_relations() -> None:
    task = Task(LABELS)
    example = pair(TEXT, (0, 12), (22, 28))
    (found,) = task.decode([example], [Encoded(example=0, input_ids=[], targets=[])], [np.array([2.0, 0, 0])], None)  # type: ignore[arg-type]
    shown = task.output(example, found)
    assert shown["head"] == {"text": "Ada Lovelace", "start": 0, "end": 12}
    assert (shown["label"], list(shown["scores"])) == ("born_in", ["born_in", "no_relation", "works_for"])
    assert shown["score"] == pytest.approx(np.exp(2) / (np.exp(2) + 2), abs=1e-4)


# data -----------------------------------------------------------------------------------------------------------------

SEMEVAL = """1\t"The <e1>child</e1> slept in the <e2>cradle</e2>."
Content-Container(e1,e2)
Comment: none

2\t"The <e1>author</e1> used a <e2>disassembler</e2>."
Instrument-Agency(e2,e1)
Comment:

3\t"A <e1>cup</e1> and a <e2>spoon</e2>."
Other
"""


def test_semevals_blocks_are_read_with_other_as_no_relation(tmp_path: Path) -> None:
    task, found = read(tmp_path, SEMEVAL, "TRAIN_FILE.TXT")
    assert task.labels.names == ("Content-Container(e1,e2)", "Instrument-Agency(e2,e1)", "no_relation")
    first = found["test"][0]
    assert (first.id, first.inputs["text"]) == ("1", "The child slept in the cradle.")
    assert first.where == f"{tmp_path}/TRAIN_FILE.TXT:1"
    assert "the label Other is read as no_relation (--no_relation_label)" in found["train"].notes["reading"]["notes"]
    assert not task.types


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (SEMEVAL.replace("Other\n", ""), "TRAIN_FILE.TXT:9: text 3 has no relation on the next line"),
        (SEMEVAL.replace("<e1>cup</e1>", "cup"), "TRAIN_FILE.TXT:9: each mark must occur once in the text"),
        (SEMEVAL.replace("Comment: none", "Commentary\nmore"), "TRAIN_FILE.TXT:4: a line that belongs to no block"),
        (SEMEVAL.replace('2\t"The', "The"), "TRAIN_FILE.TXT:5: not a number and a quoted text"),
    ],
)
def test_a_damaged_block_is_named_with_its_line(file: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        read(tmp_path, file, "TRAIN_FILE.TXT")
    assert problem in str(raised.value)


def test_sciercs_documents_become_sentences_with_all_their_pairs(tmp_path: Path) -> None:
    document = {
        "doc_key": "d1",
        "sentences": [["We", "use", "parsers", "."], ["Parsers", "help", "translation", "."]],
        "ner": [[[2, 2, "Method"]], [[4, 4, "Method"], [6, 6, "Task"]]],
        "relations": [[], [[4, 4, 6, 6, "USED-FOR"]]],
    }
    task, found = read(tmp_path, [document, {**document, "doc_key": "d2"}])
    assert task.types == ("Method", "Task")
    assert [(e.gold, e.inputs["head"][2], e.document) for e in found["test"]] == [
        ("USED-FOR", "Method", "d1"),
        ("no_relation", "Task", "d1"),
        ("USED-FOR", "Method", "d2"),
        ("no_relation", "Task", "d2"),
    ]
    assert "texts with fewer than two entities" in " ".join(found["train"].notes["reading"]["notes"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ner": [[]]}, "2: a document needs the lists sentences, ner, relations, of equal length"),
        ({"ner": None}, "2: a document needs the lists sentences, ner, relations, of equal length"),
        ({"ner": [[[0, 0]]] * 2}, "2: an entity must be [start, end, type], a relation [start, end, start, end, type]"),
        ({"relations": [[], [[4, 4, 5, 5, "r"]]]}, "2: a relation's argument (1, 2) is no entity of its sentence"),
    ],
)
def test_what_is_wrong_with_a_document_is_said(change: dict[str, Any], problem: str, tmp_path: Path) -> None:
    document = {
        "sentences": [["We", "use", "parsers", "."], ["Parsers", "help", "translation", "."]],
        "ner": [[], [[4, 4, "Method"], [6, 6, "Task"]]],
        "relations": [[], [[4, 4, 6, 6, "USED-FOR"]]],
    }
    with pytest.raises(DataError) as raised:
        read(tmp_path, [document, {**document, **change}])
    assert f"train.jsonl:{problem}" in str(raised.value)


def test_fewrels_object_of_relations_is_read(tmp_path: Path) -> None:
    tokens = ["Ada", "lived", "in", "Oslo"]
    rows = {
        "P551": [{"tokens": tokens, "h": ["ada", "Q1", [[0]]], "t": ["oslo", "Q2", [[3]]]}],
        "P19": [{"tokens": tokens, "h": ["oslo", "Q2", [[3]]], "t": ["ada", "Q1", [[0]]]}],
    }
    task, found = read(tmp_path, json.dumps(rows), "fewrel.json")
    assert task.labels.names == ("P19", "P551")
    assert [(e.gold, e.inputs["head"]) for e in found["test"]] == [("P551", [0, 3]), ("P19", [13, 17])]


def test_a_table_with_marks_is_read(tmp_path: Path) -> None:
    table = "text,label\n<e1>Ada</e1> in <e2>Rome</e2>,lives\n<e1>Ada</e1> or <e2>Rome</e2>,none\n"
    task, _ = read(tmp_path, table, "pairs.csv")
    assert task.labels.names == ("lives", "no_relation")


def test_pairs_of_one_text_stay_on_one_side_of_a_cut(tmp_path: Path) -> None:
    rows = [
        {"tokens": [f"a{n}", "b", "c"], "entities": [[0, 1, "X"], [1, 2, "Y"], [2, 3, "Z"]], "relations": [[0, 1, "r"]]}
        for n in range(60)
    ]
    _, found = read(tmp_path, rows, cut=True)
    sides = [{example.inputs["text"] for example in found[name]} for name in ("train", "validation")]
    assert sides[1]
    assert not sides[0] & sides[1]


def test_typed_marks_need_types_and_one_relation_is_too_few(tmp_path: Path) -> None:
    rows = [{"text": TEXT, "head": "Ada", "tail": "London", "label": label} for label in ("a", "b")]
    with pytest.raises(DataError, match="some entities have no type"):
        read(tmp_path, rows, entity_markers="typed")
    with pytest.raises(DataError, match="only the relation a occurs"):
        read(tmp_path, rows[:1] * 3)
    with pytest.raises(DataError, match="no column of the tail"):
        read(tmp_path, [{"text": TEXT, "head": "Ada", "other": "London", "label": "a"}])
