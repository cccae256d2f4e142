"""Verbalizers: the words for a label in a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.core.errors import SettingsError


def label_words(label: str, verbalizer: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """The words of a label: those of the prompt, else its name with spaces for underscores."""
    return verbalizer.get(label) or [label.replace("_", " ")]


def check_words(labels: Sequence[str], verbalizer: Mapping[str, Sequence[str]], separator: str, where: str) -> None:
    """Raises SettingsError where a word is empty, would end the answer, or belongs to two labels.

    Args:
        labels: the label names of the task.
        verbalizer: the words of each label in the prompt.
        separator: text that ends an answer.
        where: the prompt's file, for the message.
    """
    owner: dict[str, str] = {}
    for label in labels:
        for word in label_words(label, verbalizer):
            if not word.strip() or word != word.strip() or separator in word:
                raise SettingsError(
                    f"{where}: the word {word!r} for the label {label!r} must not be empty, have white space around it "
                    f"or contain the separator {separator!r}. Change [verbalizer]."
                )
            other = owner.setdefault(word.lower(), label)
            if other != label:
                raise SettingsError(
                    f"{where}: the word {word!r} belongs to {other!r} and to {label!r}. Change [verbalizer]."
                )
