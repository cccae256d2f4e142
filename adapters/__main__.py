"""`python -m adapters …`: use what recipes leave, and start recipes in several processes."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adapters.errors import SettingsError, UserError, did_you_mean


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 done, 2 the user's input, 130 Ctrl-C)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser, commands = _parser()
    if argv and not argv[0].startswith("-") and argv[0] not in commands:
        print(f"{argv[0]}: no such command: {did_you_mean(argv[0], commands)}", file=sys.stderr)
        return 2
    if argv[:1] == ["run"] and argv[1:] not in ([], ["-h"], ["--help"]):  # its flags hang on the method and the task
        return _guarded(lambda: _run(argv[1:]))
    if argv[:1] == ["serve"]:  # its flags are those of its settings
        return _guarded(lambda: _serve(argv[1:]))
    if argv[:1] == ["compare"] and any(word.partition("=")[0] == "--task" for word in argv):
        return _guarded(lambda: _compare_task(argv[1:]))
    if argv[:1] == ["prompts"] and argv[1:] and not argv[1].startswith("-"):
        return _guarded(lambda: _show_prompt(argv[1], argv[2:]))
    if argv[:1] == ["launch"]:  # all behind the recipe's name is the recipe's
        given, recipe = _launch_arguments(argv[1:], commands["launch"])
        return _guarded(lambda: _launch(given, recipe))
    given = _parsed(parser, argv)
    if not argv:
        parser.print_help()
        return 0
    return _guarded(lambda: given.run(given))


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; texts may stand behind flags too, where argparse no longer takes them for what they are."""
    given, rest = parser.parse_known_args(argv)
    if rest and not (hasattr(given, "text") and all(not word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        given.text += rest
    return given


def _guarded(run: Callable[[], int]) -> int:
    try:
        return run()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone (`| head`), which is no fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(prog="python -m adapters", description=__doc__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_artifact_commands(commands)
    run = commands.add_parser("run", help="any task by any method, yours too: --task T --method M and a recipe's flags")
    run.add_argument("settings", nargs="+", help="settings.json of a run (its output folder must be free), or flags")
    compare = commands.add_parser("compare", help="hold finished runs side by side, or run a comparison: --task T …")
    compare.add_argument("runs", type=Path, nargs="+", help="folders of runs on the same test examples; or --task T "
                         "and the flags of a comparison recipe")  # fmt: skip
    compare.add_argument("--output_dir", "--output-dir", type=Path, help="folder for comparison.json, .md and .html")
    compare.set_defaults(run=_compare)
    prompts = commands.add_parser("prompts", help="list the prompts, or show one filled with real examples")
    prompts.add_argument("name", nargs="?", help="a prompt to show, by name or as a .toml file; behind "
                         "it --shots, --examples, and a recipe's flags for base and data (NAME --help)")  # fmt: skip
    prompts.set_defaults(run=_list_prompts)
    commands.add_parser("serve", help="answer over HTTP, each request under an adapter of its own", add_help=False)
    _add_launch(commands.add_parser("launch", help="run a recipe in several processes, on one machine or on many"))
    for name in ("predict", "inspect", "merge", "prompts"):
        commands.choices[name].add_argument(
            "--plugin_dir", "--plugin-dir", nargs="*", default=[], help="folders with methods, tasks, prompts of yours"
        )
    return parser, dict(commands.choices)


def _add_launch(launch: argparse.ArgumentParser) -> None:
    """Accelerate's names."""
    launch.add_argument("--config_file", "--config-file", help="of accelerate config, or one of accelerate_configs/")
    launch.add_argument("--cpu", action="store_true", help="on CPUs, whatever the config says")
    of_all = {"num_processes": "of all machines", "num_machines": "how many", "machine_rank": "this one's, from 0",
              "main_process_port": "at which processes meet"}  # fmt: skip
    for name, told in of_all.items():
        launch.add_argument(f"--{name}", f"--{name.replace('_', '-')}", type=int, help=told)
    launch.add_argument("--main_process_ip", "--main-process-ip", help="of machine 0")


def _add_artifact_commands(commands: Any) -> None:
    """The commands that take what a run has left."""
    predict = commands.add_parser("predict", help="answer texts, or a file of them, with an artifact")
    predict.add_argument("artifact", type=Path, help="the artifact folder of a run")
    predict.add_argument("text", nargs="*", help="texts to answer")
    predict.add_argument("--input", type=Path, help="file of requests: JSONL, or .txt with a text a line")
    predict.add_argument(
        "--output", type=Path, help="file for the answers, one JSON object a line (default: the screen)"
    )
    predict.add_argument("--base", help="base model by path, alias or Hub id (default: the one the artifact names)")
    predict.add_argument("--labels", nargs="+", help="of a plain PEFT folder: its labels in the head's order")
    predict.add_argument("--task", help="of a plain PEFT folder: the task, where its config does not say")
    predict.add_argument("--json", action="store_true", help="print answers as JSON lines")
    predict.set_defaults(run=_predict)
    inspect = commands.add_parser("inspect", help="what is in an artifact, and what is wrong with it")
    inspect.add_argument("artifact", type=Path, help="an artifact, or a plain PEFT folder")
    inspect.add_argument("--base", help="base model to check it against (default: the one that it names)")
    inspect.set_defaults(run=_inspect)
    merge = commands.add_parser("merge", help="merge an adapter into its base, or combine LoRA adapters of one task")
    merge.add_argument("artifacts", type=Path, nargs="+", help="one: merged into its base; several: combined into one")
    merge.add_argument("--output_dir", "--output-dir", type=Path, required=True, help="folder for the new artifact")
    merge.add_argument("--base", help="base model by path, alias or Hub id (default: the one the artifact names)")
    merge.add_argument("--how", default="linear", help="linear, svd, ties, dare_linear or dare_ties")
    merge.add_argument("--weights", nargs="+", type=float, help="one an adapter (default: equal, or chosen on dev)")
    merge.add_argument("--density", type=float, help="share of each change that ties and dare keep")
    merge.add_argument("--seed", type=int, default=0, help="of what dare drops")
    merge.add_argument("--dataset_name", "--dataset-name", help="choose the weights on this dataset's dev split")
    merge.add_argument("--validation_file", "--validation-file", help="choose the weights on this file")
    merge.add_argument("--max_eval_samples", "--max-eval-samples", type=int, help="use so many dev examples")
    merge.set_defaults(run=_merge)


def _predict(given: argparse.Namespace) -> int:
    from adapters.predicting import predict

    return predict(given)


def _run(argv: Sequence[str]) -> int:
    """The five verbs, with settings that name their task and method."""
    from adapters import discovery, flags
    from adapters.recipe import start

    plugins = flags.peek(argv, "plugin_dir")
    chosen, argv = flags.choose(argv, "task", discovery.names("tasks", plugins), needed=True)
    method, argv = flags.choose(argv, "method", discovery.names("methods", plugins), needed=True)
    with start(None, task=chosen, method=method, defaults={"output_dir": f"runs/{method}_{chosen}"}, argv=argv) as run:
        task = run.read_task()
        predictor = run.fit(task, run.build_method())
        run.save_and_print(run.evaluate(predictor))
    return 0


def _compare_task(argv: Sequence[str]) -> int:
    """A comparison of any task, as its recipe makes it."""
    from adapters import discovery, flags
    from adapters.recipe import compare

    task, argv = flags.choose(argv, "task", discovery.names("tasks", flags.peek(argv, "plugin_dir")), needed=True)
    with compare(None, task=task, defaults={"output_dir": f"runs/compare_{task}"}, argv=argv) as comparison:
        comparison.check()
        comparison.run_cells()
        comparison.save_and_print()
    return 0


def _compare(given: argparse.Namespace) -> int:
    from adapters.comparison import results
    from adapters.comparison.output import save_and_print

    records = [results.load(folder) for folder in given.runs]
    results.check_alike(records)
    save_and_print(results.grouped(records), given.output_dir, command="python -m adapters compare")
    return 0


def _serve(argv: Sequence[str]) -> int:
    try:
        from adapters.server.serve import serve
    except ImportError as error:
        if (error.name or "").startswith("adapters"):
            raise
        raise SettingsError(f"serve needs {error.name}: pip install 'taskswap[serve]'.") from error
    return serve(argv)


def _inspect(given: argparse.Namespace) -> int:
    from adapters.inspection import inspect

    return inspect(given.artifact, given.base, given.plugin_dir)


def _merge(given: argparse.Namespace) -> int:
    from adapters.merge_command import merge_command

    return merge_command(given)


def _list_prompts(given: argparse.Namespace) -> int:
    from adapters.previewing import list_prompts

    return list_prompts(given.plugin_dir)


def _show_prompt(name: str, argv: Sequence[str]) -> int:
    from adapters.previewing import preview

    return preview(name, argv)


def _launch_arguments(argv: Sequence[str], parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    at = next((i for i, word in enumerate(argv) if word.endswith(".py")), len(argv))
    return parser.parse_args(argv[:at]), list(argv[at:])


def _launch(given: argparse.Namespace, recipe: Sequence[str]) -> int:
    from adapters.launching import Layout, launch

    layout = Layout(**{field.name: getattr(given, field.name) for field in dataclasses.fields(Layout)})
    return launch(layout, recipe, config_file=given.config_file, cpu=given.cpu)


if __name__ == "__main__":
    sys.exit(main())
