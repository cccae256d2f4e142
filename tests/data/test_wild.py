"""Files in the shapes in which people have them: each kind is read right, or refused in words that help.

The files are made here, from five sentences with entities, six labelled texts, and six questions. What `taskswap data`
reads of them must be exactly what they were made of. The kinds are those of ../shared/data/wild/want.json.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED_DATA

from adapters.cli import main

WORDS = [
    ["Ines", "Okafor", "runs", "a", "press", "in", "Bergen", "."],
    ["The", "Delta", "Bank", "hired", "Ines", "Okafor", "."],
    ["It", "rained", "on", "Sunday", "."],
    ["Ravi", "of", "Nord", "Rail", "left", "Kampala", "."],
    ["Bergen", "and", "Kampala", "agreed", "."],
]
ENTITIES: list[list[tuple[str, int, int]]] = [
    [("PER", 0, 2), ("LOC", 6, 7)],
    [("ORG", 1, 3), ("PER", 4, 6)],
    [],
    [("PER", 0, 1), ("ORG", 2, 4), ("LOC", 5, 6)],
    [("LOC", 0, 1), ("LOC", 2, 3)],
]
TYPES = ["LOC", "ORG", "PER"]
TEXTS = [
    ("the zip broke after one walk", "bad"),
    ("warm and light, worth it", "good"),
    ("does what it should", "ok"),
    ("the sole came off in the rain", "bad"),
    ("fits well, fast delivery", "good"),
    ("not great, not poor", "ok"),
]
OTHER = ["it is new", "it is blue", "it was sold", "it is old", "it is big", "it is here"]


@dataclass(frozen=True)
class Want:
    """What is right: what a run reads, or in which words it refuses."""

    task: str
    flags: tuple[str, ...] = ()
    examples: int | None = None
    labels: list[str] | None = None
    golds: list[Any] | None = None
    columns: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    splits: dict[str, int] = field(default_factory=dict)


Maker = Callable[[Path], tuple[Path, Want]]
KINDS: dict[str, Maker] = {}


def kind(make: Maker) -> Maker:
    """Register a kind of file under its function's name."""
    KINDS[make.__name__.replace("_", " ").strip()] = make
    return make


def iob2(number: int, form: str = "{p}-{t}") -> list[str]:
    """The tags of a sentence, in a spelling."""
    tags = ["O"] * len(WORDS[number])
    for label, begin, end in ENTITIES[number]:
        for at in range(begin, end):
            tags[at] = form.format(p="B" if at == begin else "I", t=label)
    return tags


def spans(number: int) -> list[tuple[int, int, str]]:
    """Character offsets of the entities in the words joined by spaces."""
    starts = [len(" ".join([*WORDS[number][:at], ""])) for at in range(len(WORDS[number]))]
    return [
        (starts[begin], starts[end - 1] + len(WORDS[number][end - 1]), label) for label, begin, end in ENTITIES[number]
    ]


def sentence(number: int) -> str:
    return " ".join(WORDS[number])


def gold(number: int) -> list[dict[str, Any]]:
    return [
        {"start": start, "end": end, "label": label, "text": sentence(number)[start:end]}
        for start, end, label in spans(number)
    ]


NER = Want("ner", examples=5, labels=TYPES, golds=[gold(number) for number in range(5)])
CLASSES = Want("classification", examples=6, labels=["bad", "good", "ok"], golds=[label for _, label in TEXTS])


def but(want: Want, **changes: Any) -> Want:
    return Want(**{**vars(want), **changes})


def columns_file(
    path: Path, line: Callable[[int, int, str, str], str], *, before: Callable[[int], str] = lambda n: ""
) -> Path:
    """Lines of (sentence, position, word, tag), a blank line after each sentence."""
    blocks = []
    for number, words in enumerate(WORDS):
        rows = (line(number, at, word, tag) for at, (word, tag) in enumerate(zip(words, iob2(number), strict=True)))
        blocks.append(before(number) + "".join(row + "\n" for row in rows))
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def table(path: Path, rows: list[list[Any]], *, delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return path


def json_lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def document(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def words_in_rows(*, blanks: bool) -> Iterator[list[Any]]:
    """Rows of a sentence's name, a word, its part of speech, and its tag."""
    for number, words in enumerate(WORDS):
        for at, (word, tag) in enumerate(zip(words, iob2(number), strict=True)):
            name = f"Sentence: {number + 1}" if at == 0 or not blanks else ""
            yield [name, word, "NN", tag]


@kind
def a_word_in_each_row_with_blanks_that_continue(folder: Path) -> tuple[Path, Want]:
    rows = [["Sentence #", "Word", "POS", "Tag"], *words_in_rows(blanks=True)]
    return table(folder / "a.csv", rows), but(NER, unused=("POS",), columns=("Word", "Tag"))


@kind
def a_word_in_each_row_with_the_number_of_its_sentence(folder: Path) -> tuple[Path, Want]:
    rows = [
        [str(number), word, tag] for number in range(5) for word, tag in zip(WORDS[number], iob2(number), strict=True)
    ]
    return table(folder / "a.csv", [["sentence_id", "words", "labels"], *rows]), NER


@kind
def a_word_in_each_row_in_another_order_with_semicolons(folder: Path) -> tuple[Path, Want]:
    rows = [[tag, word, name] for name, word, _, tag in words_in_rows(blanks=False)]
    return table(folder / "a.csv", [["ner_tags", "token", "sent_id"], *rows], delimiter=";"), NER


@kind
def a_word_in_each_row_without_sentences(folder: Path) -> tuple[Path, Want]:
    rows = [[word, tag] for _, word, _, tag in words_in_rows(blanks=False)]
    return table(folder / "a.csv", [["word", "tag"], *rows]), Want("ner", refused=("sentence",))


@kind
def a_column_file_under_a_tables_extension(folder: Path) -> tuple[Path, Want]:
    return columns_file(folder / "a.tsv", lambda n, at, word, tag: f"{word}\t{tag}"), NER


@kind
def a_column_file_in_csv_with_commas(folder: Path) -> tuple[Path, Want]:
    return columns_file(folder / "a.txt", lambda n, at, word, tag: f"{word} {tag}"), NER


@kind
def a_column_of_indices_from_zero(folder: Path) -> tuple[Path, Want]:
    return columns_file(folder / "a.conll", lambda n, at, word, tag: f"{at}\t{word}\t{tag}"), NER


@kind
def universal_columns_with_metadata(folder: Path) -> tuple[Path, Want]:
    path = columns_file(
        folder / "a.iob2",
        lambda n, at, word, tag: f"{at + 1}\t{word}\t{tag}\t-\tann{n}",
        before=lambda n: f"# sent_id = {n}\n# text = {sentence(n)}\n",
    )
    return path, NER


@kind
def two_columns_of_tags_after_comments_with_tabs(folder: Path) -> tuple[Path, Want]:
    path = columns_file(
        folder / "a.tsv",
        lambda n, at, word, tag: f"{at + 1}\t{word}\t{tag}\tO",
        before=lambda n: f"#\thttp://example.org/{n} [2021]\n",
    )
    return path, but(NER, unused=("3",))


@kind
def comments_of_two_hashes(folder: Path) -> tuple[Path, Want]:
    path = columns_file(
        folder / "a.tsv", lambda n, at, word, tag: f"{word}\t{tag}", before=lambda n: f"## doc-{n}\t<text>\n"
    )
    return path, NER


@kind
def begin_document_and_end_document(folder: Path) -> tuple[Path, Want]:
    path = columns_file(
        folder / "a.conll",
        lambda n, at, word, tag: f"{word}\t{tag}",
        before=lambda n: f"#begin document (doc{n}); part 000\n",
    )
    return path, NER


@kind
def doccano_with_relations(folder: Path) -> tuple[Path, Want]:
    rows = [
        {
            "id": n,
            "text": sentence(n),
            "entities": [{"id": 1, "start_offset": s, "end_offset": e, "label": label} for s, e, label in spans(n)],
            "relations": [],
            "Comments": [],
        }
        for n in range(5)
    ]
    return json_lines(folder / "a.jsonl", rows), but(NER, unused=("relations", "Comments"))


@kind
def doccano_with_label_lists(folder: Path) -> tuple[Path, Want]:
    return json_lines(folder / "a.jsonl", [{"id": n, "text": sentence(n), "label": spans(n)} for n in range(5)]), NER


@kind
def doccano_classes(folder: Path) -> tuple[Path, Want]:
    rows = [{"id": n, "text": text, "label": [label]} for n, (text, label) in enumerate(TEXTS)]
    return json_lines(folder / "a.jsonl", rows), CLASSES


@kind
def label_studio_min(folder: Path) -> tuple[Path, Want]:
    rows = [
        {
            "id": n,
            "text": sentence(n),
            "label": [{"start": s, "end": e, "text": sentence(n)[s:e], "labels": [label]} for s, e, label in spans(n)],
            "annotator": 1,
        }
        for n in range(5)
    ]
    return document(folder / "a.json", rows), NER


@kind
def label_studio_full(folder: Path) -> tuple[Path, Want]:
    rows = [
        {
            "id": n,
            "annotations": [
                {
                    "id": n,
                    "was_cancelled": False,
                    "result": [
                        {
                            "type": "labels",
                            "from_name": "label",
                            "to_name": "text",
                            "value": {"start": s, "end": e, "text": sentence(n)[s:e], "labels": [label]},
                        }
                        for s, e, label in spans(n)
                    ],
                }
            ],
            "data": {"text": sentence(n)},
        }
        for n in range(5)
    ]
    return document(folder / "a.json", rows), NER


@kind
def label_studio_full_with_choices(folder: Path) -> tuple[Path, Want]:
    def result(name: str, choice: str) -> dict[str, Any]:
        return {"type": "choices", "from_name": name, "to_name": "text", "value": {"choices": [choice]}}

    rows = [
        {"id": n, "annotations": [{"id": n, "result": [result("mood", y)]}], "data": {"text": t, "url": "x"}}
        for n, (t, y) in enumerate(TEXTS)
    ]
    return document(folder / "a.json", rows), CLASSES


@kind
def label_studio_in_csv(folder: Path) -> tuple[Path, Want]:
    cells = [
        json.dumps([{"start": s, "end": e, "text": sentence(n)[s:e], "labels": [label]} for s, e, label in spans(n)])
        for n in range(5)
    ]
    rows = [["id", "text", "label", "annotator"], *([n, sentence(n), cells[n], 1] for n in range(5))]
    return table(folder / "a.csv", rows), NER


@kind
def prodigy(folder: Path) -> tuple[Path, Want]:
    answers = ["accept", "reject", "accept", "ignore", "accept"]
    rows: list[dict[str, Any]] = []
    for n, answer in enumerate(answers):
        row: dict[str, Any] = {"text": sentence(n), "answer": answer}
        if spans(n):
            row["spans"] = [{"start": s, "end": e, "label": label} for s, e, label in spans(n)]
        rows.append(row)
    kept = [gold(n) for n in (0, 2, 4)]
    want = but(NER, examples=3, labels=["LOC", "PER"], golds=kept, noted=("reject", "ignore"))
    return json_lines(folder / "a.jsonl", rows), want


@kind
def spacy_tuples(folder: Path) -> tuple[Path, Want]:
    return document(folder / "a.json", [[sentence(n), {"entities": spans(n)}] for n in range(5)]), NER


@kind
def spacy_documents(folder: Path) -> tuple[Path, Want]:
    rows = [
        {"text": sentence(n), "ents": [{"start": s, "end": e, "label": label} for s, e, label in spans(n)]}
        for n in range(5)
    ]
    return json_lines(folder / "a.jsonl", rows), NER


@kind
def blanks_at_the_ends_of_spans(folder: Path) -> tuple[Path, Want]:
    rows = [{"text": sentence(n) + " ", "label": [[s, e + 1, label] for s, e, label in spans(n)]} for n in range(5)]
    return json_lines(folder / "a.jsonl", rows), but(NER, noted=("blank",))


HALF = [
    {
        "text": "Give 5ml of Aravex now.",
        "entities": [
            {"start": 5, "end": 6, "label": "DOSE"},
            {"start": 12, "end": 18, "label": "DRUG"},
            {"start": 12, "end": 18, "label": "DRUG"},
        ],
    },
    {"text": "Aravex helps.", "entities": [{"start": 0, "end": 6, "label": "DRUG"}]},
]


@kind
def halves_of_words_without_a_flag(folder: Path) -> tuple[Path, Want]:
    return json_lines(folder / "a.jsonl", HALF), Want("ner", refused=("5ml", "--spans snap", "drop"))


@kind
def halves_of_words_extended(folder: Path) -> tuple[Path, Want]:
    golds = [
        [
            {"start": 5, "end": 8, "label": "DOSE", "text": "5ml"},
            {"start": 12, "end": 18, "label": "DRUG", "text": "Aravex"},
        ],
        [{"start": 0, "end": 6, "label": "DRUG", "text": "Aravex"}],
    ]
    flags = ("--spans", "snap")
    return json_lines(folder / "a.jsonl", HALF), Want("ner", flags, 2, ["DOSE", "DRUG"], golds)


@kind
def halves_of_words_left_out(folder: Path) -> tuple[Path, Want]:
    flags = ("--spans", "drop")
    return json_lines(folder / "a.jsonl", HALF), Want("ner", flags, 2, ["DRUG"], noted=("span",))


INCLUSIVE = [
    {
        "text": sentence(n),
        "entities": [{"start": s, "end": e - 1, "label": t, "text": sentence(n)[s:e]} for s, e, t in spans(n)],
    }
    for n in range(5)
]


@kind
def ends_that_are_inclusive(folder: Path) -> tuple[Path, Want]:
    return json_lines(folder / "a.jsonl", INCLUSIVE), Want("ner", refused=("end", "--span_ends inclusive"))


@kind
def ends_that_are_said_to_be_inclusive(folder: Path) -> tuple[Path, Want]:
    return json_lines(folder / "a.jsonl", INCLUSIVE), but(NER, flags=("--span_ends", "inclusive"))


@kind
def offsets_in_units_of_utf_16(folder: Path) -> tuple[Path, Want]:
    text = "😀 Ines met Ravi 😀 in Bergen"
    marked = [("PER", "Ines"), ("PER", "Ravi"), ("LOC", "Bergen")]
    entities = []
    for label, part in marked:
        start = len(text[: text.index(part)].encode("utf-16-le")) // 2
        entities.append({"start": start, "end": start + len(part), "label": label, "text": part})
    golds = [[{"start": text.index(p), "end": text.index(p) + len(p), "label": t, "text": p} for t, p in marked]]
    want = Want("ner", (), 1, ["LOC", "PER"], golds, noted=("UTF-16",))
    return json_lines(folder / "a.jsonl", [{"text": text, "entities": entities}]), want


NAMES = "O,B-PER,I-PER,B-LOC,I-LOC,B-ORG,I-ORG"


def numbered(folder: Path) -> Path:
    names = NAMES.split(",")
    rows = [{"tokens": WORDS[n], "ner_tags": [names.index(tag) for tag in iob2(n)]} for n in range(5)]
    return json_lines(folder / "a.jsonl", rows)


@kind
def numbers_for_tags(folder: Path) -> tuple[Path, Want]:
    return numbered(folder), but(NER, flags=("--label_names", NAMES))


@kind
def numbers_for_tags_without_names(folder: Path) -> tuple[Path, Want]:
    return numbered(folder), Want("ner", refused=("--label_names",))


@kind
def lists_of_numpy_in_cells(folder: Path) -> tuple[Path, Want]:
    cells = [["[" + " ".join(map(repr, items)) + "]" for items in (WORDS[n], iob2(n))] for n in range(5)]
    return table(folder / "a.csv", [["tokens", "ner_tags"], *cells]), NER


@kind
def lists_of_python_in_cells(folder: Path) -> tuple[Path, Want]:
    return table(folder / "a.csv", [["tokens", "ner_tags"], *([str(WORDS[n]), str(iob2(n))] for n in range(5))]), NER


def spelled(folder: Path, form: str, *, outside: str = "O", change: Callable[[str], str] = str) -> Path:
    blocks = []
    for n, words in enumerate(WORDS):
        tags = [outside if tag == "O" else change(tag) for tag in iob2(n, form)]
        blocks.append("".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True)))
    path = folder / "a.conll"
    path.write_text("\n".join(blocks))
    return path


@kind
def prefixes_at_the_end(folder: Path) -> tuple[Path, Want]:
    return spelled(folder, "{t}-{p}"), NER


@kind
def a_dot_between_prefix_and_type(folder: Path) -> tuple[Path, Want]:
    return spelled(folder, "{p}.{t}"), NER


@kind
def an_underscore_after_the_type(folder: Path) -> tuple[Path, Want]:
    return spelled(folder, "{t}_{p}"), NER


@kind
def tags_in_lower_case(folder: Path) -> tuple[Path, Want]:
    golds = [[{**entity, "label": entity["label"].lower()} for entity in one] for one in NER.golds or ()]
    want = but(NER, labels=["loc", "org", "per"], golds=golds)
    return spelled(folder, "{p}-{t}", outside="o", change=str.lower), want


@kind
def tags_without_types(folder: Path) -> tuple[Path, Want]:
    return spelled(folder, "{p}"), Want("ner", refused=("type", "--label_name"))


@kind
def tags_without_types_that_are_given_one(folder: Path) -> tuple[Path, Want]:
    golds = [[{**entity, "label": "ENT"} for entity in one] for one in NER.golds or ()]
    return spelled(folder, "{p}"), but(NER, flags=("--label_name", "ENT"), labels=["ENT"], golds=golds)


@kind
def parts_of_speech(folder: Path) -> tuple[Path, Want]:
    path = columns_file(folder / "a.conll", lambda n, at, word, tag: f"{word} {'NOUN' if at % 2 else 'VERB'}")
    return path, Want("ner", refused=("label_column_name",))


@kind
def unnamed_columns_and_another_encoding(folder: Path) -> tuple[Path, Want]:
    path = folder / "a.csv"
    rows = "".join(f'{label},"{text} “sic”",,,\n' for text, label in TEXTS)
    path.write_bytes(("v1,v2,,,\n" + rows).encode("cp1252"))
    return path, but(CLASSES, flags=("--encoding", "cp1252"))


@kind
def another_encoding_unsaid(folder: Path) -> tuple[Path, Want]:
    path = folder / "a.csv"
    path.write_bytes(("label,text\n" + "".join(f"{label},{text} “sic”\n" for text, label in TEXTS)).encode("cp1252"))
    return path, Want("classification", refused=("a.csv:2", "--encoding cp1252"))


ONE_HOT = [
    ["id", "comment_text", "rude", "vulgar", "threat"],
    *([f"{n:04}", t, int(n == 3), int(n in (0, 3)), 0] for n, (t, _) in enumerate(TEXTS)),
]


@kind
def one_column_for_each_label(folder: Path) -> tuple[Path, Want]:
    flags = ("--label_column_name", "rude,vulgar,threat", "--multi_label")
    golds = [["vulgar"], [], [], ["rude", "vulgar"], [], []]
    return table(folder / "a.csv", ONE_HOT), Want("classification", flags, 6, ["rude", "threat", "vulgar"], golds)


@kind
def vectors_of_zero_and_one(folder: Path) -> tuple[Path, Want]:
    rows = [{"text": t, "labels": [float(label == name) for name in ("bad", "good", "ok")]} for t, label in TEXTS]
    return json_lines(folder / "a.jsonl", rows), Want("classification", ("--multi_label",), refused=("--label_names",))


@kind
def vectors_of_zero_and_one_with_names(folder: Path) -> tuple[Path, Want]:
    rows = [{"text": t, "labels": [float(label == name) for name in ("bad", "good", "ok")]} for t, label in TEXTS]
    want = but(CLASSES, flags=("--multi_label", "--label_names", "bad,good,ok"), golds=[[y] for _, y in TEXTS])
    return json_lines(folder / "a.jsonl", rows), want


HEADLESS = [[str(n % 3 + 1), f"title {n} on shoes", text] for n, (text, _) in enumerate(TEXTS)]


@kind
def no_header(folder: Path) -> tuple[Path, Want]:
    return table(folder / "a.csv", HEADLESS), Want("classification", refused=("first line", "--column_names"))


@kind
def no_header_but_names(folder: Path) -> tuple[Path, Want]:
    flags = ("--column_names", "label,title,text")
    golds = [str(n % 3 + 1) for n in range(6)]
    return table(folder / "a.csv", HEADLESS), Want("classification", flags, 6, ["1", "2", "3"], golds)


HIDDEN = [
    {"sentence1": t, "sentence2": o, "gold_label": "-" if n == 1 else label}
    for n, ((t, label), o) in enumerate(zip(TEXTS, OTHER, strict=True))
]


@kind
def a_hidden_label_that_is_dropped(folder: Path) -> tuple[Path, Want]:
    want = but(CLASSES, flags=("--drop_label", "-"), examples=5, golds=[y for n, (_, y) in enumerate(TEXTS) if n != 1])
    return json_lines(folder / "a.jsonl", HIDDEN), want


@kind
def a_hidden_label(folder: Path) -> tuple[Path, Want]:
    return json_lines(folder / "a.jsonl", HIDDEN), Want("classification", refused=("'-'", "--drop_label"))


SCORES = [
    ["sentence1", "sentence2", "score"],
    *([t, o, s] for (t, _), o, s in zip(TEXTS, OTHER, (0.5, 5.0, 3.867, 2.25, 1.0, 4.4), strict=True)),
]


@kind
def scores_read_as_classes(folder: Path) -> tuple[Path, Want]:
    return table(folder / "a.tsv", SCORES, delimiter="\t"), Want("classification", refused=("regression",))


@kind
def scores(folder: Path) -> tuple[Path, Want]:
    want = Want(
        "regression", (), 6, golds=[0.5, 5.0, 3.867, 2.25, 1.0, 4.4], columns=("sentence1", "sentence2", "score")
    )
    return table(folder / "a.tsv", SCORES, delimiter="\t"), want


@kind
def a_question_and_a_sentence(folder: Path) -> tuple[Path, Want]:
    rows = [[n, f"is it {o}?", t, label] for n, ((t, label), o) in enumerate(zip(TEXTS, OTHER, strict=True))]
    path = table(folder / "a.tsv", [["index", "question", "sentence", "label"], *rows], delimiter="\t")
    return path, but(CLASSES, columns=("question", "sentence", "label"), unused=("index",))


@kind
def news_with_a_publisher(folder: Path) -> tuple[Path, Want]:
    rows = [[f"Paper {n % 2}", f"title {n}", f"{t}. It was said on Friday.", t] for n, (t, _) in enumerate(TEXTS)]
    want = Want(
        "summarization", (), 6, golds=[t for t, _ in TEXTS], columns=("content", "summary"), unused=("source", "title")
    )
    return table(folder / "a.csv", [["source", "title", "content", "summary"], *rows]), want


@kind
def blanks_round_names_and_cells(folder: Path) -> tuple[Path, Want]:
    path = folder / "a.csv"
    path.write_text("text, label\n" + "".join(f'"{t}", {label}\n' for t, label in TEXTS))
    return path, CLASSES


@kind
def labels_that_differ_in_case_alone(folder: Path) -> tuple[Path, Want]:
    rows = [[t, label.upper() if n == 3 else label] for n, (t, label) in enumerate(TEXTS)]
    want = Want("classification", (), 6, ["BAD", "bad", "good", "ok"], noted=("BAD",))
    return table(folder / "a.csv", [["text", "label"], *rows]), want


QUESTIONS = [
    {"id": str(n), "context": t, "question": f"what {n}?", "answer": t.split()[0].strip(",")}
    for n, (t, _) in enumerate(TEXTS)
]
ANSWERS = Want("question_answering", (), 6, golds=[one["answer"] for one in QUESTIONS])


@kind
def answers_of_numpy_in_cells(folder: Path) -> tuple[Path, Want]:
    cell = "{{'text': array(['{}'], dtype=object), 'answer_start': array([0], dtype=int32)}}"
    rows = [[one["id"], "x", one["context"], one["question"], cell.format(one["answer"])] for one in QUESTIONS]
    return table(folder / "a.csv", [["id", "title", "context", "question", "answers"], *rows]), ANSWERS


@kind
def an_answer_that_is_no_list(folder: Path) -> tuple[Path, Want]:
    rows = [{**one, "answers": {"text": one["answer"], "answer_start": 0}} for one in QUESTIONS]
    return json_lines(folder / "a.jsonl", [{k: v for k, v in row.items() if k != "answer"} for row in rows]), ANSWERS


@kind
def paragraphs_without_articles(folder: Path) -> tuple[Path, Want]:
    rows = [
        {
            "context": one["context"],
            "qas": [
                {
                    "id": one["id"],
                    "is_impossible": False,
                    "question": one["question"],
                    "answers": [{"text": one["answer"], "answer_start": 0}],
                }
            ],
        }
        for one in QUESTIONS
    ]
    return document(folder / "a.json", rows), ANSWERS


@kind
def matched_and_mismatched(folder: Path) -> tuple[Path, Want]:
    rows = [{"premise": t, "hypothesis": o, "label": label} for (t, label), o in zip(TEXTS, OTHER, strict=True)]
    for name in ("train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched"):
        json_lines(folder / f"{name}.jsonl", rows)
    want = Want(
        "classification",
        labels=["bad", "good", "ok"],
        splits={"train": 6, "validation": 6, "test": 6},
        noted=("validation_mismatched", "test_mismatched"),
    )
    return folder, want


@kind
def sentences_and_tags_in_parallel_files(folder: Path) -> tuple[Path, Want]:
    for split, count in (("train", 5), ("test", 2)):
        inner = folder / split
        inner.mkdir()
        (inner / "seq.in").write_text("".join(sentence(n) + "\n" for n in range(count)))
        (inner / "seq.out").write_text("".join(" ".join(iob2(n)) + "\n" for n in range(count)))
        (inner / "label").write_text("report\n" * count)
    return folder, but(NER, splits={"train": 5, "test": 2})


@kind
def brat(folder: Path) -> tuple[Path, Want]:
    for n in range(5):
        (folder / f"doc{n}.txt").write_text(sentence(n))
        lines = (f"T{k}\t{t} {s} {e}\t{sentence(n)[s:e]}\n" for k, (s, e, t) in enumerate(spans(n), 1))
        (folder / f"doc{n}.ann").write_text("".join(lines))
    return folder, NER


@kind
def entities_by_type_and_text(folder: Path) -> tuple[Path, Want]:
    rows = []
    for n in range(5):
        by_type: dict[str, dict[str, list[list[int]]]] = {}
        for s, e, label in spans(n):
            by_type.setdefault(label, {}).setdefault(sentence(n)[s:e], []).append([s, e - 1])
        rows.append({"text": sentence(n), "label": by_type})
    return json_lines(folder / "a.json", rows), NER


@kind
def a_folder_for_each_class(folder: Path) -> tuple[Path, Want]:
    for split in ("train", "test"):
        for n, (text, label) in enumerate(TEXTS):
            inner = folder / split / label
            inner.mkdir(parents=True, exist_ok=True)
            (inner / f"{n}_7.txt").write_text(text)
    return folder, but(CLASSES, golds=None, splits={"train": 6, "test": 6})


@kind
def a_compressed_table(folder: Path) -> tuple[Path, Want]:
    import zipfile

    table(folder / "a.csv", [["text", "label"], *map(list, TEXTS)])
    with zipfile.ZipFile(folder / "a.csv.zip", "w") as archive:
        archive.write(folder / "a.csv", "a.csv")
    return folder / "a.csv.zip", CLASSES


@kind
def an_index_written_by_pandas(folder: Path) -> tuple[Path, Want]:
    rows = [["", "text", "label"], *([n, *one] for n, one in enumerate(TEXTS))]
    return table(folder / "a.csv", rows), CLASSES


@kind
def a_json_document_of_columns(folder: Path) -> tuple[Path, Want]:
    columns = {
        "text": {str(n): t for n, (t, _) in enumerate(TEXTS)},
        "label": {str(n): y for n, (_, y) in enumerate(TEXTS)},
    }
    return document(folder / "a.json", columns), CLASSES


@kind
def shards_of_one_split(folder: Path) -> tuple[Path, Want]:
    import pandas as pd

    (folder / "data").mkdir()
    frame = pd.DataFrame(TEXTS, columns=["text", "label"])
    for number in range(2):
        frame[3 * number : 3 * number + 3].to_parquet(folder / "data" / f"train-0000{number}-of-00002.parquet")
    return folder, CLASSES


@kind
def a_test_split_with_hidden_gold(folder: Path) -> tuple[Path, Want]:
    json_lines(folder / "train.jsonl", [{"text": t, "label": y} for t, y in TEXTS])
    json_lines(folder / "test.jsonl", [{"text": t + "!", "label": -1} for t, _ in TEXTS])
    return folder, but(CLASSES, splits={"train": 6}, noted=("test",))


@kind
def one_column_alone(folder: Path) -> tuple[Path, Want]:
    return table(folder / "a.csv", [["text"], *([t] for t, _ in TEXTS)]), Want("classification", refused=("text",))


def read(path: Path, want: Want, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    count = ["--examples", "100"]
    code = main.main(["data", str(path), "--task", want.task, *want.flags, "--json", *count])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


@pytest.mark.parametrize("name", sorted(KINDS))
def test_each_kind_is_read_right_or_refused_in_words_that_help(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "wild"
    folder.mkdir()
    path, want = KINDS[name](folder)
    code, found = read(path, want, capsys)
    said = "\n".join(found["faults"])
    if want.refused:
        assert code == 2
        assert [words for words in want.refused if words not in said] == [], said
        return
    assert (code, said) == (0, "")
    if want.examples is not None:
        assert found["splits"]["train"] == want.examples
    if want.splits:
        assert found["splits"] == want.splits
    if want.labels is not None:
        assert sorted(found["labels"]) == want.labels
    if want.golds is not None:
        assert [one["gold"] for one in found["first"]] == want.golds
    read_columns = {column for columns in found["columns"].values() for column in columns}
    assert set(want.columns) <= read_columns
    assert set(want.unused) <= set(found["unused"])
    notes = "\n".join(found["notes"])
    assert [words for words in want.noted if words not in notes] == [], notes


def test_there_are_as_many_kinds_as_were_found_in_the_wild() -> None:
    assert len(KINDS) >= 60


WANTED = SHARED_DATA / "wild" / "want.json"


@pytest.mark.skipif(not WANTED.is_file(), reason=f"no real data at {WANTED}")
def test_the_files_that_people_posted_are_read_as_they_are_meant(capsys: pytest.CaptureFixture[str]) -> None:
    for name, one in json.loads(WANTED.read_text(encoding="utf-8")).items():
        want = Want(one["task"], tuple(one.get("flags", "").split()))
        code, found = read(WANTED.parent / name, want, capsys)
        said = "\n".join(found["faults"])
        if "refuse" in one:
            assert code == 2 and [words for words in one["refuse"] if words not in said] == [], (name, said)
            continue
        assert code == 0, (name, said)
        assert found["splits"]["train"] == one.get("examples", found["splits"]["train"]), name
        assert sorted(found["labels"]) == one.get("labels", sorted(found["labels"])), name
        if "entities" in one:
            golds = [[{key: e[key] for key in ("text", "label")} for e in first["gold"]] for first in found["first"]]
            assert golds == one["entities"], name
        if "golds" in one:
            assert [first["gold"] for first in found["first"]] == one["golds"], name
        read_columns = {column for columns in found["columns"].values() for column in columns}
        assert set(one.get("columns", ())) <= read_columns, name
