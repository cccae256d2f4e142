"""README and docs/ as pages: their length, links, marks and flags, the translation, and what CI reads out of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY
from doc_pages import (
    FURTHER,
    MARKS,
    PAGES,
    TRANSLATION,
    all_blocks,
    anchors,
    blocks,
    links,
    marked,
    plugin_files,
    text,
    without_blocks,
)

OTHERS = {
    "--lora-modules",
    "--max-lora-rank",
    "--enable-lora",
    "--partition",
    "--time",
    "--config_file",
    "--quiet",
    "--machine_rank",
    "--main_process_ip",
    "--num_processes",
    "--cpu",
    "--version",
    "--help",
}
"""Flags of Accelerate, vLLM and Slurm, and those that every command has."""
_FLAG = re.compile(r"(?<![\w-])--[a-zA-Z][\w-]*")


def test_the_front_page_is_short() -> None:
    assert len(text("README.md").splitlines()) <= 250
    assert len(text(TRANSLATION).splitlines()) <= 256  # a paragraph and a command of its own


def test_every_page_of_docs_is_listed_here_and_reached_from_the_front_page() -> None:
    found = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "docs").glob("*.md")}
    assert found == {page for page in PAGES if page.startswith("docs/")} and len(found) >= 10
    reached = {target.partition("#")[0] for target in links("README.md")}
    assert found <= reached


@pytest.mark.parametrize("page", [*PAGES, TRANSLATION, *FURTHER])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    inside = [target for target in links(page) if not re.match(r"https?:", target)]
    for target in inside:
        path, _, anchor = target.partition("#")
        file = ((REPOSITORY / page).parent / path).resolve() if path else REPOSITORY / page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(str(file.relative_to(REPOSITORY))), target
    assert inside or page in ("docs/results.md", "docs/glossary.md", *FURTHER)


def test_the_front_page_answers_twenty_questions() -> None:
    section = text("README.md").partition("## How do I …")[2].partition("\n## ")[0]
    targets = re.findall(r"\]\(((?:docs|recipes)/[^)]+)\)", section)
    assert len(targets) >= 20 and len(set(targets)) >= 20


def test_marks_are_known_and_python_blocks_are_python() -> None:
    every = [block for kind in ("bash", "python", "toml", "ini", "text", "json", "js") for block in all_blocks(kind)]
    assert len(every) >= 40
    assert {block.mark for block in every} <= MARKS
    fences = sum(text(page).count("\n```") for page in PAGES)
    assert fences == 2 * len(every), "a block that the pattern of doc_pages does not see"
    python = [block for block in every if block.kind == "python"]
    assert len(python) >= 8
    for block in python:
        ast.parse(block.body)


def test_every_flag_in_the_pages_exists() -> None:
    known = OTHERS | {f"--{name}" for name in known_names()}
    found: dict[str, str] = {}
    for page in PAGES:
        shown = [
            line
            for block in blocks(page, "bash")
            if block.mark not in ("result", "command: tests")
            for line in block.body.splitlines()
            if line.startswith(("taskswap", "python recipes", "accelerate", "RAY_"))
        ]
        prose = re.findall(r"`[^`\n]*`", without_blocks(page)) if page != "docs/results.md" else []
        found |= {flag: page for line in [*shown, *prose] for flag in _FLAG.findall(line)}
    assert len(found) >= 100
    assert not {flag: page for flag, page in found.items() if flag not in known}


def known_names() -> Iterator[str]:
    """Settings of all tasks, methods, experiments and the server; and the names in the command line's own files."""
    from adapters.applications.customer_service.settings import CustomerServiceSettings
    from adapters.applications.news_monitor.settings import NewsMonitorSettings
    from adapters.applications.recommendation.settings import RecommendationSettings
    from adapters.core import discovery
    from adapters.core.settings import CommonSettings
    from adapters.experiments.comparison.settings import CompareSettings
    from adapters.experiments.continual.settings import ContinualSettings
    from adapters.experiments.continual.update import UpdateSettings
    from adapters.experiments.prompt_lab.settings import LabSettings
    from adapters.serving.http.settings import Settings

    kinds = [
        CommonSettings,
        CompareSettings,
        LabSettings,
        Settings,
        ContinualSettings,
        UpdateSettings,
        CustomerServiceSettings,
        NewsMonitorSettings,
        RecommendationSettings,
    ]
    of_plugins = ("tasks", "methods", "strategies")
    kinds += [discovery.load(kind, name).Settings for kind in of_plugins for name in discovery.names(kind)]
    yield from (field.name for kind in kinds for field in fields(kind))
    for path in (REPOSITORY / "adapters" / "cli").rglob("*.py"):
        yield from re.findall(r"[a-z]\w+", path.read_text(encoding="utf-8"))


def test_the_tests_of_the_promises_are_there() -> None:
    (table,) = re.findall(r"## Promises and their tests\n(.*?)\n## ", text("docs/architecture.md"), re.DOTALL)
    named = re.findall(r"`(tests/[^`]*)`", table)
    assert len(named) >= 15 and all((REPOSITORY / path).exists() for path in named), named


def test_benchmarks_that_results_names_are_there() -> None:
    commands = [words for block in all_blocks("bash", "result") for words in block.commands()]
    scripts = [words[1] for words in commands if words[0] == "python"]
    assert len(scripts) >= 15 and all((REPOSITORY / script).is_file() for script in scripts)
    assert {words[0] for words in commands} == {"python", "taskswap"}
    assert text("docs/results.md").count("| measured | goal | result | hardware | date |") == len(
        list(all_blocks("bash", "result"))
    )


def test_the_metric_of_the_front_page_is_that_of_the_plugin_page() -> None:
    (path,) = plugin_files("README.md")
    assert plugin_files()[path] == plugin_files("README.md")[path]


def test_the_translation_has_the_same_blocks_numbers_links_and_headings() -> None:
    for kind in ("bash", "python", "text"):
        pairs = [[(block.mark, block.body) for block in blocks(page, kind)] for page in ("README.md", TRANSLATION)]
        assert pairs[0] == [pair for pair in pairs[1] if pair[0] != "chinese"]
    english, chinese = text("README.md"), text(TRANSLATION)
    numbers = [sorted(re.findall(r"\d+\.\d+", page)) for page in (english, chinese)]
    assert numbers[0] == numbers[1]
    targets = [sorted(target.partition("#")[0] for target in links(page)) for page in ("README.md", TRANSLATION)]
    assert [t for t in targets[0] if "README" not in t] == [t for t in targets[1] if "README" not in t]
    headings = [len(re.findall(r"^## ", page, re.M)) for page in (english, chinese)]
    assert headings[0] == headings[1] > 5
    rows = [len(re.findall(r"^\|", page, re.M)) for page in (english, chinese)]
    assert rows[0] == rows[1]


def test_the_first_command_of_the_translation_trains_on_chinese_and_is_run_with_the_page_about_it() -> None:
    first = blocks(TRANSLATION, "bash")[0]
    assert first.mark == "chinese"
    assert first.commands()[0] in [words for block in blocks("docs/chinese.md", "bash") for words in block.commands()]


def test_ci_runs_the_test_command_of_the_front_page() -> None:
    assert "command_of_readme tests" in (REPOSITORY / ".ci/run").read_text()
    lines = marked("command: tests").body.strip().splitlines()
    # mypy runs beside the first tests, which wait for processes that they start; its exit code counts too
    assert lines[-1] == "python -m mypy & python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder && wait $!"
    assert 'pip install -q --no-compile -e ".[test]"' in lines
    for tool in ("ruff check", "ruff format --check", "mypy"):
        assert f"python -m {tool}" in " ".join(lines)


def test_the_citation_names_this_version_and_licence() -> None:
    import adapters

    cited = yaml.safe_load(Path(REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["version"], cited["license"]) == (adapters.__version__, "Apache-2.0")
    assert cited["cff-version"] == "1.2.0" and cited["authors"]
