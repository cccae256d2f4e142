"""Which columns hold the texts, the pair's second texts and the labels: by the user, by usual names, or by contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.data.annotation_tools import PRODIGY_ANSWERS
from adapters.data.columns import ColumnRoles, missing_column, plain
from adapters.data.label_cells import as_flag, is_missing, is_number
from adapters.data.label_checks import disagreement
from adapters.data.rows import FIRST_ROWS, RowSource, first_rows

PAIRS: tuple[tuple[str, str], ...] = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),  # GLUE's MRPC, RTE, STS-B and WNLI; CLUE
    ("premise", "hypothesis"),  # MNLI, SNLI, XNLI; SuperGLUE's CB
    ("question1", "question2"),  # QQP
    ("question", "sentence"),  # QNLI
    ("question", "passage"),  # SuperGLUE's BoolQ
    ("text_a", "text_b"),  # BERT's run_classifier.py
    ("text1", "text2"),  # SetFit's copies of GLUE
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),  # SICK
    ("question_1", "question_2"),
    ("#1_string", "#2_string"),  # MRPC as it was published
    ("query", "passage"),  # MS MARCO
    ("claim", "evidence"),  # FEVER
    ("句子1", "句子2"),
    ("文本1", "文本2"),
    ("前提", "假设"),
)
"""Names of columns that are a pair where both exist."""
SECOND_TEXTS = ("aspect", "aspect_term", "context", "evidence", "response", "answer")
"""Names of columns that may belong to a text (the aspect of an opinion), which is said, since they may as well not."""
TEXTS = (
    "text",
    "sentence1",
    "premise",
    "question1",
    "text_a",
    "sentence",
    "content",
    "review",
    "utterance",
    "tweet",
    "document",
    "question",
    "comment_text",
    "comment",
    "review_text",
    "review_body",
    "reviewtext",
    "tweet_text",
    "message",
    "sms",
    "post",
    "phrase",
    "query",
    "instruction",
    "claim",
    "statement",
    "article",
    "body",
    "description",
    "abstract",
    "headline",
    "title",
    *("文本", "内容", "正文", "评论", "句子", "标题"),
)
LABELS = (
    "label",
    "labels",
    "gold_label",
    "category",
    "intent",
    "class",
    "sentiment",
    "emotion",
    "stance",
    "target",
    "type",
    "topic",
    "polarity",
    "label_text",
    "label_name",
    "label_desc",
    "class_label",
    "class_name",
    "class_index",
    "sentiment_label",
    "airline_sentiment",
    "entailment_judgment",
    "entailment_label",
    "is_duplicate",
    "quality",
    "categories",
    "subcategory",
    "stars",
    "rating",
    "overall",
    "score",
    "genre",  # STS-B has it next to its scores
    "cats",
    "choices",
    "accept",
    *("标签", "类别", "分类", "情感"),
)
_SAME_MEANING = (
    frozenset(("label", "gold_label", "label_text", "label_name", "label_desc", "class_label")),
    frozenset(("class", "class_name", "class_index", "class_label")),
    frozenset(("sentiment", "sentiment_label", "polarity")),
)
"""Names of columns that say the same, one by numbers and the other by names, perhaps."""
NUMBERS_OF_ROWS = frozenset(("id", "idx", "index", "guid", "qid", "", "unnamed:_0"))
_SAMPLE = 20_000
"""Rows by whose contents columns are told apart; files are often sorted by label."""


@dataclass(frozen=True, kw_only=True)
class ClassificationColumns:
    """The columns of the text, of a pair's second text (None without pairs), and of the label.

    Attributes:
        labels: the column of the label; or the one-hot columns, each of which is a label.
        decision: Prodigy's column with `accept`, `reject` and `ignore`; None if there is none.
    """

    text: str
    pair: str | None
    labels: tuple[str, ...]
    decision: str | None = None

    @property
    def one_hot(self) -> bool:
        """Whether each column is a label."""
        return len(self.labels) > 1

    @property
    def label(self) -> str:
        """The columns of the labels in a message."""
        return ", ".join(self.labels)


def first_values(source: RowSource, count: int = FIRST_ROWS) -> list[Mapping[str, Any]]:
    """The values of the first rows."""
    return [row.values for row in first_rows(source, count)]


def find_classification_columns(roles: ColumnRoles) -> ClassificationColumns:
    """The columns named by the user, else train's, else with the usual names, else by contents in a table of two.

    A pair is found without being named only where both columns have the names of one (`sentence1, sentence2`).

    Raises: DataError that lists the columns.
    """
    text, pair, labels = _by_names(roles)
    if text is None or not labels:
        text, labels = _by_contents(roles, text, labels)
    if not labels and text is not None:
        _advise_one_hot(roles)
    if text is None or not labels:
        lacking = {"text": ("texts", TEXTS)} if text is None else {}
        raise roles.missing(lacking if labels else {**lacking, "label": ("labels", LABELS)})
    decision = _decision(roles)
    if pair is None and not roles.given.get("text"):
        roles.notes += [
            f"{name} is not read; if it belongs to the text: --text_pair_column_name {name}"
            for name in roles.matching(SECOND_TEXTS)
        ]
    _note_disagreement(roles, labels)
    return ClassificationColumns(text=text, pair=pair, labels=labels, decision=decision)


def find_text_columns(roles: ColumnRoles) -> tuple[str, str | None]:
    """The columns of the text and of a pair's second text: those that the user named, else with the usual names.

    A pair is found without being named only where both columns have the names of one (`sentence1, sentence2`).

    Raises DataError that lists the columns.
    """
    text, pair = _look_for_texts(roles)
    return text if text is not None else roles.find("text", TEXTS, what="texts"), pair


def _look_for_texts(roles: ColumnRoles) -> tuple[str | None, str | None]:
    known = roles.given.get("text") or roles.given.get("text_pair") or roles.of_lead("text")
    both = None if known else next((names for names in PAIRS if len(roles.matching(names)) == 2), None)
    text = roles.look("text", TEXTS if both is None else both[:1])
    pair = roles.look("text_pair", () if both is None else both[1:])
    lead = roles.lead.columns if roles.lead is not None else None
    if lead is not None and pair is None and "text_pair" in lead:
        raise missing_column(roles.source, f"column {lead['text_pair'][0]!r} as in train")
    if lead is not None and pair is not None and "text_pair" not in lead:
        only = lead["text"][0]
        raise missing_column(roles.source, f"column {only} alone, as in train; found the pair {text}, {pair}")
    return text, pair


def _by_names(roles: ColumnRoles) -> tuple[str | None, str | None, tuple[str, ...]]:
    text, pair = _look_for_texts(roles)
    given = roles.given.get("label")
    if isinstance(given, list | tuple) and len(given) > 1:
        roles.use("label", *given)
        return text, pair, tuple(given)
    label = roles.look("label", LABELS)
    return text, pair, () if label is None else (label,)


def _by_contents(roles: ColumnRoles, text: str | None, labels: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """In a table of two columns, besides row numbers and empty ones: the label has few, short values that repeat, and
    the text long ones, which differ. Otherwise what is known already."""
    rows = first_values(roles.source, _SAMPLE)
    columns = [
        name
        for name in roles.source.columns
        if plain(name) not in NUMBERS_OF_ROWS and not all(is_missing(row.get(name)) for row in rows)
    ]
    if len(columns) != 2 or "text_pair" in roles.columns:
        return text, labels
    for one, other in (columns, columns[::-1]):
        if text in (None, one) and labels in ((), (other,)) and _are_texts_and_labels(rows, one, other):
            if text is None:
                roles.use("text", one)
            if not labels:
                roles.use("label", other)
            kinds = len({str(row.get(other)) for row in rows})
            roles.notes.append(
                f"by their contents, {one} is read as the text and {other} as the label ({kinds} short values that "
                "repeat); if not: --text_column_name, --label_column_name"
            )
            return one, (other,)
    return text, labels


def _are_texts_and_labels(rows: Sequence[Mapping[str, Any]], one: str, other: str) -> bool:
    """Whether one column looks like texts, and the other like their labels."""
    texts, labels = [row.get(one) for row in rows], [row.get(other) for row in rows]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        return False
    if not all(isinstance(label, str | int) and not is_missing(label) for label in labels):
        return False
    names, written = [str(label).strip() for label in labels], [str(text) for text in texts]
    kinds = set(names)
    few = len(kinds) >= 2 and 2 * len(kinds) <= len(names) and max(map(len, kinds)) <= 40
    whole = not any(is_number(name) and not name.lstrip("+-").isdecimal() for name in kinds)
    differ = 3 * len(set(written)) > 2 * len(written)
    longer = sum(map(len, written)) >= 2 * sum(map(len, names))
    worded = 2 * sum(" " in text.strip() or not text.isascii() for text in written) > len(written)
    return few and whole and differ and longer and worded


def _advise_one_hot(roles: ColumnRoles) -> None:
    """Raises DataError that names the flag, where several columns contain only 0 and 1 and none is called a label."""
    if roles.given.get("label") or roles.matching(LABELS):
        return
    rows = first_values(roles.source)
    taken = {name for names in roles.columns.values() for name in names}
    flags = [
        name
        for name in roles.source.columns
        if name not in taken and rows and all(as_flag(row.get(name)) is not None for row in rows)
    ]
    if len(flags) > 1:
        listed = ",".join(flags)
        raise missing_column(
            roles.source,
            "column of labels with a usual name",
            f"{', '.join(flags)} contain only 0 and 1: if they are labels, add --label_column_name {listed} (and "
            "--multi_label if a text may have several or none).",
        )


def _decision(roles: ColumnRoles) -> str | None:
    """Prodigy's `answer`, if it contains nothing but its words."""
    if "answer" not in roles.source.columns or any("answer" in names for names in roles.columns.values()):
        return None
    if not holds_decisions(roles.source):
        return None
    roles.use("answer", "answer")
    return "answer"


def holds_decisions(source: RowSource) -> bool:
    """Whether the column `answer` contains nothing but Prodigy's words for what an annotator decided."""
    found = {row.get("answer") for row in first_values(source) if isinstance(row.get("answer"), str | None)}
    return bool(found - {None}) and found <= PRODIGY_ANSWERS | {None}


def _note_disagreement(roles: ColumnRoles, labels: tuple[str, ...]) -> None:
    """Say so where a column that should say the same as the label does not."""
    if len(labels) > 1:
        return
    alike = [same for same in _SAME_MEANING if plain(labels[0]) in same]
    others = [name for name in roles.source.columns if name != labels[0] and any(plain(name) in same for same in alike)]
    if others:
        rows = first_values(roles.source)
        said = [disagreement(rows, labels[0], other, _shown_label) for other in others]
        roles.notes += [f"warning: {one}" for one in said if one]


def _shown_label(value: Any) -> str | None:
    return None if is_missing(value) or not isinstance(value, str | int | float) else str(value).strip()
