"""Train, or only prompt, any method on any task: what a recipe does, with the defaults of the task and the method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from adapters.core import arguments, discovery, flags
from adapters.core.settings import CommonSettings, join

HELP = "run a method on a task: train it, score it, save the artifact"
GROUP = "Train and compare"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides which other flags there are."""

    task: str
    """Task to learn."""
    method: str
    """Method to learn it with."""
    plugin_dir: list[str] = field(default_factory=list)
    """Folders with methods, tasks, metrics and prompts of your own."""


def settings() -> type:
    """The class of all flags, whatever the task and the method."""
    plugins = [discovery.load(kind, name).Settings for kind in ("tasks", "methods") for name in discovery.names(kind)]
    joined: type = join(CommonSettings, *plugins, Settings)
    return joined


def run(argv: Sequence[str]) -> int:
    """Run `taskswap train`."""
    from adapters.recipe import start

    plugins = flags.peek(argv, "plugin_dir")
    tasks, methods = discovery.names("tasks", plugins), discovery.names("methods", plugins)
    if flags.asks_for_help(argv) and not {"task", "method"} <= flags.given(argv):
        return _show_pairs(tasks, methods)
    task, argv = flags.choose(argv, "task", tasks, needed=True)
    method, argv = flags.choose(argv, "method", methods, needed=True)
    doc, defaults = f"The method {method} on the task {task}.", {"output_dir": f"runs/{method}_{task}"}
    with start(doc, task=task, method=method, defaults=defaults, argv=argv) as started:
        read = started.read_task()
        predictor = started.fit(read, started.build_method())
        started.save_and_print(started.evaluate(predictor))
    return 0


def _show_pairs(tasks: Sequence[str], methods: Sequence[str]) -> int:
    """Print the help that lists tasks and methods."""
    lines = [
        "Run a method on a task: train it, score it, save the artifact.",
        "",
        f"Tasks: {', '.join(tasks)}",
        "",
        f"Methods: {', '.join(methods)}",
        "",
        "All other flags depend on both: taskswap train --task ner --method lora --help",
        "",
        "A run's settings.json (or a .toml or .yaml of settings) can be given instead of flags.",
    ]
    arguments.parse(Settings, {}, "\n".join(lines), ["--help"], program="taskswap train")
    raise AssertionError("--help ends the command")
