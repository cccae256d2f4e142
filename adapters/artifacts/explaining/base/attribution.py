"""What an attribution method's file offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adapters.artifacts.explaining.base.subject import Answer
from adapters.core import discovery
from adapters.core.errors import ModelError

MAX_ERROR = 0.05
"""Relative error of a sum of attributions from which they do not add up."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How attributions are computed.

    Attributes:
        steps: points of the path of integrated gradients; more are taken where they do not add up.
        batch_tokens: tokens that are read at a time, which bounds the memory.
        passes: most inputs with erased words that occlusion reads; of more words several are erased together.
    """

    steps: int = 32
    batch_tokens: int = 4096
    passes: int = 1000


class Attribution(ABC):
    """What each file of this folder defines as `Attribution`: how much each word counts for an answer."""

    name: ClassVar[str]
    preference: ClassVar[int]
    """Of the methods that suit an answer, the one with the lowest number is the default."""
    complete: ClassVar[bool] = False
    """Whether attributions add up to the score less the one without words."""
    of: ClassVar[str] = "word"
    """What has an attribution: each `word`, or each `shot` of a prompt."""

    @abstractmethod
    def misfit(self, answer: Answer) -> str:
        """Why an answer cannot be explained in this way, as the end of a sentence; empty if it can."""

    @abstractmethod
    def attribute(self, answer: Answer, options: Options) -> np.ndarray:
        """float64 `[words]` (or shots): what each adds to the answer's score.

        Raises ModelError where the model does not allow it.
        """

    def notes(self, answer: Answer, options: Options) -> list[str]:
        """What is to be known of an explanation, each as a clause. Default: nothing."""
        return []

    def base(self, answer: Answer) -> float:
        """What is left of the score without any word: where attributions that are complete begin."""
        return answer.empty.value


def names(plugin_dirs: Sequence[str] = ()) -> list[str]:
    """The names of all attribution methods."""
    return discovery.names("explanations", plugin_dirs)


def load(name: str, plugin_dirs: Sequence[str] = ()) -> Attribution:
    """The attribution method of that name. Raises SettingsError that lists the known ones."""
    found = discovery.load("explanations", name, plugin_dirs).Attribution()
    assert isinstance(found, Attribution), name
    return found


def chosen(answer: Answer, name: str | None, plugin_dirs: Sequence[str] = ()) -> Attribution:
    """The attribution method of that name, or the preferred one of those that suit an answer.

    Raises:
        SettingsError: unknown name.
        ModelError: it does not suit the answer; the message names those that do.
    """
    every = [load(one, plugin_dirs) for one in names(plugin_dirs)]
    every.sort(key=lambda one: one.preference)
    fitting = [one for one in every if not one.misfit(answer)]
    if name is not None:
        one = load(name, plugin_dirs)
        why = one.misfit(answer)
        if why:
            instead = ", ".join(other.name for other in fitting) or "none"
            raise ModelError(f"{name}: {why}. For this answer there is: {instead}.")
        return one
    if not fitting:
        raise ModelError(
            f"This answer cannot be explained: {'; '.join(f'{o.name}: {o.misfit(answer)}' for o in every)}"
        )
    return fitting[0]
