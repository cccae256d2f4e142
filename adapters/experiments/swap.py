"""Adapters of several tasks trained where they are missing, then answering together from one base."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.artifacts import artifact
from adapters.core import arguments
from adapters.core.errors import ArtifactError, SettingsError, numbered
from adapters.core.progress import say
from adapters.core.settings import CommonSettings, join
from adapters.serving.bank.bank import AdapterBank, Request

CHOICES = 10_000
"""Times that an adapter is chosen, to time it."""


@dataclass(frozen=True, kw_only=True)
class WantedAdapter:
    """An adapter by name: how it is trained where it is not there."""

    task: str
    method: str
    dataset: str
    max_train_samples: int


@dataclass(frozen=True, kw_only=True)
class SwapSettings:
    """What is swapped."""

    datasets: list[str] = dataclasses.field(default_factory=list)
    """Datasets in the place of the recipe's, one for each adapter, in its order."""


class Swap:
    """Adapters around one base: `train_missing`, `load`, `answer`."""

    def __init__(
        self,
        doc: str | None,
        wanted: Mapping[str, Mapping[str, Any]],
        defaults: Mapping[str, Any],
        argv: Sequence[str],
        start: Callable[..., Any],
    ) -> None:
        """Args:
        doc: shown by --help.
        wanted: the fields of `WantedAdapter`, by the adapter's name.
        defaults: what differs from the common settings.
        argv: the flags.
        start: `recipe.start`, which trains one.
        """
        self.start = start
        self.wanted = {name: WantedAdapter(**one) for name, one in wanted.items()}
        kind = join(CommonSettings, SwapSettings)
        self.settings = arguments.parse_training(kind, defaults, (doc or "").strip(), argv)
        self.settings.check()
        if self.settings.datasets:
            if len(self.settings.datasets) != len(wanted):
                raise SettingsError(f"--datasets: expected {len(wanted)}, one for each of {', '.join(wanted)}.")
            given = zip(self.wanted.items(), self.settings.datasets, strict=True)
            self.wanted = {name: dataclasses.replace(one, dataset=data) for (name, one), data in given}

    def folder(self, name: str) -> Path:
        """The folder of an adapter's run."""
        return Path(self.settings.output_dir) / name

    def train_missing(self) -> None:
        """Train the adapters that are not there whole."""
        for name, one in self.wanted.items():
            if not self.settings.overwrite_output_dir and self._is_there(name):
                say(f"{name}: {self.folder(name) / 'artifact'} is there")
                continue
            say(f"{name}: training {one.method} for {one.task} on {one.dataset}")
            defaults = {
                **self._common(),
                "min_train_steps": self.settings.min_train_steps,
                "output_dir": str(self.folder(name)),
                "overwrite_output_dir": True,
                "dataset_name": one.dataset,
                "max_train_samples": self.settings.max_train_samples or one.max_train_samples,
            }
            with self.start(None, task=one.task, method=one.method, defaults=defaults, argv=[]) as run:
                task = run.read_task()
                run.save_and_print(run.evaluate(run.fit(task, run.build_method())))

    def _common(self) -> dict[str, Any]:
        """The settings that the user or the recipe has changed; a method keeps its own defaults of the others."""
        usual, own = CommonSettings(), {field.name for field in dataclasses.fields(CommonSettings)}
        return {
            name: value
            for name, value in arguments.as_dict(self.settings).items()
            if name in own and value != getattr(usual, name)
        }

    def _is_there(self, name: str) -> bool:
        """Whether a run of the same task, method, data and base has left a whole artifact there."""
        try:
            artifact.verify(self.folder(name) / "artifact")
            was = json.loads((self.folder(name) / "settings.json").read_text(encoding="utf-8"))
        except (ArtifactError, OSError, ValueError):
            return False
        one = self.wanted[name]
        asked = {
            "task": one.task,
            "method": one.method,
            "dataset_name": one.dataset,
            "model_name_or_path": self.settings.model_name_or_path,
            "max_train_samples": self.settings.max_train_samples or one.max_train_samples,
        }
        return all(was.get(key) == value for key, value in asked.items())

    def load(self) -> AdapterBank:
        """A bank with all of them."""
        bank = AdapterBank(self.settings.model_name_or_path, plugin_dirs=self.settings.plugin_dir)
        for name in self.wanted:
            begin = time.perf_counter()
            info = bank.load(name, self.folder(name) / "artifact")
            took = 1000 * (time.perf_counter() - begin)
            size = info["bytes"] / 1e6
            say(f"{name}: {info['method']} for {info['task']}, {size:.1f} MB, verified and loaded in {took:.0f} ms")
        return bank

    def answer(self, bank: AdapterBank, requests: Sequence[tuple[str, str]]) -> None:
        """Answer texts of several adapters in one batch, print the answers and what swapping costs."""
        from rich.console import Console

        from adapters.evaluation.report.run_report import highlight

        asked = [Request(name, text) for name, text in requests]
        bank.predict(asked)  # once unmeasured: the first pass of a process is slow
        begin = time.perf_counter()
        answers = bank.predict(asked)
        took = 1000 * (time.perf_counter() - begin)
        console = Console(highlight=False, soft_wrap=True)
        for found in answers:
            output = found["output"]
            shown = highlight(output) if "entities" in output else json.dumps(_short(output), ensure_ascii=False)
            console.print(f"[{found['adapter']}]", shown, markup=False)
        console.print(
            f"\n{numbered(len(answers), 'texts')}, {numbered(len(self.wanted), 'adapters')}, one batch: {took:.0f} ms"
        )
        names = [*self.wanted]
        begin = time.perf_counter()
        for number in range(CHOICES):
            with bank.lease(names[number % len(names)]):
                pass
        each = 1e6 * (time.perf_counter() - begin) / CHOICES
        console.print(f"switching adapters: {each:.1f} µs (an index, nothing of the model changes)")


def _short(output: Mapping[str, Any]) -> dict[str, Any]:
    """An output without what only programs read."""
    return {name: value for name, value in output.items() if name not in ("scores", "tokens", "tags")}
