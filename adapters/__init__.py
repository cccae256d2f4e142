"""taskswap: fine-tune, adapt or prompt one base model; compare fairly; serve many tasks from one copy.

    import adapters

    run = adapters.train(task="ner", method="lora", train="train.conll", test="test.conll")
    ner = adapters.load(run.artifact)
    ner("Angela Merkel visited Paris.")

The names below are imported when they are first used, so that `import adapters` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from adapters.core.processes import limit_spinning

if TYPE_CHECKING:
    from adapters.artifacts.explaining.base.explanation import Explanation as Explanation
    from adapters.artifacts.loaded import LoadedArtifact as LoadedArtifact
    from adapters.core.errors import UserError as UserError
    from adapters.experiments.comparison.result import ComparisonResult as ComparisonResult
    from adapters.experiments.interface import compare as compare
    from adapters.experiments.interface import evaluate as evaluate
    from adapters.experiments.interface import explain as explain
    from adapters.experiments.interface import load as load
    from adapters.experiments.interface import train as train
    from adapters.experiments.run_result import RunResult as RunResult
    from adapters.serving.bank.bank import AdapterBank as AdapterBank
    from adapters.serving.bank.bank import Sampling as Sampling
    from adapters.serving.bank.router import Router as Router
    from adapters.serving.http.client import Client as Client
    from adapters.tasks.base.requests import Request as Request

__version__ = "0.2.0"

_PUBLIC = {
    "AdapterBank": "serving.bank.bank",
    "Client": "serving.http.client",
    "ComparisonResult": "experiments.comparison.result",
    "Explanation": "artifacts.explaining.base.explanation",
    "LoadedArtifact": "artifacts.loaded",
    "Request": "tasks.base.requests",
    "Router": "serving.bank.router",
    "RunResult": "experiments.run_result",
    "Sampling": "serving.bank.bank",
    "UserError": "core.errors",
    "compare": "experiments.interface",
    "evaluate": "experiments.interface",
    "explain": "experiments.interface",
    "load": "experiments.interface",
    "train": "experiments.interface",
}

__all__ = ["__version__", *_PUBLIC]

limit_spinning()  # before torch is imported


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'adapters' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"adapters.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
