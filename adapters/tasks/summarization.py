"""Summarization: from a text to a shorter one, which the model generates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.data.columns import ColumnRoles
from adapters.data.generation_rows import GenerationRow, as_texts
from adapters.data.rows import Row
from adapters.tasks.base.example import Example
from adapters.tasks.base.generation_task import GenerationTask
from adapters.tasks.base.text_answer_task import GenerationSettings

# `source` comes after `content` and `body`, next to which it is the publisher.
TEXTS = (
    "text",
    "document",
    "article",
    "dialogue",
    "content",
    "body",
    "story",
    "transcript",
    "report",
    "article_text",
    "source",
    "abstract",
    *("文本", "原文", "正文", "文章", "内容"),
)
SUMMARIES = (
    "summary",
    "summaries",
    "highlights",
    "tldr",
    "target",
    "abstract",
    "summary_text",
    "headline",
    "headlines",
    "title",
    *("摘要", "标题"),
)


@dataclass(frozen=True, kw_only=True)
class Settings(GenerationSettings):
    """Summarization."""

    text_column_name: str | None = None
    """Column of the text, or of a list of its sentences. Default: text, document, article, dialogue, content, … ."""
    summary_column_name: str | None = None
    """Column of the summary, or of a list of several. Default: summary, highlights, tldr, target, … ."""


class Task(GenerationTask):
    """From `{text}` to a summary."""

    name = "summarization"
    metrics = ("rouge",)
    columns = ("text",)
    written = "summary"
    roles = ("text", "summary")

    @classmethod
    def find_columns(cls, roles: ColumnRoles, settings: Any) -> Mapping[str, str]:
        """The columns of text and summary."""
        return {
            "text": roles.find("text", TEXTS, what="texts"),
            "summary": roles.find("summary", SUMMARIES, what="summaries"),
        }

    @classmethod
    def row(cls, row: Row, columns: Mapping[str, str], settings: Any) -> GenerationRow:
        """Text and summaries; a list that a table wrote into a cell is a list."""
        text, summary = (row.values.get(columns[name]) for name in ("text", "summary"))
        return GenerationRow(inputs={"text": as_texts(text)}, references=as_texts(summary))

    def framed(self, example: Example) -> tuple[str, str, str]:
        """The text, and a heading for its summary; a long text is truncated at its end."""
        return "Text: ", example.inputs["text"], "\nSummary:"
