"""Summaries: a text in, a shorter one out, written by the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.data import RowSource
from adapters.tasks import Example
from adapters.text_rows import find_column
from adapters.text_task import TextSettings, TextTask

TEXTS = ("text", "document", "article", "dialogue", "source", "content", "body")
SUMMARIES = ("summary", "highlights", "tldr", "target", "abstract", "headline", "title")


@dataclass(frozen=True, kw_only=True)
class Settings(TextSettings):
    """Summaries."""

    text_column_name: str | None = None
    """Column of the text, or of a list of its sentences. Default: text, document, article, dialogue, source, … ."""
    summary_column_name: str | None = None
    """Column of the summary, or of a list of several. Default: summary, highlights, tldr, target, … ."""


class Task(TextTask):
    """`{text}` in, a summary out."""

    name = "summarization"
    metrics = ("rouge",)
    columns = ("text",)
    written = "summary"

    @classmethod
    def names(cls, source: RowSource, settings: Any) -> Mapping[str, str]:
        """The columns of text and summary."""
        text = find_column(source, "texts", "text_column_name", settings.text_column_name, TEXTS)
        others = [name for name in SUMMARIES if name != text.lower()]
        summary = find_column(source, "summaries", "summary_column_name", settings.summary_column_name, others)
        return {"text": text, "summary": summary}

    def framed(self, example: Example) -> tuple[str, str, str]:
        """The text, and what asks for its summary; of a long one the beginning."""
        return "Text: ", example.inputs["text"], "\nSummary:"
