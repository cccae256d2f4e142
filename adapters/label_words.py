"""Verbalizers: the words that stand for a label in a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.errors import SettingsError


def label_words(label: str, names: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """The words of a label: those of the prompt, else its own name with blanks for underscores."""
    return names.get(label) or [label.replace("_", " ")]


def check_words(labels: Sequence[str], names: Mapping[str, Sequence[str]], separator: str, where: str) -> None:
    """Raises SettingsError where a word is empty, would end the answer, or stands for two labels.

    Args:
        labels: the label names of the task.
        names: what labels are called in the prompt.
        separator: text that ends an answer.
        where: the prompt's file, for the message.
    """
    owner: dict[str, str] = {}
    for label in labels:
        for word in label_words(label, names):
            if not word.strip() or word != word.strip() or separator in word:
                raise SettingsError(
                    f"{where}: the word {word!r} for the label {label!r} must not be empty, have white space around it "
                    f"or hold the separator {separator!r}. Change [names]."
                )
            other = owner.setdefault(word.lower(), label)
            if other != label:
                raise SettingsError(
                    f"{where}: the word {word!r} stands for {other!r} and for {label!r}. Change [names]."
                )
