"""Measure the tables of docs/results.md again: each of their commands, one file a command.

    python -m tests.benchmarks --list
    python -m tests.benchmarks --all --resume              # days on two cores; what has ended is left out
    python -m tests.benchmarks seeds "default comparison"  # tables whose title or command has one of these words

A file has the title, the command, commit, hardware and time, then all that the command printed. It is called `.part`
until the command has ended well. Commands run one after the other: nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results.md"
KEPT = "kept, and taken up again"
"""What the help of `--folder` says in the scripts that take up a run where it ended."""
_PART = re.compile(r"^### (?P<title>.+?)$|^<!-- result -->\n```bash\n(?P<body>.*?)^```$", re.M | re.S)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A command of a table.

    Attributes:
        title: of the table.
        words: the command.
    """

    title: str
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of its file."""
        shown = shlex.join(self.words).removeprefix("python ").removeprefix("tests/benchmarks/")
        return re.sub(r"[^a-z0-9]+", "-", shown.replace(".py", "").lower()).strip("-")[:120]

    def command(self, folder: Path) -> list[str]:
        """What is run. It keeps its runs below the folder, and takes up those that were stopped, or replaces them."""
        own = self.words[0] != "python"
        words = [sys.executable, "-m", "adapters", *self.words[1:]] if own else [sys.executable, *self.words[1:]]
        kept = str(folder / f"{self.name}-runs")
        script = REPOSITORY / self.words[1]
        if not own and script.parent.name == "benchmarks":
            takes_up = KEPT in script.read_text() and "--folder" not in words
            return [*words, "--folder", kept] if takes_up else words
        words += [] if "--output_dir" in words else ["--output_dir", kept]
        resumes = any(name in self.words[1] for name in ("compare", "lab", "continual"))
        return words if resumes else [*words, "--overwrite_output_dir"]


def measurements(text: str) -> Iterator[Measurement]:
    """The commands of a page's tables, in order, each once."""
    title, seen = "", set()
    for found in _PART.finditer(text):
        if found["title"]:
            title = found["title"]
            continue
        for line in found["body"].replace("\\\n", " ").splitlines():
            words = tuple(shlex.split(line))
            if words and words not in seen:
                seen.add(words)
                yield Measurement(title=title, words=words)


def measure(one: Measurement, folder: Path) -> int:
    """Run a command; its file has what it printed. Returns its exit code."""
    from adapters.core.environment import hardware

    part, done = folder / f"{one.name}.part", folder / f"{one.name}.txt"
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.strip()
    begin = time.perf_counter()
    with part.open("w", encoding="utf-8") as file:
        head = {"title": one.title, "command": shlex.join(one.words), "commit": commit, "hardware": hardware()}
        file.write(json.dumps({**head, "began": time.strftime("%Y-%m-%dT%H:%M:%S%z")}) + "\n")
        file.flush()
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        with subprocess.Popen(
            one.command(folder),
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            for line in process.stdout or ():
                file.write(line)
                file.flush()
                print(line, end="", flush=True)
        code = process.returncode
        file.write(json.dumps({"exit_code": code, "seconds": round(time.perf_counter() - begin, 1)}) + "\n")
    if not code:
        part.replace(done)
    return code


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="of a title or a command")
    parser.add_argument("--all", action="store_true", help="every table")
    parser.add_argument("--list", action="store_true", help="print the commands, with what has ended, and end")
    parser.add_argument("--resume", action="store_true", help="leave out what has ended")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "runs" / "benchmarks")
    given = parser.parse_args()
    if not (given.words or given.all or given.list):
        parser.error("name tables, or give --all or --list")
    folder = given.folder.absolute()
    chosen = [
        one
        for one in measurements(RESULTS.read_text(encoding="utf-8"))
        if given.all or not given.words or any(word in f"{one.title} {shlex.join(one.words)}" for word in given.words)
    ]
    if not chosen:
        parser.error(f"no table has {' or '.join(given.words)}: --list shows all")
    if given.list:
        for one in chosen:
            print(
                f"{'done' if (folder / f'{one.name}.txt').is_file() else '    '}  {one.title}: {shlex.join(one.words)}"
            )
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for number, one in enumerate(chosen, 1):
        if given.resume and (folder / f"{one.name}.txt").is_file():
            continue
        print(f"[{number}/{len(chosen)}] {one.title}: {shlex.join(one.words)}", flush=True)
        if measure(one, folder):
            failed.append(one)
    for one in failed:
        print(f"failed: {shlex.join(one.words)}: {folder / f'{one.name}.part'}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
