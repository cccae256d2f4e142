"""Metrics of Hugging Face's `evaluate`: a local script, or one of the Hub with --trust_remote_code.

Such a metric scores all examples at once and has no counts per example (see `resampled`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import SettingsError
from adapters.evaluation.metrics.base.resampled import ResampledMetric

if TYPE_CHECKING:
    import evaluate

PREFIX = "evaluate:"
_SHAPES = {"label": (0, 0), "labels": (1, 1), "tags": (1, 1), "text": (0, 1)}
"""By `Task.answer`: how deeply nested a prediction and a gold answer are (0 a string or, of no entry here, a number;
1 a list of strings)."""


def is_script(name: str) -> bool:
    """Whether a name of --metrics is a metric of `evaluate`: `evaluate:name`, `owner/name`, a folder or a .py file."""
    return name.startswith(PREFIX) or "/" in name or "\\" in name or name.endswith(".py")


def load_script(name: str, labels: Sequence[str], answer: str, *, allow_hub: bool = False) -> EvaluateMetric:
    """Load a metric script of `evaluate`.

    Args:
        name: a local folder or .py file; or, from the Hub, `evaluate:name` or `owner/name`.
        labels: label names of the task, in the model's order; a metric that takes integers gets their indices.
        answer: kind of answer of the task (`Task.answer`).
        allow_hub: run code from the network, as --trust_remote_code says.

    Raises:
        SettingsError: there is no such script, it needs the Hub and may not, it fails, or it takes other inputs.
    """
    path, local = _resolved(name, allow_hub)
    try:
        module = _loaded(path, local, allow_hub)
    except SettingsError:
        raise
    except Exception as error:  # the script's own code, and whatever the Hub's client raises
        raise SettingsError(f"--metrics {name}: cannot be loaded: {type(error).__name__}: {error}") from error
    return EvaluateMetric(module, f"{PREFIX}{Path(path).stem if local else path}", labels, answer, given=name)


def _resolved(name: str, allow_hub: bool) -> tuple[str, bool]:
    """What `evaluate` shall load, and whether it is on this machine. Raises SettingsError."""
    path = Path(name).expanduser()
    if not name.startswith(PREFIX) and path.exists():
        script = path / f"{path.resolve().name}.py" if path.is_dir() else path
        if not script.is_file() or script.suffix != ".py":
            raise SettingsError(f"--metrics {name}: holds no metric script. `evaluate` expects {script}.")
        return str(script), True
    hub = name.removeprefix(PREFIX)
    if not hub or hub.count("/") > 1 or hub.startswith((".", "/", "~")) or hub.endswith(".py") or "\\" in hub:
        raise SettingsError(
            f"--metrics {name}: no such folder or file. Give the folder or .py file of a metric of `evaluate`, or a "
            f"Hub id ({PREFIX}exact_match, owner/name)."
        )
    if not allow_hub:
        raise SettingsError(
            f"--metrics {name}: is a script from the Hub, which would run on this machine. Add --trust_remote_code if "
            "you trust it, or give a local folder."
        )
    return hub, False


def _loaded(path: str, local: bool, allow_hub: bool) -> evaluate.EvaluationModule:
    import evaluate
    from evaluate.loading import get_imports

    if local and not allow_hub:
        # A script may name code at a URL ("# From: …"), which `evaluate` would download and import.
        external = [source for kind, _, source, _ in get_imports(path) if kind == "external"]
        if external:
            raise SettingsError(
                f"--metrics {path}: downloads code from {external[0]}. Add --trust_remote_code if you trust it, or "
                "put that file into the metric's folder."
            )
    return evaluate.load(path, keep_in_memory=True)


class EvaluateMetric(ResampledMetric):
    """A metric script of `evaluate`, given this project's answers in the form that it takes.

    An answer that could not be parsed (None) is passed as an empty string, or as -1 to a metric of integers. Of the
    results, numbers are kept; lists and tables are left out.
    """

    remark = "Numbers as the script returns them; it has no counts per example, so no significance test uses it."

    def __init__(
        self, module: evaluate.EvaluationModule, name: str, labels: Sequence[str], answer: str, *, given: str = ""
    ) -> None:
        """Args:
        module: as `evaluate.load` returns it.
        name: in reports and scores.json.
        labels: of the task.
        answer: kind of answer of the task.
        given: what the user wrote, for error messages.

        Raises:
            SettingsError: the metric takes other inputs than predictions and references of that kind.
        """
        super().__init__(labels)
        self.module, self.name = module, name
        self.main = name.removeprefix(PREFIX).rpartition("/")[2]
        self.version = str(module._hash or module.info.description)[:16]
        self.index = {label: number for number, label in enumerate(labels)}
        self.real = answer == "number"
        forms = module.features if isinstance(module.features, list) else [module.features]
        if set(forms[0]) != {"predictions", "references"}:
            raise SettingsError(
                f"--metrics {given}: takes {', '.join(forms[0])}; only metrics of predictions and references can be "
                "used."
            )
        every = [(_form(form["predictions"]), _form(form["references"])) for form in forms]
        found, gold = _SHAPES.get(answer, (0, 0))
        fitting = [(one, other) for one, other in every if self._fits(one, other, found, gold)]
        if not fitting:
            own = "float" if self.real else "string"
            takes = " or ".join(f"{_described(one)} and {_described(other)}" for one, other in every)
            raise SettingsError(
                f"--metrics {given}: takes predictions and references of {takes}; the answers of this task "
                f"({answer or 'unknown'}) are {_described((found, own))} and {_described((gold, own))}."
            )
        # Several references are better than one, where the metric takes both.
        (self._found_depth, self._found_kind), (self._gold_depth, self._gold_kind) = max(fitting, key=lambda f: f[1][0])

    def _fits(self, one: tuple[int, str], other: tuple[int, str], found: int, gold: int) -> bool:
        """Whether answers nested `found` and `gold` deep can be passed in this form."""
        kinds = {"float"} if self.real else {"string", "number"} if self.labels and found == 0 else {"string"}
        single = gold == 1 and found == 0  # a text with references: a metric of one reference is given the first
        return one[0] == found and other[0] in {gold, gold - single} and {one[1], other[1]} <= kinds

    def score_all(self, golds: Sequence[Any], predictions: Sequence[Any]) -> Mapping[str, float]:
        """Scores by name, as the script scales them. Raises SettingsError where the script fails."""
        references = [self._gold(gold) for gold in golds]
        try:
            result = self.module.compute(predictions=[self._found(one) for one in predictions], references=references)
        except Exception as error:  # the script's own code
            raise SettingsError(f"--metrics {self.name}: failed: {type(error).__name__}: {error}") from error
        scores = {name: float(value) for name, value in (result or {}).items() if isinstance(value, Real | np.number)}
        return scores or {self.main: math.nan}

    def _gold(self, gold: Any) -> Any:
        if self.real:
            return gold
        if isinstance(gold, str) or self._gold_depth == 1:
            return self.index[gold] if self._gold_kind == "number" else gold
        return gold[0] if gold else ""

    def _found(self, prediction: Any) -> Any:
        if self._found_kind == "number":
            return -1 if prediction is None else self.index[prediction]
        return ("" if self._found_depth == 0 else []) if prediction is None else prediction


def _form(feature: Any) -> tuple[int, str]:
    """(depth, kind) of a feature of `datasets`: how many lists around which kind of value."""
    depth = 0
    while True:
        if isinstance(feature, list):
            (feature,) = feature
        elif hasattr(feature, "feature"):
            feature = feature.feature
        else:
            break
        depth += 1
    kind = str(getattr(feature, "dtype", "unknown"))
    kinds = {"string": "string", "large_string": "string", "float32": "float", "float64": "float"}
    return depth, "number" if kind.startswith("int") else kinds.get(kind, kind)


def _described(form: tuple[int, str]) -> str:
    depth, kind = form
    return f"{'lists of ' * depth}{kind}s"
