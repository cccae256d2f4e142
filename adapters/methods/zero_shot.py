"""Zero-shot: the base is asked with an instruction alone."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.prompting.method import PromptMethod, PromptSettings


@dataclass(frozen=True, kw_only=True)
class Settings(PromptSettings):
    """Zero-shot prompting."""


class Method(PromptMethod):
    """The prompt without demonstrations."""

    name = "zero_shot"
    seeded = False
