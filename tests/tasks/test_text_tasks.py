"""Tasks whose answer is a text: what is read, what a model learns and is asked, and what is made of its answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
import tiny

from adapters.core.discovery import load
from adapters.core.errors import DataError, SettingsError
from adapters.core.settings import CommonSettings, join
from adapters.models.tokenizer import IGNORED
from adapters.prompting import template
from adapters.tasks.base import examples
from adapters.tasks.base.example import Example
from adapters.tasks.base.generation_task import LEAST_ROOM
from adapters.tasks.base.task import AnswerForm, load_task

NAMES = ("question_answering", "summarization", "translation")
LANGUAGES = {"source_lang": "en", "target_lang": "de"}
OPTIONS: dict[str, dict[str, Any]] = {"translation": LANGUAGES}
ROWS: dict[str, list[dict[str, Any]]] = {
    "question_answering": [
        {
            "id": "q",
            "question": "Who?",
            "context": "Ada lived in Oslo.",
            "answers": {"text": ["Ada", "Ada"], "answer_start": [0, 0]},
        },
        {"question": "Where?", "context": "Oslo is Oslo.", "answers": ["Oslo"]},
    ],
    "summarization": [
        {"source": ["Ada lived. ", " Alan, too."], "target": ["Both lived.", "They lived."], "id": "s"},
        {"source": "Emmy wrote notes.", "target": "Notes."},
    ],
    "translation": [{"en": "Ada", "de": "Adele", "id": "t"}, {"en": "a friend", "de": ["ein Freund", "eine Freundin"]}],
}


def settings_of(name: str, **given: Any) -> Any:
    return join(CommonSettings, load("tasks", name).Settings)(**{**OPTIONS.get(name, {}), **given})


def read(name: str, folder: Path, rows: list[Any] | str, **given: Any) -> tuple[Any, list[Example]]:
    path = folder / "test.jsonl"
    path.write_text(rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows))
    task, found, _ = examples.read_splits(name, settings_of(name, test_file=str(path), **given))
    return task, found["test"][:]


def made(name: str, **options: Any) -> Any:
    return load("tasks", name).Task(**{**OPTIONS.get(name, {}), **options})


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    root = tmp_path_factory.mktemp("tiny")
    return {name: open_base(str(tiny.BUILDERS[name](root / name))) for name in ("gpt2", "llama", "t5", "roberta")}


# reading --------------------------------------------------------------------------------------------------------------


def test_each_task_reads_its_usual_columns(tmp_path: Path) -> None:
    found = {name: read(name, tmp_path, ROWS[name])[1] for name in NAMES}
    assert {name: [example.id for example in examples] for name, examples in found.items()} == {
        "question_answering": ["q", "1"],
        "summarization": ["s", "1"],
        "translation": ["t", "1"],
    }
    assert [(e.inputs, e.gold) for e in found["summarization"]] == [
        ({"text": "Ada lived. Alan, too."}, ["Both lived.", "They lived."]),
        ({"text": "Emmy wrote notes."}, ["Notes."]),
    ]
    assert [(e.inputs, e.gold) for e in found["translation"]] == [
        ({"text": "Ada"}, ["Adele"]),
        ({"text": "a friend"}, ["ein Freund", "eine Freundin"]),
    ]
    first, second = found["question_answering"]
    assert (first.inputs, first.gold, first.starts) == (
        {"question": "Who?", "context": "Ada lived in Oslo."},
        ["Ada", "Ada"],
        (0, 0),
    )
    assert (second.gold, second.starts) == (["Oslo"], ())


def test_questions_of_one_context_are_of_one_document(tmp_path: Path) -> None:
    row = {"question": "Who?", "context": CONTEXT, "answers": []}
    rows = [row, {**row, "question": "Why?"}, {**row, "context": f"Not that. {CONTEXT}"}]
    _, found = read("question_answering", tmp_path, rows, version_2_with_negative=True)
    assert found[0].document == found[1].document != found[2].document != ""
    assert found[0].digest() == Example(id="", inputs={"question": "Who?", "context": CONTEXT}).digest()
    others = [{**row, "article_id": number // 2} for number in range(3)]
    _, found = read("question_answering", tmp_path, others, version_2_with_negative=True)
    assert [example.document for example in found] == ["0", "0", "1"]


def test_columns_of_other_names_are_named(tmp_path: Path) -> None:
    rows = [{"note": "Ada lived.", "gist": "Ada."}]
    _, (example,) = read("summarization", tmp_path, rows, text_column_name="note", summary_column_name="gist")
    assert (example.inputs, example.gold) == ({"text": "Ada lived."}, ["Ada."])
    _, (example,) = read("translation", tmp_path, rows, source_column_name="note", target_column_name="gist")
    assert (example.inputs, example.gold) == ({"text": "Ada lived."}, ["Ada."])


def test_a_translation_column_holds_both_sides(tmp_path: Path) -> None:
    _, (example,) = read("translation", tmp_path, [{"translation": {"de": "Hut", "en": "hat", "fr": "chapeau"}}])
    assert (example.inputs, example.gold) == ({"text": "hat"}, ["Hut"])
    with pytest.raises(DataError, match=r"test\.jsonl:1: column 'translation\.de' is empty"):
        read("translation", tmp_path, [{"translation": {"en": "hat"}}])


CONTEXT = "Ada lived in Oslo."


@pytest.mark.parametrize(
    "row",
    [
        {"answers": {"text": "Oslo", "answer_start": 13}},
        {"answers": [{"text": "Oslo", "answer_start": 13}]},
        {"answers": "{'text': array(['Oslo'], dtype=object), 'answer_start': array([13], dtype=int32)}"},
        {"answer": "Oslo", "answer_start": "13"},
        {"answer_text": "Oslo", "answer_start": 13.0},
        {"answers": {"text": ["Oslo"], "answer_start": [12]}},  # a blank before it
    ],
)
@pytest.mark.parametrize("context", ["context", "Passage", "text"])
def test_answers_are_read_in_every_form(tmp_path: Path, row: dict[str, Any], context: str) -> None:
    _, (example,) = read("question_answering", tmp_path, [{"question": "Where?", context: CONTEXT, **row}])
    assert (example.inputs["context"], example.gold, example.starts) == (CONTEXT, ["Oslo"], (13,))


@pytest.mark.parametrize("writer", ["datasets", "pandas", "numpy"])
def test_questions_that_others_wrote_into_a_table_are_read_back(tmp_path: Path, writer: str) -> None:
    answers = [["Oslo", "in Oslo"], ["Ada"], ["li'ved"]]
    contexts = [CONTEXT, CONTEXT, "Ada li'ved"]
    rows = [
        {
            "question": "What?",
            "context": context,
            "answers": {"text": texts, "answer_start": list(map(context.find, texts))},
        }
        for texts, context in zip(answers, contexts, strict=True)
    ]
    path = tmp_path / "test.csv"
    if writer == "datasets":
        datasets.Dataset.from_list(rows).to_csv(str(path))
    else:
        if writer == "numpy":
            for row in rows:
                own: Any = row["answers"]
                row["answers"] = {"text": np.array(own["text"], object), "answer_start": np.array(own["answer_start"])}
        pandas.DataFrame(rows).to_csv(path)
    found = examples.read_splits("question_answering", settings_of("question_answering", test_file=str(path)))[1][
        "test"
    ]
    assert [example.gold for example in found] == answers
    assert [example.inputs["context"] for example in found] == contexts
    assert all(len(example.starts) == len(example.gold) for example in found)


@pytest.mark.parametrize("name", ["28_news.csv", "30_squad_cells.csv", "31_scalar_answers.jsonl", "32_qas_list.json"])
def test_files_as_people_have_them_are_read_as_they_should(tmp_path: Path, shared_data: Path, name: str) -> None:
    folder = shared_data / "wild"
    if not folder.is_dir():
        pytest.skip("../shared/data/wild is not there")
    want = json.loads((folder / "want.json").read_text())[name]
    chosen = settings_of(want["task"], test_file=str(folder / name))
    found = examples.read_splits(want["task"], chosen)[1]["test"]
    assert len(found) == want["examples"]
    assert "golds" not in want or [example.gold for example in found] == [[gold] for gold in want["golds"]]
    columns = [name for names in found.notes["reading"]["columns"].values() for name in names]
    assert "columns" not in want or columns == want["columns"]


def test_starts_that_missed_by_blanks_are_counted(tmp_path: Path) -> None:
    rows = [
        {"question": "Where?", "context": CONTEXT, "answers": {"text": "Oslo", "answer_start": at}} for at in (12, 13)
    ]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = examples.read_splits("question_answering", settings_of("question_answering", test_file=str(path)))[1][
        "test"
    ]
    assert found.notes["reading"]["notes"] == ["1 row whose answer_start missed the answer by blanks, put right"]


@pytest.mark.parametrize(
    "row",
    [
        {"answers": {"text": [], "answer_start": []}},
        {"answers": ""},
        {"answers": []},
        {"answers": {"text": "", "answer_start": -1}},
        {"answers": {"text": [], "answer_start": []}, "is_impossible": "True"},
        {"answer": " ", "answer_start": "", "is_impossible": 1},
    ],
)
def test_a_question_without_an_answer_needs_its_flag(tmp_path: Path, row: dict[str, Any]) -> None:
    rows = [{"question": "Where?", "context": CONTEXT, **row}]
    _, (example,) = read("question_answering", tmp_path, rows, version_2_with_negative=True)
    assert (example.gold, example.starts) == ([], ())
    with pytest.raises(DataError, match="--version_2_with_negative"):
        read("question_answering", tmp_path, rows)


@pytest.mark.parametrize(
    ("row", "said", "gold", "note"),
    [
        ({"answers": ["lived"], "is_impossible": True}, "says that there is no answer", [], "1 row with answers that"),
        ({"answer": "lived", "is_impossible": "1"}, "says that there is no answer", [], "1 row with answers that"),
        (
            {"answer": "lived", "is_impossible": "yes"},
            "must be 0 or 1 .*, found 'yes'",
            ["lived"],
            "1 row whose is_imp",
        ),
    ],
)
def test_a_mark_that_the_answers_deny_or_that_is_none_is_a_fault(
    tmp_path: Path, row: dict[str, Any], said: str, gold: list[str], note: str
) -> None:
    rows = [{"question": "Where?", "context": CONTEXT, **row}]
    with pytest.raises(DataError, match=f"is_impossible {said}"):
        read("question_answering", tmp_path, rows, version_2_with_negative=True)
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps(rows[0]) + "\n")
    options = {"test_file": str(path), "version_2_with_negative": True, "repair_questions": True}
    split = examples.read_splits("question_answering", settings_of("question_answering", **options))[1]["test"]
    assert split[0].gold == gold
    assert any(one.startswith(note) for one in split.notes["reading"]["notes"])


def test_lists_in_the_cells_of_a_table_are_lists(tmp_path: Path) -> None:
    rows = [
        {"document": "['Ada lived.', 'Alan, too.']", "summary": '["Both lived.", "They lived."]'},
        {"document": "[Applause] Emmy wrote notes.", "summary": "[1]"},
    ]
    _, found = read("summarization", tmp_path, rows)
    assert [(e.inputs["text"], e.gold) for e in found] == [
        ("Ada lived. Alan, too.", ["Both lived.", "They lived."]),
        ("[Applause] Emmy wrote notes.", ["[1]"]),
    ]
    _, (example,) = read("translation", tmp_path, [{"translation": "{'en': 'hat', 'de': 'Hut'}"}])
    assert (example.inputs, example.gold) == ({"text": "hat"}, ["Hut"])


def test_the_publisher_is_not_the_text(tmp_path: Path) -> None:
    row = {"source": "The Daily", "title": "Ada", "content": "Ada lived.", "summary": "She did."}
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps(row))
    found = examples.read_splits("summarization", settings_of("summarization", test_file=str(path)))[1]["test"]
    assert (found[0].inputs, found[0].gold) == ({"text": "Ada lived."}, ["She did."])
    assert "it could also be source (--text_column_name)" in found.notes["reading"]["notes"][0]


def test_an_instruction_is_read_with_its_input(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Translate.", "input": "hat", "output": "Hut"},
        {"instruction": "Say yes.", "input": "", "output": "yes"},
    ]
    _, found = read("text_generation", tmp_path, rows)
    assert [e.inputs["text"] for e in found] == ["Translate.\n\nhat", "Say yes."]
    _, found = read("text_generation", tmp_path, rows, prompt_column_name="instruction")
    assert [e.inputs["text"] for e in found] == ["Translate.", "Say yes."]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada."}]},
        {"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ada."}], "id": 1},
        {"messages": "[{'role': 'user', 'content': 'Who?'} {'role': 'assistant', 'content': 'Ada.'}]"},
    ],
)
def test_the_last_turn_of_a_conversation_is_the_completion(tmp_path: Path, row: dict[str, Any]) -> None:
    _, (example,) = read("text_generation", tmp_path, [row])
    assert (example.inputs, example.gold) == ({"text": "user: Who?\nassistant:"}, [" Ada."])


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([{"role": "user", "content": "Who?"}], "its last turn must be the assistant's"),
        ([{"role": "assistant", "content": "Ada."}], "its last turn must be the assistant's"),
        ([{"role": "user", "content": ""}, {"role": "assistant", "content": "a"}], "neither of them empty"),
        ("Who?", "the conversation: the cell is no list"),
        (None, "its last turn must be"),
    ],
)
def test_a_conversation_without_an_answer_is_a_fault(tmp_path: Path, turns: Any, said: str) -> None:
    with pytest.raises(DataError, match=r"test\.jsonl:1: ") as caught:
        read("text_generation", tmp_path, [{"messages": turns}])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("summarization", [{"words": "a", "target": "b"}], "no column of texts with a usual name"),
        ("summarization", [{"text": "a"}], "Name it with --summary_column_name"),
        ("summarization", [{"text": "a", "summary": " "}], "test.jsonl:1: column 'summary' is empty"),
        ("summarization", [{"text": [], "summary": "b"}], "test.jsonl:1: column 'text' is empty"),
        ("summarization", [{"text": "a", "summary": []}], "test.jsonl:1: column 'summary' is empty"),
        ("summarization", [{"text": "a", "summary": ["b", ""]}], "test.jsonl:1: column 'summary' is empty"),
        ("summarization", [{"text": 3, "summary": "b"}], "column 'text' must be a text, found int"),
        ("summarization", [{"text": "\ud800", "summary": "b"}], "half of a character"),
        ("translation", [{"en": "a", "fr": "b"}], "no column of de with a usual name"),
        ("translation", [{"en": "a", "de": None}], "test.jsonl:1: column 'de' is empty"),
        ("question_answering", [{"question": "a", "context": "b"}], "no column of answers"),
        ("question_answering", [{"question": "", "context": "b", "answers": ["b"]}], "column 'question' is empty"),
        ("question_answering", [{"question": "a", "context": "b", "answers": []}], "--version_2_with_negative"),
        ("question_answering", [{"question": "a", "context": "b", "answers": [""]}], "column 'answers' is empty"),
        (
            "question_answering",
            [{"question": "Who?", "context": CONTEXT, "id": "q7", "answers": {"text": ["Oslo"], "answer_start": [11]}}],
            "test.jsonl:1: answer_start 11: the context reads 'n Oslo.' there, not 'Oslo'",
        ),
        (
            "question_answering",
            [{"question": "Who?", "context": CONTEXT, "answers": {"text": ["Oslo"], "answer_start": [-5]}}],
            "answer_start -5",
        ),
        (
            "question_answering",
            [{"question": "Who?", "context": CONTEXT, "answers": {"text": ["Oslo"], "answer_start": [0, 1]}}],
            "1 answers, but 2 times",
        ),
    ],
)
def test_what_is_wrong_with_a_row_is_said_with_its_place(
    tmp_path: Path, name: str, rows: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(name, tmp_path, rows)
    assert said in str(caught.value)


def test_an_answer_that_stands_elsewhere_is_named_with_the_questions_id(tmp_path: Path) -> None:
    asked = {"id": "q7", "question": "Where?", "answers": [{"text": "Oslo", "answer_start": 14}]}
    path = tmp_path / "test.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": [asked]}]}]}))
    with pytest.raises(DataError) as caught:
        examples.read_splits("question_answering", settings_of("question_answering", test_file=str(path)))
    assert f"{path}: data[0].paragraphs[0].qas[0] (id q7): answer_start 14" in str(caught.value)


MISPLACED = [
    {"question": "谁？", "context": "曹雪芹写了书，曹雪芹是谁", "answers": {"text": ["曹雪芹"], "answer_start": [8]}},
    {"question": "谁？", "context": "作者是曹雪芹", "answers": {"text": ["曹霑", "曹雪芹"], "answer_start": [-1, 3]}},
    {"question": " ", "context": "作者是曹雪芹", "answers": {"text": ["曹雪芹"], "answer_start": [3]}},
]
"""As CMRC 2018 has them: an answer a character off, one of several not in the context, a question without words."""


def test_questions_are_repaired_only_where_that_was_asked_and_all_is_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--repair_questions") as caught:
        read("question_answering", tmp_path, MISPLACED)
    assert "3 faults" in str(caught.value)
    settings = settings_of("question_answering", test_file=str(tmp_path / "test.jsonl"), repair_questions=True)
    found = examples.read_splits("question_answering", settings)[1]["test"]
    assert [(one.gold, one.starts) for one in found] == [(["曹雪芹"], (7,)), (["曹霑", "曹雪芹"], (-1, 3))]
    assert found.notes["reading"]["notes"] == [
        "1 answer missing at their answer_start, found elsewhere in the context",
        "1 answer missing in their context, scored against but not learned",
        "1 row without a question left out",
    ]


def test_an_encoder_learns_the_first_answer_that_is_in_the_context(tmp_path: Path, bases: dict[str, Any]) -> None:
    task, found = read("question_answering", tmp_path, MISPLACED, repair_questions=True)
    (encoded,) = task.on("encoder").encode(found[1:], bases["roberta"].word_tokenizer, 64, learning=True)
    offsets, _ = encoded.detail
    begin, end = (offsets[at] for at in encoded.targets)
    assert found[1].inputs["context"][begin[0] : end[1]] == "曹雪芹"


def test_questions_without_an_answer_are_read_where_that_was_said(tmp_path: Path) -> None:
    rows = [{"question": "Who?", "context": CONTEXT, "answers": []}, *ROWS["question_answering"]]
    task, examples = read("question_answering", tmp_path, rows, version_2_with_negative=True)
    assert [example.gold for example in examples] == [[], ["Ada", "Ada"], ["Oslo"]]
    form = AnswerForm(format="text")
    assert task.write_answer(examples[0], form) == "no answer"
    assert task.read_answer(examples[0], " No answer.", form).value == ""
    named = AnswerForm(format="text", verbalizer={"none": ("unknown",)})
    assert task.write_answer(examples[0], named) == "unknown"
    assert [task.read_answer(examples[0], said, named).value for said in ("Unknown", "no answer")] == ["", "no answer"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"source_lang": None}, "--source_lang: translation needs both languages"),
        ({"target_lang": None}, "--target_lang: translation needs both languages"),
        ({"target_lang": "en"}, "--target_lang en: is the --source_lang, too"),
        ({"max_new_tokens": 0}, "--max_new_tokens 0: must be at least 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read("translation", tmp_path, ROWS["translation"], **given)


def test_no_data_is_named_by_default(tmp_path: Path) -> None:
    for name in NAMES:
        with pytest.raises(SettingsError, match="Give --dataset_name, or --train_file"):
            examples.read_splits(name, settings_of(name))


# what a model learns and reads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_card_makes_the_task_again(name: str) -> None:
    task = made(name, max_new_tokens=17, source_prefix="x: ")
    again = load_task(name).from_card(json.loads(json.dumps(task.card())))
    assert again.card() == task.card() and again.card()["max_new_tokens"] == 17


@pytest.mark.parametrize("on", ["gpt2", "llama"])
@pytest.mark.parametrize("name", NAMES)
def test_a_causal_model_learns_the_answer_behind_the_input_it_will_be_given(
    tmp_path: Path, bases: dict[str, Any], name: str, on: str
) -> None:
    task, examples = read(name, tmp_path, ROWS[name], max_new_tokens=20)
    tokenizer = bases[on].word_tokenizer
    learnt = task.encode(examples, tokenizer, 100, learning=True)
    asked = task.encode(examples, tokenizer, 100)
    for example, whole, question in zip(examples, learnt, asked, strict=True):
        assert len(whole.input_ids) == len(whole.targets)
        assert whole.input_ids[: len(question.input_ids)] == question.input_ids
        begin = len(question.input_ids) - 1
        assert set(whole.targets[:begin]) <= {IGNORED}
        assert whole.targets[begin:-1] == whole.input_ids[begin + 1 :]
        assert whole.targets[-1] == tokenizer.hf_tokenizer.eos_token_id
        assert tokenizer.hf_tokenizer.decode(whole.targets[begin:-1]).strip() == example.gold[0]
        assert (
            not whole.detail and example.gold[0] not in tokenizer.hf_tokenizer.decode(question.input_ids).split(":")[-1]
        )


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_decoder_writes_the_answer_with_its_end(tmp_path: Path, bases: dict[str, Any], name: str) -> None:
    task, examples = read(name, tmp_path, ROWS[name])
    tokenizer = bases["t5"].word_tokenizer.hf_tokenizer
    for example, row in zip(
        examples, task.encode(examples, bases["t5"].word_tokenizer, 100, learning=True), strict=True
    ):
        assert row.targets == tokenizer(example.gold[0]).input_ids and row.targets[-1] == tokenizer.eos_token_id
        assert row.input_ids[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("on", ["gpt2", "t5"])
@pytest.mark.parametrize("name", NAMES)
def test_a_long_input_is_cut_in_its_text_alone_and_counted(bases: dict[str, Any], name: str, on: str) -> None:
    task, tokenizer = made(name, max_new_tokens=16), bases[on].word_tokenizer
    long = (
        {"text": "in old " * 500} if name != "question_answering" else {"question": "Who ?", "context": "in old " * 500}
    )
    short = {key: value.replace("in old " * 500, "in old") for key, value in long.items()}
    rows = task.encode([Example(id="0", inputs=long), Example(id="1", inputs=short)], tokenizer, 80)
    assert [row.detail for row in rows] == [True, False]
    assert len(rows[0].input_ids) == (80 - 16 if tokenizer.causal else 80)
    texts = [tokenizer.hf_tokenizer.decode(row.input_ids) for row in rows]
    before, behind = texts[1].split("in old")
    assert texts[0].startswith(before + "in old in old") and texts[0].endswith(behind)
    answers = [np.array([], np.int64)] * 2
    assert [p.truncated for p in task.decode([Example(id="", inputs={})] * 2, rows, answers, tokenizer)] == [
        True,
        False,
    ]


def test_a_question_that_fills_the_room_alone_is_cut_and_counted(bases: dict[str, Any]) -> None:
    task, tokenizer = made("question_answering", max_new_tokens=16), bases["gpt2"].word_tokenizer
    (row,) = task.encode([Example(id="", inputs={"question": "who " * 900, "context": "in Oslo"})], tokenizer, 80)
    assert row.detail and len(row.input_ids) == 64
    assert tokenizer.hf_tokenizer.decode(row.input_ids).endswith("Answer:")


def test_a_long_answer_is_learnt_without_an_end(bases: dict[str, Any]) -> None:
    task = made("summarization", max_new_tokens=8)
    example = Example(id="", inputs={"text": "Ada"}, gold=["lived " * 50])
    for name in ("gpt2", "t5"):
        tokenizer = bases[name].word_tokenizer.hf_tokenizer
        (row,) = task.encode([example], bases[name].word_tokenizer, 60, learning=True)
        targets = [token for token in row.targets if token != IGNORED]
        assert len(targets) == 8 and tokenizer.eos_token_id not in targets


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_answers_that_are_cut_in_training_are_counted_with_the_length_that_fits(
    bases: dict[str, Any], name: str
) -> None:
    tokenizer = bases[name].word_tokenizer
    golds = ["a", "lived " * 20, "lived " * 30]
    train = [Example(id=str(i), inputs={"text": "Ada"}, gold=[gold]) for i, gold in enumerate(golds)]
    (said,) = made("summarization", max_new_tokens=8).cautions(train, tokenizer)
    found = re.fullmatch(
        r"2 of the first 3 answers are longer than --max_new_tokens 8, so that the model learns neither their rest "
        r"nor where they end: --max_new_tokens (\d+) would fit all of them",
        said,
    )
    assert found is not None
    fits = int(found[1])
    assert fits > 20
    assert made("summarization", max_new_tokens=fits).cautions(train, tokenizer) == []
    (said,) = made("summarization", max_new_tokens=fits - 1).cautions(train, tokenizer)
    assert said.startswith("1 of the first 3 answers is longer")


def test_a_prefix_of_the_users_stands_in_front(bases: dict[str, Any]) -> None:
    task = made("summarization", source_prefix="summarize: ")
    (row,) = task.encode([Example(id="", inputs={"text": "Ada"})], bases["t5"].word_tokenizer, 60)
    assert bases["t5"].word_tokenizer.hf_tokenizer.decode(row.input_ids).startswith("summarize: Text")


def test_no_room_for_an_input_is_refused(bases: dict[str, Any]) -> None:
    task, example = made("summarization", max_new_tokens=60), Example(id="", inputs={"text": "Ada"})
    with pytest.raises(SettingsError, match=f"--max_new_tokens 60: of {59 + LEAST_ROOM} tokens"):
        task.encode([example], bases["gpt2"].word_tokenizer, 59 + LEAST_ROOM)
    assert task.encode([example], bases["gpt2"].word_tokenizer, 60 + LEAST_ROOM)


HOSTILE = ["\0", "\ud800", "{{text}} {0} $x %s {% x %}", "<|endoftext|></s>[MASK]", "\u202e" * 50]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_read_cut_and_answered(bases: dict[str, Any], text: str) -> None:
    for name in NAMES:
        inputs = dict.fromkeys(made(name).columns, text)
        for on in ("gpt2", "t5", "roberta"):
            task, base = made(name).on(bases[on].kind), bases[on]
            if base.kind in task.kinds and (on != "roberta" or name == "question_answering"):
                rows = task.encode(
                    [Example(id="", inputs=inputs, gold=[text])], base.word_tokenizer, 100, learning=True
                )
                assert rows and all(0 < len(row.input_ids) <= 100 for row in rows)


@pytest.mark.slow
def test_a_text_of_a_megabyte_is_cut_or_read_in_windows(bases: dict[str, Any]) -> None:
    text = "a" * 1_000_000
    (row,) = made("summarization").encode([Example(id="", inputs={"text": text})], bases["gpt2"].word_tokenizer, 100)
    assert row.detail and len(row.input_ids) == 36
    task = made("question_answering").on(bases["roberta"].kind)
    rows = task.encode(
        [Example(id="", inputs={"question": "Who?", "context": text})], bases["roberta"].word_tokenizer, 100
    )
    assert {i for row in rows for place in row.detail[0] if place for i in range(*place)} == set(range(1_000_000))


def test_special_tokens_in_data_are_text(bases: dict[str, Any]) -> None:
    example = Example(id="", inputs={"text": "Ada <|endoftext|> left"}, gold=["<|endoftext|> </s>"])
    tokenizer = bases["gpt2"].word_tokenizer.hf_tokenizer
    (row,) = made("summarization").encode([example], bases["gpt2"].word_tokenizer, 120, learning=True)
    targets = [token for token in row.targets if token != IGNORED]
    assert targets.count(tokenizer.eos_token_id) == 1 and targets[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in row.input_ids


def test_special_tokens_in_data_are_text_to_a_unigram_model_too(bases: dict[str, Any]) -> None:
    example = Example(id="", inputs={"text": "Ada </s> left"}, gold=["Ada </s>"])
    end = bases["t5"].word_tokenizer.hf_tokenizer.eos_token_id
    (row,) = made("summarization").encode([example], bases["t5"].word_tokenizer, 120, learning=True)
    for ids in (row.input_ids, row.targets):
        assert ids.count(end) == 1 and ids[-1] == end, "the one that ends the text"


# what is asked of a prompted model ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [path for name, path in sorted(template.paths().items()) if name.startswith(NAMES)],
    ids=lambda path: path.stem,
)
def test_prompts_are_filled_verbatim_and_shots_show_the_answer_where_it_is_written(path: Path) -> None:
    task = next(made(name) for name in NAMES if path.stem.startswith(name))
    prompt = template.read(path, task)
    values = {column: f"{{{{{column}}}}} $1 <{column}>" for column in task.columns}
    example = Example(id="", inputs=values, gold=["One\n\n two.", "Other"])
    question, shot = prompt.question(task, example), prompt.demonstration(task, example)
    assert all(value in question for value in values.values())
    assert question[-1] in ":：\n"  # a word's blank is a part of its first token
    assert shot == f"{question}{' ' * (question[-1] == ':')}One two.{prompt.separator}"
    assert "{{" not in prompt.instruction_text(task)
    if task.name == "translation":
        assert prompt.form.verbalizer.get("de", ("German",))[0] in question + prompt.instruction_text(task)
    assert task.read_answer(example, " One two. ", prompt.form).value == "One two."
    assert task.read_answer(example, " \n", prompt.form).parse_failure


def test_a_prompt_names_languages_by_its_own_words(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'task = "translation"\nanswer = "text"\nquery = "{{text}} auf {{target_lang}}:"\n[verbalizer]\nde = "Deutsch"\n'
    )
    task = made("translation")
    asked = template.read(path, task).question(task, Example(id="", inputs={"text": "hat"}))
    assert asked == "hat auf Deutsch:"
    unknown = load("tasks", "translation").Task(source_lang="en", target_lang="tlh")
    assert template.read(path, unknown).question(unknown, Example(id="", inputs={"text": "hat"})) == "hat auf tlh:"


def test_names_that_nothing_asks_for_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('task = "summarization"\nanswer = "text"\nquery = "{{text}}:"\n[verbalizer]\nnone = "x"\n')
    with pytest.raises(SettingsError, match=r"\[verbalizer\]: summarization has no 'none'"):
        template.read(path, made("summarization"))


@pytest.mark.parametrize("name", NAMES)
def test_a_request_has_exactly_the_columns(name: str) -> None:
    task = made(name)
    inputs = dict.fromkeys(task.columns, "Ada")
    assert task.from_request(inputs, "7").inputs == inputs
    for wrong in ({**inputs, "more": "x"}, {}, dict.fromkeys(inputs, " "), dict.fromkeys(inputs, 3)):
        with pytest.raises(DataError, match=f"{name} takes"):
            task.from_request(wrong, "7")
    prediction = task.read_answer(Example(id="", inputs=inputs), " Oslo", AnswerForm(format="text"))
    assert task.output(Example(id="", inputs=inputs), prediction) == {**inputs, task.written: "Oslo"}
