"""Named entities: splits read and checked, examples encoded and answers read back, nothing shifted."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.core.errors import DataError
from adapters.data.dataset_files import open_file, open_splits
from adapters.data.labels import LabelSet
from adapters.data.tag_schemes import spans, tag_labels, tags_of
from adapters.models.tokenizer import IGNORED, WordTokenizer
from adapters.models.word_parts import WordParts
from adapters.tasks.base.example import Encoded, Example, Examples, Prediction
from adapters.tasks.base.task import load_task
from adapters.tasks.ner import Settings, Task

LABELS = tag_labels(["LOC", "PER"])


def read(folder: Path, **changes: Any) -> tuple[Task, dict[str, Examples]]:
    return Task.read_to_learn(open_splits(folder=folder), replace(Settings(), **changes))


def conll(path: Path, text: str) -> Path:
    """Words and tags as `Ada/B-PER lived/O`, a line a sentence."""
    blocks = ["\n".join(word.replace("/", "\t") for word in line.split()) for line in text.strip().split("\n")]
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return path


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# reading --------------------------------------------------------------------------------------------------------------


def test_splits_are_read_with_labels_of_train(tagged: Path) -> None:
    task, splits = read(tagged)
    assert task.labels.names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert {name: len(split) for name, split in splits.items()} == {"train": 120, "validation": 30, "test": 30}
    source = open_file(tagged / "test.conll")
    row = list(source.rows(None))[29]  # type: ignore[arg-type]
    example = splits["test"][29]
    assert (example.inputs, example.gold) == ({"tokens": row.values["tokens"]}, row.values["tags"])
    assert (example.id, example.where) == ("29", f"{tagged}/test.conll:{row.line}")
    notes = splits["test"].notes
    assert notes["source"] == str(tagged / "test.conll") and notes["digest"] == source.digest()
    assert (notes["tag_scheme"], notes["repaired_tags"]) == ("iob2", 0)


def test_a_split_can_be_sliced_and_selected_without_being_read_whole(tagged: Path) -> None:
    split = read(tagged)[1]["train"]
    assert [example.id for example in split[-2:]] == ["118", "119"]
    assert split[-1] == split[119] == list(split)[119]
    chosen = split.select([5, 3], "few", why="a test")
    assert [example.id for example in chosen] == ["5", "3"]
    assert (chosen.name, chosen.notes["why"], chosen.notes["tag_scheme"]) == ("few", "a test", "iob2")
    assert "why" not in split.notes


def test_the_scheme_of_train_holds_for_all_splits(tmp_path: Path) -> None:
    conll(tmp_path / "train.conll", "a/I-X b/B-X")  # IOB1
    conll(tmp_path / "test.conll", "c/B-X d/I-X e/B-X")  # alone, this would be IOB2
    _, splits = read(tmp_path)
    assert splits["train"][0].gold == ["B-X", "B-X"]
    assert splits["test"][0].gold == ["B-X", "I-X", "B-X"]
    assert {split.notes["tag_scheme"] for split in splits.values()} == {"iob1"}


def test_entities_of_a_text_are_the_same_examples_as_tags_of_its_words(tmp_path: Path) -> None:
    for name, rows in {
        "tags": [{"tokens": ["Ada", "saw", "New", "York"], "tags": ["B-PER", "O", "B-LOC", "I-LOC"]}],
        "spans": [{"text": "Ada saw New York", "entities": [[0, 3, "PER"], [8, 16, "LOC"]]}],
    }.items():
        (tmp_path / name).mkdir()
        jsonl(tmp_path / name / "train.jsonl", *rows)
    (first, tags), (second, marked) = read(tmp_path / "tags"), read(tmp_path / "spans")
    assert first.labels == second.labels
    a, b = tags["train"][0], marked["train"][0]
    assert (a.inputs["tokens"], a.gold) == (b.inputs["tokens"], b.gold)
    assert "text" not in a.inputs and b.inputs["text"] == "Ada saw New York"
    assert b.inputs["offsets"] == [(0, 3), (4, 7), (8, 11), (12, 16)]


def test_all_faults_of_a_split_are_shown_at_once(tmp_path: Path) -> None:
    lines = "\n".join([*(f"w{i}/X{i}" for i in range(25)), "v/I-Y"])
    path = conll(tmp_path / "train.conll", "a/B-Y\n" + lines)
    with pytest.raises(DataError) as raised:
        read(tmp_path)
    said = str(raised.value).split("\n")
    assert said[:7] == [
        f"{path}: 26 faults:",
        *(f"  {path}:{3 + 2 * i}: word 'w{i}': the tag 'X{i}' is not of the scheme iob2" for i in range(5)),
        "  … and 20 more like this",
    ]
    assert said[7].startswith(f"  {path}:53: word 'v'") and "--label_column_name" in said[8]


def test_a_split_with_faults_is_not_kept_for_the_next_run(tmp_path: Path) -> None:
    conll(tmp_path / "train.conll", "a/B-Y b/X")
    for _ in range(2):
        with pytest.raises(DataError, match="1 fault:"):
            read(tmp_path)


def test_repaired_tags_are_counted_and_refused_without_the_flag(tmp_path: Path) -> None:
    conll(tmp_path / "train.conll", "a/B-Y b/O c/I-Y d/I-Y\ne/I-Y")
    options = {"tag_scheme": "iob2"}
    with pytest.raises(DataError, match="2 faults"):
        read(tmp_path, **options)
    _, splits = read(tmp_path, repair_tags=True, **options)
    assert splits["train"].notes["repaired_tags"] == 2
    assert [example.gold for example in splits["train"]] == [["B-Y", "O", "B-Y", "I-Y"], ["B-Y"]]
    with pytest.raises(DataError, match="2 faults"):  # and what was repaired before is not taken from the cache
        read(tmp_path, **options)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_without_an_entity_is_refused(tmp_path: Path, split: str) -> None:
    conll(tmp_path / "train.conll", "a/O" if split == "train" else "a/B-X")
    conll(tmp_path / "test.conll", "a/B-X" if split == "train" else "a/O")
    message = rf"{split}\.conll: no entity in the whole {split} split, every tag is O\."
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_a_label_that_train_lacks_is_refused_at_each_place(tmp_path: Path) -> None:
    conll(tmp_path / "train.conll", "a/B-X b/B-Y")
    path = conll(tmp_path / "test.conll", "a/B-X\nb/O c/B-Z d/B-Q\ne/B-Z")
    with pytest.raises(DataError) as raised:
        read(tmp_path)
    assert str(raised.value).split("\n") == [
        f"{path} (test), column '1': 3 faults:",
        f"  {path}:3: label 'Q' does not occur in train",
        f"  {path}:3: label 'Z' does not occur in train (2 times: also at 7)",
        "train has X, Y. Correct or remove the label, or add examples of it to train. If another column contains the "
        "labels, name it: --label_column_name.",
    ]


def test_a_file_of_faults_alone_and_a_file_of_no_sentence_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contains no sentence"):
        conll(tmp_path / "train.conll", "-DOCSTART-")
        read(tmp_path)


def test_the_same_file_read_in_another_encoding_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "train.conll"
    path.write_bytes("Łódź\tB-LOC\n\n".encode("cp1250"))
    found = {
        encoding: Task.read(open_splits(folder=tmp_path, encoding=encoding), Settings())[1]["train"][0].inputs
        for encoding in ("latin-1", "cp1250")
    }
    assert found["cp1250"] == {"tokens": ["Łódź"]}
    assert found["latin-1"] != found["cp1250"]


def test_a_row_keeps_its_own_id_and_gets_its_number_where_it_has_none(tmp_path: Path) -> None:
    row = {"tokens": ["a"], "tags": ["B-X"]}
    jsonl(tmp_path / "train.jsonl", {"id": "s1", **row}, {"id": 7, **row}, {"id": None, **row}, row)
    assert [example.id for example in read(tmp_path)[1]["train"]] == ["s1", "7", "2", "3"]


def test_each_setting_reaches_the_reading_and_is_not_answered_from_the_cache(tmp_path: Path) -> None:
    row = {"text": "Take 10mg now", "entities": [{"start": 5, "end": 7, "label": "DOSE"}]}
    jsonl(tmp_path / "train.jsonl", row, {"text": "Ada", "entities": [{"start": 0, "end": 3, "label": "PER"}]})
    with pytest.raises(DataError, match="cuts a word"):
        read(tmp_path)
    assert read(tmp_path, spans="snap")[0].labels.names == ("O", "B-DOSE", "I-DOSE", "B-PER", "I-PER")
    assert read(tmp_path, spans="drop")[0].labels.names == ("O", "B-PER", "I-PER")
    with pytest.raises(DataError, match="outside the text"):
        read(tmp_path, spans="snap", span_ends="inclusive")


@pytest.mark.parametrize(
    "tags, options, expected",
    [
        ([1, 0], {"label_names": ["O", "B-X"]}, ["B-X", "O"]),
        (["B", "O"], {"label_name": "X"}, ["B-X", "O"]),
        (["X-B", "O"], {}, ["B-X", "O"]),
    ],
)
def test_tags_of_other_forms_become_iob2(tmp_path: Path, tags: list[object], options: Any, expected: list[str]) -> None:
    jsonl(tmp_path / "train.jsonl", {"tokens": ["a", "b"], "tags": tags})
    assert read(tmp_path, **options)[1]["train"][0].gold == expected


def test_what_was_changed_is_said_again_when_the_rows_come_from_the_cache(tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl", {"text": "Ada met", "entities": [[0, 4, "PER"], [3, 7, "ACT"]]})
    for _ in range(2):
        reading = read(tmp_path)[1]["train"].notes["reading"]
        assert reading["notes"] == ["2 spans with blanks at an end, trimmed"]


def test_a_table_of_words_is_read_by_the_column_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("part,word,tag\n1,Ada,B-X\n1,met,O\n2,Bob,B-X\n")
    with pytest.raises(DataError, match="--sentence_column_name"):
        read(tmp_path)
    split = read(tmp_path, sentence_column_name=["part"])[1]["train"]
    assert [example.inputs["tokens"] for example in split] == [["Ada", "met"], ["Bob"]]
    assert split.notes["reading"]["format"] == "csv, a word in each row"
    assert split.notes["reading"]["columns"] == {"sentence": ["part"], "text": ["word"], "label": ["tag"]}
    assert [example.where for example in split] == [f"{tmp_path}/train.csv:2", f"{tmp_path}/train.csv:4"]


def test_equal_inputs_have_equal_digests_whatever_their_id(tmp_path: Path) -> None:
    a = Example(id="1", inputs={"tokens": ["a", "b"]}, gold=["O", "O"])
    assert a.digest() == Example(id="2", inputs={"tokens": ["a", "b"]}).digest()
    assert a.digest() != Example(id="1", inputs={"tokens": ["a b"]}).digest()
    assert Task(LABELS).from_request({"text": "a \ud800"}, "1").digest()  # half a character has a digest too


# requests and cards ---------------------------------------------------------------------------------------------------


def test_a_request_is_a_text_or_tokens() -> None:
    task = Task(LABELS)
    assert task.from_request({"tokens": ["a", "b."]}, "7") == Example(id="7", inputs={"tokens": ["a", "b."]})
    example = task.from_request({"text": "a b."}, "8")
    assert example.inputs == {"text": "a b.", "tokens": ["a", "b", "."], "offsets": [(0, 1), (2, 3), (3, 4)]}
    assert example.gold is None


@pytest.mark.parametrize(
    "inputs, shape",
    [
        ({}, "{}"),
        ({"text": 3}, "{'text': int}"),
        ({"tokens": "a b"}, "{'tokens': str}"),
        ({"tokens": ["a", 1]}, "{'tokens': list}"),
        ({"text": "a", "tokens": ["a"]}, "{'text': str, 'tokens': list}"),
        ({"sentence": "a"}, "{'sentence': str}"),
    ],
)
def test_another_request_is_refused_with_what_was_found(inputs: dict[str, Any], shape: str) -> None:
    with pytest.raises(DataError) as raised:
        Task(LABELS).from_request(inputs, "1")
    assert str(raised.value) == f"ner takes {{'text': string}} or {{'tokens': [strings]}}, found {shape}."


def test_the_task_is_made_again_from_its_card() -> None:
    card = json.loads(json.dumps(Task(LABELS).card()))
    assert card == {"name": "ner", "labels": list(LABELS.names), "entity_types": ["LOC", "PER"]}
    again = load_task(card["name"]).from_card(card)
    assert isinstance(again, Task) and again.labels == LABELS
    assert again.config() == {
        "num_labels": 5,
        "id2label": dict(enumerate(LABELS.names)),
        "label2id": LABELS.index,
    }


# encode and decode ----------------------------------------------------------------------------------------------------

words = st.one_of(
    st.sampled_from(["Ada", "U.N.", "Lovelace", "", "\u200b", "New York", "co-op", "東京", "\U0001f600!", "x" * 40]),
    st.text(max_size=5),
)


@pytest.fixture(scope="module")
def tokenizer(tiny_bert: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_bert)


@st.composite
def gold_examples(draw: st.DrawFn) -> list[Example]:
    out = []
    for number in range(draw(st.integers(1, 4))):
        tokens = draw(st.lists(words, max_size=12))
        tags = draw(st.lists(st.sampled_from(LABELS.names), min_size=len(tokens), max_size=len(tokens)))
        valid = tags_of(spans(tags), len(tags))
        out.append(Example(id=str(number), inputs={"tokens": tokens}, gold=valid))
    return out


def perfect(encoded: Encoded) -> np.ndarray:
    """Logits of a model that has learnt the targets, and says nothing sensible elsewhere."""
    noise = np.random.default_rng(len(encoded.input_ids)).normal(scale=30, size=(len(encoded.input_ids), len(LABELS)))
    for position, target in enumerate(encoded.targets):
        if target != IGNORED:
            noise[position] = np.where(np.arange(len(LABELS)) == target, 20.0, -20.0)
    return noise.astype(np.float32)


@pytest.mark.parametrize("labelled", ["first", "last"])
def test_perfect_answers_give_back_the_gold_tags(labelled: str, tokenizer: Any) -> None:
    tokens, task = WordTokenizer(tokenizer, labelled=labelled), Task(LABELS)

    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(gold_examples(), st.integers(3, 40))
    def check(examples: list[Example], budget: int) -> None:
        encoded = task.encode(examples, tokens, budget, learning=True)
        assert all(len(row.input_ids) == len(row.targets) <= budget for row in encoded)
        assert [row.example for row in encoded] == sorted(row.example for row in encoded)
        predictions = task.decode(examples, encoded, [perfect(row) for row in encoded], tokens)
        assert [prediction.value for prediction in predictions] == [example.gold for example in examples]
        assert all(len(p.detail) == len(p.value) and (p.detail > 0.99).all() for p in predictions)
        assert not any(prediction.truncated for prediction in predictions)

    check()


def test_each_part_is_learnt_in_one_window_and_only_its_first_part_begins_an_entity(tokenizer: Any) -> None:
    word_tokenizer, task = WordTokenizer(tokenizer), Task(LABELS)
    tokens = ["U.N.", "in", "New", "York"] * 6
    tags = ["B-LOC", "O", "B-LOC", "I-LOC"] * 6
    example = Example(id="1", inputs={"tokens": tokens}, gold=tags)
    parts = WordParts(word_tokenizer).of_words([tokens])[0]
    for budget in (12, 20, 200):
        learnt = [
            t
            for row in task.encode([example], word_tokenizer, budget, learning=True)
            for t in row.targets
            if t != IGNORED
        ]
        expected = [tags[part.word] if part.first_of_word else tags[part.word].replace("B-", "I-") for part in parts]
        assert [LABELS.names[target] for target in learnt] == expected


def test_gold_answers_reach_the_targets_alone_and_only_in_learning(tokenizer: Any) -> None:
    tokens, task = WordTokenizer(tokenizer), Task(LABELS)
    known = Example(id="1", inputs={"tokens": ["Ada", "lived", "."] * 9}, gold=["B-PER", "O", "O"] * 9)
    asked = replace(known, gold=None)
    with_gold, without = (task.encode([example], tokens, 16, learning=True) for example in (known, asked))
    assert task.encode([known], tokens, 16) == task.encode([asked], tokens, 16) == without
    assert len(with_gold) > 1
    assert [(r.input_ids, r.detail) for r in with_gold] == [(r.input_ids, r.detail) for r in without]
    assert {target for row in without for target in row.targets} == {IGNORED}


def test_the_loss_is_summed_over_labelled_positions_alone() -> None:
    import torch

    task = Task(LABELS)
    logits = torch.randn(2, 3, 5, dtype=torch.bfloat16)
    targets = torch.tensor([[1, IGNORED, 4], [IGNORED, IGNORED, 0]])
    total, count = task.loss(logits, targets)
    log_probs = torch.log_softmax(logits.float(), -1)
    expected = -(log_probs[0, 0, 1] + log_probs[0, 2, 4] + log_probs[1, 2, 0])
    assert count.item() == 3 and total.dtype == torch.float32
    torch.testing.assert_close(total, expected)


# output ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=25) | st.lists(st.sampled_from(["Ada", "U.N.", " ", "\u200b", "é"])).map("".join), st.data())
def test_offsets_of_an_output_cut_the_text_exactly(text: str, data: st.DataObject) -> None:
    task = Task(LABELS)
    example = task.from_request({"text": text}, "1")
    tokens = example.inputs["tokens"]
    drawn = data.draw(st.lists(st.sampled_from(LABELS.names), min_size=len(tokens), max_size=len(tokens)))
    tags = tags_of(spans(drawn), len(drawn))
    output = task.output(example, Prediction(value=tags, detail=np.full(len(tags), 0.5)))
    assert json.loads(json.dumps(output)) == output
    assert (output["text"], output["tokens"], output["tags"]) == (text, tokens, tags)
    for entity, (kind, begin, end) in zip(output["entities"], spans(tags), strict=True):
        assert (entity["label"], entity["words"], entity["score"]) == (kind, [begin, end], 0.5)
        assert text[entity["start"] : entity["end"]] == entity["text"]
        assert entity["text"].startswith(tokens[begin]) and entity["text"].endswith(tokens[end - 1])


def test_the_output_of_tokens_cuts_their_join() -> None:
    example = Task(LABELS).from_request({"tokens": ["", "New", "York", "!"]}, "1")
    output = Task(LABELS).output(example, Prediction(value=["O", "B-LOC", "I-LOC", "O"]))
    assert output["text"] == " New York !"
    assert output["entities"] == [{"label": "LOC", "text": "New York", "start": 1, "end": 9, "words": [1, 3]}]


def test_a_text_without_words_has_an_answer(tokenizer: Any) -> None:
    tokens, task = WordTokenizer(tokenizer), Task(LABELS)
    examples = [task.from_request({"text": text}, "1") for text in ("", " \u200b ")]
    assert task.encode(examples, tokens, 8) == []
    predictions = task.decode(examples, [], [], tokens)
    assert [task.output(e, p)["entities"] for e, p in zip(examples, predictions, strict=True)] == [[], []]


def test_the_ner_task_is_the_one_that_its_name_loads() -> None:
    assert load_task("ner") is Task


# words of a text, and heads that others trained ----------------------------------------------------------------------


def certain(labels: list[str], chosen: list[str]) -> np.ndarray:
    """Logits `[tokens, labels]` that are sure of one label at each token."""
    return np.array([[9.0 if label == one else 0.0 for label in labels] for one in chosen])


def decoded(labels: list[str], text: str, chosen: list[str], tokenizer: Any) -> dict[str, Any]:
    """The output for a text whose words have one token each, from a head that is sure of a label at each."""
    task = Task(LabelSet(tuple(labels)))
    example = task.from_request({"text": text}, "1")
    (row,) = task.encode([example], WordTokenizer(tokenizer), 60)
    answer = np.zeros((len(row.input_ids), len(labels)))
    assert len(row.detail) == len(chosen)
    for (position, _, _), logits in zip(row.detail, certain(labels, chosen), strict=True):
        answer[position] = logits
    (prediction,) = task.decode([example], [row], [answer], WordTokenizer(tokenizer))
    return task.output(example, prediction)


BIOES = ["O", "B-PER", "I-PER", "E-PER", "S-PER"]


@pytest.mark.parametrize(
    ("labels", "chosen", "tags", "found"),
    [
        (["O", "I-PER", "I-LOC"], ["I-PER", "O", "I-LOC"], ["B-PER", "O", "B-LOC"], ["Ada", "London"]),
        (BIOES, ["B-PER", "E-PER", "S-PER"], ["B-PER", "I-PER", "B-PER"], ["Ada in", "London"]),
        (["O", "B-X", "M-X", "E-X", "S-X"], ["B-X", "M-X", "E-X"], ["B-X", "I-X", "I-X"], ["Ada in London"]),
        (["O", "PER", "LOC"], ["PER", "PER", "LOC"], ["B-PER", "I-PER", "B-LOC"], ["Ada in", "London"]),
        (["NOUN", "ADP"], ["NOUN", "ADP", "NOUN"], ["NOUN", "ADP", "NOUN"], []),
    ],
)
def test_a_head_of_any_scheme_gives_iob2_tags_and_plain_labels_stay(
    labels: list[str], chosen: list[str], tags: list[str], found: list[str], tokenizer: Any
) -> None:
    output = decoded(labels, "Ada in London", chosen, tokenizer)
    assert output["tags"] == tags
    assert [entity["text"] for entity in output["entities"]] == found


class OneToken:
    """A tokenizer whose every run of letters and punctuation is one token, as byte-level ones make of `").`."""

    unk_token_id, eos_token_id, pad_token_id, all_special_ids, all_special_tokens = 0, 0, 0, (), ()
    added_tokens_decoder: ClassVar[dict[int, Any]] = {}

    def __call__(self, given: Any, **options: Any) -> Any:
        from types import SimpleNamespace

        if isinstance(given, str) or options.get("is_split_into_words"):
            return SimpleNamespace(input_ids=[1] if isinstance(given, str) else [1] * len(given))
        cut = [[match.span() for match in re.finditer(r"\S+", text)] for text in given]
        return SimpleNamespace(input_ids=[[2] * len(one) for one in cut], offset_mapping=cut)

    def convert_ids_to_tokens(self, token: int) -> str:
        return "a"


def test_a_word_within_the_token_of_another_continues_its_entity() -> None:
    labels = ["O", "B-LOC", "I-LOC"]
    output = decoded(labels, "in New.York .", ["O", "B-LOC", "B-LOC", "B-LOC", "O"], OneToken())
    assert output["tokens"] == ["in", "New", ".", "York", "."]
    assert output["tags"] == ["O", "B-LOC", "I-LOC", "I-LOC", "O"]
    assert [entity["text"] for entity in output["entities"]] == ["New.York"]


def test_what_a_token_of_two_words_leaves_no_room_for_is_said() -> None:
    task = Task(LABELS)
    inputs = task.from_request({"text": "in New.York ."}, "1").inputs
    fits = Example(id="1", inputs=inputs, gold=["O", "B-LOC", "I-LOC", "I-LOC", "O"])
    lost = replace(fits, gold=["O", "O", "O", "B-LOC", "O"])
    own = WordTokenizer(OneToken())  # type: ignore[arg-type]
    assert task.cautions([fits], own) == []
    (caution,) = task.cautions([fits, lost], own)
    assert caution.startswith("1 of the 10 words of the first examples lie within a token") and "(York)" in caution
