"""Translation: a text in one language in, the same in another out, written by the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.data import Row, RowSource
from adapters.errors import DataError, SettingsError
from adapters.tasks import AnswerForm, Example
from adapters.text_rows import Read, find_column
from adapters.text_task import TextSettings, TextTask

NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi",
    "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "lt": "Lithuanian", "lv": "Latvian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "sv": "Swedish", "th": "Thai",
    "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
BOTH = "translation"
"""The column in which datasets of the Hub keep both sides, by their languages."""


@dataclass(frozen=True, kw_only=True)
class Settings(TextSettings):
    """Translation."""

    source_lang: str | None = None
    """Language to translate from, as its column (or its key in a column `translation`) is called: en, de, zh, … ."""
    target_lang: str | None = None
    """Language to translate into."""
    source_column_name: str | None = None
    """Column of the text, where it is not called as its language is."""
    target_column_name: str | None = None
    """Column of its translation, or of a list of several."""


class Task(TextTask):
    """`{text}` in, its translation out."""

    name = "translation"
    metrics = ("chrf", "bleu")
    columns = ("text",)
    written = "translation"
    common_holes = ("source_lang", "target_lang")

    def __init__(self, **options: Any) -> None:
        """Args: options: those of every task that writes, `source_lang` and `target_lang`."""
        super().__init__(**options)
        self.source_lang, self.target_lang = str(options["source_lang"]), str(options["target_lang"])
        self.languages = (self.source_lang, self.target_lang)

    @classmethod
    def chosen(cls, settings: Any) -> dict[str, Any]:
        """The languages, too."""
        for flag in ("source_lang", "target_lang"):
            if not getattr(settings, flag):
                raise SettingsError(
                    f"--{flag}: translation needs both languages, as in --source_lang en --target_lang de, called as "
                    "the columns (or the endings of the two files) are."
                )
        if settings.source_lang == settings.target_lang:
            raise SettingsError(f"--target_lang {settings.target_lang}: is --source_lang, too. Name another.")
        return {**super().chosen(settings), "source_lang": settings.source_lang, "target_lang": settings.target_lang}

    @classmethod
    def names(cls, source: RowSource, settings: Any) -> Mapping[str, str]:
        """The columns of the two sides; both may be the column `translation`, which holds them by their languages."""
        sides = {"text": ("source", settings.source_lang, settings.source_column_name),
                 "translation": ("target", settings.target_lang, settings.target_column_name)}  # fmt: skip
        if BOTH in source.columns and not settings.source_column_name and not settings.target_column_name:
            return {ours: f"{BOTH}.{lang}" for ours, (_, lang, _) in sides.items()}
        return {ours: find_column(source, lang, f"{side}_column_name", given, (lang.lower(),))
                for ours, (side, lang, given) in sides.items()}  # fmt: skip

    @classmethod
    def row(cls, row: Row, names: Mapping[str, str], settings: Any) -> Read:
        """The two sides of a row."""
        both = row.values.get(BOTH)
        if names["text"].startswith(f"{BOTH}."):
            if not isinstance(both, Mapping):
                raise DataError(f"column {BOTH!r} must hold texts by their languages, found {type(both).__name__}")
            values = {f"{BOTH}.{lang}": text for lang, text in both.items()}
        else:
            values = row.values
        return Read(inputs={"text": values.get(names["text"])}, references=values.get(names["translation"]))

    def check_form(self, form: AnswerForm) -> None:
        """A prompt may call any language by a name of its own."""

    def fill(self, example: Example | None, form: AnswerForm) -> dict[str, str]:
        """The text, and how the prompt calls the languages: by [names], or in English."""
        called = [form.names[lang][0] if lang in form.names else name_of(lang) for lang in self.languages]
        return {**super().fill(example, form), **dict(zip(self.common_holes, called, strict=True))}

    def framed(self, example: Example) -> tuple[str, str, str]:
        """The text behind its language, then the language to write."""
        return f"{name_of(self.source_lang)}: ", example.inputs["text"], f"\n{name_of(self.target_lang)}:"


def name_of(language: str) -> str:
    """A language's English name; its code where that is not known here."""
    return NAMES.get(language.lower().replace("-", "_").partition("_")[0], language)
