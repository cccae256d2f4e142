"""Zero-shot: the prompt contains only an instruction."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.methods.base.prompt_method import PromptMethod, PromptSettings


@dataclass(frozen=True, kw_only=True)
class Settings(PromptSettings):
    """Zero-shot prompting."""


class Method(PromptMethod):
    """The prompt without demonstrations."""

    name = "zero_shot"
    seeded = False
