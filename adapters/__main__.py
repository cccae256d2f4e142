"""`python -m adapters …`: use what recipes leave, and start recipes in several processes."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from adapters.errors import DataError, SettingsError, UserError, did_you_mean
from adapters.files import new_file

if TYPE_CHECKING:
    from adapters.predictor import Loaded

CHUNK = 512


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 done, 2 the user's input, 130 Ctrl-C)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser, commands = _parser()
    if argv and not argv[0].startswith("-") and argv[0] not in commands:
        print(f"{argv[0]}: no such command: {did_you_mean(argv[0], commands)}", file=sys.stderr)
        return 2
    if argv[:1] == ["run"] and argv[1:] not in ([], ["-h"], ["--help"]):  # its flags hang on the method and the task
        return _guarded(lambda: _run(argv[1:]))
    if argv[:1] == ["compare"] and any(word.partition("=")[0] == "--task" for word in argv):
        return _guarded(lambda: _compare_task(argv[1:]))
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
    predict = commands.add_parser("predict", help="answer texts, or a file of them, with an artifact")
    predict.add_argument("artifact", type=Path, help="the artifact folder of a run")
    predict.add_argument("text", nargs="*", help="texts to answer")
    predict.add_argument("--input", type=Path, help="file of requests: JSONL, or .txt with a text a line")
    predict.add_argument(
        "--output", type=Path, help="file for the answers, one JSON object a line (default: the screen)"
    )
    predict.add_argument("--base", help="base model by path, alias or Hub id (default: the one the artifact names)")
    predict.add_argument("--json", action="store_true", help="print answers as JSON lines")
    predict.set_defaults(run=_predict)
    run = commands.add_parser("run", help="any task by any method, yours too: --task T --method M and a recipe's flags")
    run.add_argument("settings", nargs="+", help="settings.json of a run (its output folder must be free), or flags")
    compare = commands.add_parser("compare", help="hold finished runs side by side, or run a comparison: --task T …")
    compare.add_argument("runs", type=Path, nargs="+", help="folders of runs on the same test examples; or --task T "
                         "and the flags of a comparison recipe")  # fmt: skip
    compare.add_argument("--output_dir", "--output-dir", type=Path, help="folder for comparison.json, .md and .html")
    compare.set_defaults(run=_compare)
    inspect = commands.add_parser("inspect", help="what is in an artifact, and what is wrong with it")
    inspect.add_argument("artifact", type=Path)
    inspect.set_defaults(run=_inspect)
    prompts = commands.add_parser("prompts", help="list the prompts that come with the project")
    prompts.set_defaults(run=_prompts)
    for command in (predict, prompts):
        command.add_argument(
            "--plugin_dir", "--plugin-dir", nargs="*", default=[], help="folders with methods, tasks, prompts of yours"
        )
    launch = commands.add_parser("launch", help="run a recipe in several processes on this machine")
    launch.add_argument("--num_processes", "--num-processes", type=int, required=True)
    return parser, dict(commands.choices)


def _predict(given: argparse.Namespace) -> int:
    from adapters import predictor
    from adapters.processes import use_all_cores

    if bool(given.text) == (given.input is not None):
        raise SettingsError("Give texts, or --input with a file of them (one of the two).")
    if given.input is not None and (given.input.is_dir() or not given.input.exists()):
        raise DataError(f"--input {given.input}: {'is a folder' if given.input.is_dir() else 'no such file'}.")
    if given.output is not None and (given.output.is_dir() or not given.output.parent.is_dir()):
        raise DataError(f"--output {given.output}: its folder does not exist, or it is a folder itself.")
    use_all_cores()
    loaded = predictor.load(given.artifact, base=given.base, plugin_dirs=given.plugin_dir)
    if given.input is None and given.output is None and not given.json:
        return _print_answers(loaded, given.text)
    requests = _requests(given.input) if given.input is not None else _texts(given.text)
    if given.output is None:
        _write_answers(loaded, requests, sys.stdout)
        return 0
    with new_file(given.output) as stream:
        _write_answers(loaded, requests, stream)
    return 0


def _print_answers(loaded: Loaded, texts: Sequence[str]) -> int:
    from rich.console import Console

    from adapters.report import highlight

    console = Console(highlight=False, soft_wrap=True)
    for answer in loaded.answer(texts):
        if "error" in answer:
            console.print(answer["error"], markup=False)
        elif loaded.task.highlights:
            console.print(highlight(answer["output"]))
        else:
            console.print(json.dumps(answer["output"], ensure_ascii=False), markup=False)
    return 0


def _requests(path: Path) -> Iterator[Any]:
    """Requests of a file: texts of a .txt, objects of a JSONL; a line that is no JSON keeps its place as a fault."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as stream:
        for number, line in enumerate(stream, 1):
            line = line.rstrip("\r\n")
            if path.suffix == ".txt":
                yield {"id": str(number), "inputs": {"text": line}}
            elif line.strip():
                yield _request(line, f"{path}:{number}", number)


def _texts(texts: Sequence[str]) -> Iterator[Any]:
    """Requests of texts, with ids that stay apart however they are batched."""
    return ({"id": str(number), "inputs": {"text": text}} for number, text in enumerate(texts))


def _request(line: str, where: str, number: int) -> Any:
    try:
        value = json.loads(line)
    except ValueError as error:
        return {"id": str(number), "inputs": DataError(f"{where}: not JSON ({error}).")}
    if isinstance(value, dict):
        return {"id": str(number), **value}
    return {"id": str(number), "inputs": {"text": value}}


def _write_answers(loaded: Loaded, requests: Iterator[Any], stream: IO[str]) -> None:
    """Answers as JSON lines in the order of the requests. Says how many could not be answered; they keep their line."""
    done = failed = 0
    while chunk := list(islice(requests, CHUNK)):
        for answer in loaded.answer(chunk):
            done, failed = done + 1, failed + ("error" in answer)
            stream.write(json.dumps(answer, ensure_ascii=True) + "\n")
        if stream is not sys.stdout:
            print(f"\r{done:,} answered", end="", file=sys.stderr, flush=True)
    if stream is not sys.stdout:
        print(f"\r{done:,} answered, {failed:,} of them with an error", file=sys.stderr)


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


def _inspect(given: argparse.Namespace) -> int:
    from adapters import artifact

    card = artifact.read_card(given.artifact)
    scores = card["scores"]
    print(f"{card['method']['name']} for {card['task']['name']} on {card['base']['name']}")
    print(f"labels: {', '.join(card['task']['labels'])}")
    print(f"{scores['dataset']} {scores['split']} ({scores['n']:,} examples): {scores['metric']} {scores['score']} "
          f"{100 * scores['value']:.2f} ({100 * scores['low']:.2f} to {100 * scores['high']:.2f})")  # fmt: skip
    print("settings: " + json.dumps(card["method"]["settings"]))
    for file, tensors in card["tensors"].items():
        print(f"{file}: {len(tensors)} tensors, {sum(map(math.prod, tensors.values())):,} numbers")
    artifact.verify(given.artifact)
    print("verified: every file is as it was saved")
    return 0


def _prompts(given: argparse.Namespace) -> int:
    import tomllib

    from adapters.prompting import template

    for name, path in sorted(template.paths(given.plugin_dir).items()):
        prompt = tomllib.loads(path.read_text(encoding="utf-8"))
        print(f"{name:24} {prompt.get('task', ''):16} {prompt.get('note', '')}")
    return 0


def _launch_arguments(argv: Sequence[str], parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    at = next((i for i, word in enumerate(argv) if word.endswith(".py")), len(argv))
    return parser.parse_args(argv[:at]), list(argv[at:])


def _launch(given: argparse.Namespace, recipe: Sequence[str]) -> int:
    from adapters.processes import launch

    return launch(given.num_processes, recipe)


if __name__ == "__main__":
    sys.exit(main())
