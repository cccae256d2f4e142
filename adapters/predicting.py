"""`python -m adapters predict`: texts, or a file of requests, answered by one artifact."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from adapters.errors import DataError, SettingsError
from adapters.files import new_file

if TYPE_CHECKING:
    from adapters.predictor import Loaded

CHUNK = 512


def predict(given: argparse.Namespace) -> int:
    """`python -m adapters predict`."""
    from adapters.processes import use_all_cores

    if bool(given.text) == (given.input is not None):
        raise SettingsError("Give texts, or --input with a file of them (one of the two).")
    if given.input is not None and (given.input.is_dir() or not given.input.exists()):
        raise DataError(f"--input {given.input}: {'is a folder' if given.input.is_dir() else 'no such file'}.")
    if given.output is not None and (given.output.is_dir() or not given.output.parent.is_dir()):
        raise DataError(f"--output {given.output}: its folder does not exist, or it is a folder itself.")
    use_all_cores()
    loaded = _loaded(given)
    if given.input is None and given.output is None and not given.json:
        return _print_answers(loaded, given.text)
    requests = _requests(given.input) if given.input is not None else _texts(given.text)
    if given.output is None:
        _write_answers(loaded, requests, sys.stdout)
        return 0
    with new_file(given.output) as stream:
        _write_answers(loaded, requests, stream)
    return 0


def _loaded(given: argparse.Namespace) -> Loaded:
    """An artifact by itself; a plain PEFT folder in a bank, which checks it as far as that can be done."""
    from adapters import peft_folder, predictor

    if not peft_folder.is_plain(given.artifact):
        for flag in ("labels", "task"):
            if getattr(given, flag) is not None:
                raise SettingsError(f"--{flag}: is for plain PEFT folders; the card of {given.artifact} says it.")
        return predictor.load(given.artifact, base=given.base, plugin_dirs=given.plugin_dir)
    from adapters.bank import AdapterBank

    bank = AdapterBank(given.base or peft_folder.base_of(given.artifact), plugin_dirs=given.plugin_dir)
    bank.load("adapter", given.artifact, task=given.task, labels=given.labels)
    adapter = bank.residency.find("adapter")
    return predictor.Loaded(adapter.card, adapter.placed.task, bank.predictor("adapter"))


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
