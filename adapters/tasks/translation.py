"""Translation: from a text in one language to the same text in another, which the model generates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.core.errors import DataError, SettingsError
from adapters.data.cell_values import parse_cell
from adapters.data.columns import ColumnRoles, plain
from adapters.data.generation_rows import GenerationRow
from adapters.data.rows import Row
from adapters.tasks.base.example import Example
from adapters.tasks.base.generation_task import GenerationTask
from adapters.tasks.base.task import AnswerForm
from adapters.tasks.base.text_answer_task import GenerationSettings

NAMES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
BOTH = "translation"
"""The column with both sides, by their languages, in datasets of the Hub."""


@dataclass(frozen=True, kw_only=True)
class Settings(GenerationSettings):
    """Translation."""

    source_lang: str | None = None
    """Language to translate from: the name of its column, or its key in a column `translation` (en, de, zh, …)."""
    target_lang: str | None = None
    """Language to translate into."""
    source_column_name: str | None = None
    """Column of the text, if its name is not the language."""
    target_column_name: str | None = None
    """Column of its translation, or of a list of several, if its name is not the language."""


class Task(GenerationTask):
    """From `{text}` to its translation."""

    name = "translation"
    metrics = ("chrf", "bleu")
    columns = ("text",)
    written = "translation"
    roles = ("source", "target")
    common_placeholders = ("source_lang", "target_lang")

    def __init__(self, **options: Any) -> None:
        """Args: options: those of every task whose answer is a text, `source_lang` and `target_lang`."""
        super().__init__(**options)
        self.source_lang, self.target_lang = str(options["source_lang"]), str(options["target_lang"])
        self.languages = (self.source_lang, self.target_lang)

    @classmethod
    def options_of(cls, settings: Any) -> dict[str, Any]:
        """The languages, too."""
        for flag in ("source_lang", "target_lang"):
            if not getattr(settings, flag):
                raise SettingsError(
                    f"--{flag}: translation needs both languages, as in --source_lang en --target_lang de, named as "
                    "the columns (or the endings of the two files) are."
                )
        if settings.source_lang == settings.target_lang:
            raise SettingsError(
                f"--target_lang {settings.target_lang}: is the --source_lang, too. Name another language."
            )
        return {
            **super().options_of(settings),
            "source_lang": settings.source_lang,
            "target_lang": settings.target_lang,
        }

    @classmethod
    def find_columns(cls, roles: ColumnRoles, settings: Any) -> Mapping[str, str]:
        """The columns of the two sides; both may be in the column `translation`, by their languages."""
        sides = {"text": ("source", settings.source_lang), "translation": ("target", settings.target_lang)}
        if BOTH in roles.source.columns and not settings.source_column_name and not settings.target_column_name:
            for side, _ in sides.values():
                roles.use(side, BOTH)
            return {name: f"{BOTH}.{lang}" for name, (_, lang) in sides.items()}
        return {name: roles.find(side, (plain(lang),), what=lang) for name, (side, lang) in sides.items()}

    @classmethod
    def row(cls, row: Row, columns: Mapping[str, str], settings: Any) -> GenerationRow:
        """The two sides of a row."""
        both = _by_language(row.values.get(BOTH))
        if columns["text"].startswith(f"{BOTH}."):
            if not isinstance(both, Mapping):
                raise DataError(f"column {BOTH!r} must contain texts by their languages, found {type(both).__name__}")
            values = {f"{BOTH}.{lang}": text for lang, text in both.items()}
        else:
            values = row.values
        text, translation = values.get(columns["text"]), values.get(columns["translation"])
        return GenerationRow(inputs={"text": text}, references=translation)

    def check_form(self, form: AnswerForm) -> None:
        """Any: a prompt may have a name of its own for any language."""

    def fill(self, example: Example | None, form: AnswerForm) -> dict[str, str]:
        """The text, and the languages' names: those of [verbalizer], or the English ones."""
        names = [form.verbalizer[lang][0] if lang in form.verbalizer else name_of(lang) for lang in self.languages]
        return {**super().fill(example, form), **dict(zip(self.common_placeholders, names, strict=True))}

    def framed(self, example: Example) -> tuple[str, str, str]:
        """The text after its language, then the target language."""
        return f"{name_of(self.source_lang)}: ", example.inputs["text"], f"\n{name_of(self.target_lang)}:"


def _by_language(cell: Any) -> Any:
    """The texts by their languages, also of a cell into which a table wrote them."""
    try:
        return parse_cell(cell) if isinstance(cell, str) and cell.lstrip().startswith("{") else cell
    except ValueError as error:
        raise DataError(f"column {BOTH!r}: the cell {error}") from error


def name_of(language: str) -> str:
    """A language's English name; its code if `NAMES` lacks it."""
    return NAMES.get(language.lower().replace("-", "_").partition("_")[0], language)
