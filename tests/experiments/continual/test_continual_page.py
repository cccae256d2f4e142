"""The page of a continual experiment: the answer first, the results, and nothing that runs off a screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium
from continual_runs import TASKS, conditions, write_run
from rich.cells import cell_len
from rich.console import Console
from selenium import webdriver

from adapters.evaluation.report.tables import rich_table
from adapters.experiments.continual import plots
from adapters.experiments.continual.page import page
from adapters.experiments.continual.results import ConditionRuns
from adapters.experiments.continual.summary import summarise
from adapters.experiments.continual.table import columns, cost_columns, entries, measured_columns
from adapters.experiments.continual.verdict import sentences

LONG = "a_strategy_of_a_plugin_with_a_very_long_name"
TEN = {f"domain_{i}" if i else "a_domain_whose_name_is_long": 40 for i in range(10)}


def written(folder: Path, tasks: dict[str, int], kinds: list[dict[str, Any]], runs: int) -> list[ConditionRuns]:
    """A condition of each kind, with an order for each run."""
    order = list(tasks)
    made = [
        write_run(
            folder / f"{number}-{run}",
            ends={task: kind["level"] - 0.02 * i for i, task in enumerate(tasks)},
            order=[*order[run:], *order[:run]],
            number=run,
            sizes=tasks,
            **{name: value for name, value in kind.items() if name != "level"},
        )
        for number, kind in enumerate(kinds)
        for run in range(runs)
    ]
    return conditions(made, planned=runs)


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """A small experiment of one run each, and a large one: long names, ten tasks, routing, two methods."""
    folder = tmp_path_factory.mktemp("runs")
    few: list[dict[str, Any]] = [
        {"strategy": "sequential", "level": 0.55},
        {"strategy": "replay", "level": 0.8, "stored": 40_000},
        {"strategy": "joint", "level": 0.9, "at_once": True},
    ]
    many: list[dict[str, Any]] = [
        {"strategy": LONG, "level": 0.6, "stored": 90_000_000, "method": "full"},
        *({"strategy": "replay", "level": 0.75 + 0.01 * k, "settings": {"memory": 5 * 4**k}} for k in range(2)),
        {"strategy": "adapter_per_task", "level": 0.85, "routed": 0.9, "stored": 4_000_000},
        {"strategy": "joint", "level": 0.9, "at_once": True},
        {"strategy": "separate", "level": 0.86, "notes": {"bound": "a model for each task"}, "stored": 900_000_000},
    ]
    large = written(folder / "many", TEN, many, 2)
    large[0] = ConditionRuns(records=large[0].records[:1], planned=2)
    found = {"few": written(folder / "few", TASKS, few, 1), "many": large}
    return {name: summarise(own, resamples=1000) for name, own in found.items()}


@pytest.fixture(scope="module")
def made(summaries: dict[str, dict[str, Any]]) -> dict[str, str]:
    failures = [("sequential, order 1", f"OSError: /{'folder/' * 60}")]
    repeat = {"command": "taskswap continual x.toml", "settings": {"a": "b" * 300}}
    return {name: page(summary, sentences(summary), failures, repeat) for name, summary in summaries.items()}


@pytest.fixture(scope="module")
def chrome() -> Iterator[webdriver.Chrome]:
    with chromium() as found:
        yield found


def test_nothing_runs_off_a_wide_or_a_narrow_screen(
    chrome: webdriver.Chrome, made: dict[str, str], tmp_path: Path
) -> None:
    for name, text in made.items():
        path = tmp_path / f"{name}.html"
        path.write_text(text, encoding="utf-8")
        for width in (1280, 390):
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
            chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            chrome.get(path.as_uri())
            for _ in range(2):  # as it is opened, and then with all that is folded
                across, table, room = chrome.execute_script(
                    "const results = document.querySelector('.scroll');"
                    "return [document.documentElement.scrollWidth, results.scrollWidth, results.clientWidth]"
                )
                assert across <= width and table <= room, (name, width, across, table, room)
                chrome.execute_script("document.querySelectorAll('details').forEach((part) => (part.open = true))")


def test_a_question_mark_opens_how_the_number_was_made(
    chrome: webdriver.Chrome, made: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    path.write_text(made["many"], encoding="utf-8")
    chrome.get(path.as_uri())
    assert not chrome.execute_script("return document.querySelector('#how').open")
    chrome.execute_async_script(
        "document.querySelector('.cards a[href=\"#how-forgetting\"]').click(); setTimeout(arguments[0], 50)"
    )
    assert chrome.execute_script("return document.getElementById('how-forgetting').checkVisibility()")


def test_the_answer_comes_first_and_every_number_has_its_paragraph(
    summaries: dict[str, Any], made: dict[str, str]
) -> None:
    for name, summary in summaries.items():
        text, found = made[name], entries(summary)
        marks = ("task-incremental", 'class="answer"', "1 run failed", 'class="sortable cards"', "<svg", "<details")
        places = [text.index(part) for part in marks]
        assert places[1:4] == sorted(places[1:4]) and places[0] < places[1] and places[3] < places[5]
        for column in [*columns(found, summary["title"]), *measured_columns(summary), *cost_columns(summary)]:
            assert text.count(f'id="how-{column.about}"') == 1, column.title
        assert text.count("task-incremental") >= 4, "the scenario is named at each table"
        shown = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text, flags=re.S)
        assert not re.search(r"\bnan\b", shown, flags=re.I)


def test_pictures_have_the_numbers_of_the_matrix(summaries: dict[str, Any]) -> None:
    summary = summaries["few"]
    found = plots.matrices(summary, 0)
    assert [name for name, _ in found] == ["sequential", "replay", "joint"]
    for (_, svg), (_, one) in zip(plots.heatmaps(found, "Accuracy"), found, strict=True):
        cells = [f"{100 * value:.1f}" for row in one["matrix"] for value in row if value is not None]
        assert len(cells) in (3, 6) and all(f">{cell}</text>" in svg for cell in cells)
        assert "nan" not in svg
    assert len(plots.by_task(found, "Accuracy")) == 2, "all at once has no course over time"
    assert all(row["name"] in plots.averages(summary["rows"], "Accuracy") for row in summary["rows"])
    assert "replay" in (plots.storage(summary["rows"], "Accuracy") or "")


def test_all_tasks_at_once_are_shown_in_every_order_with_their_columns_moved(summaries: dict[str, Any]) -> None:
    summary = summaries["many"]
    joint = next(row for row in summary["rows"] if row["name"] == "joint with lora")
    alone = {**summary, "rows": [{**joint, "matrices": joint["matrices"][:1]}]}
    ((_, moved),) = plots.matrices(alone, 1)
    assert moved["order"] == summary["orders"][1]["order"] != joint["matrices"][0]["order"]
    before = dict(zip(joint["matrices"][0]["order"], joint["matrices"][0]["matrix"][0], strict=True))
    assert dict(zip(moved["order"], moved["matrix"][0], strict=True)) == before


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_what_decides_without_a_broken_number(summaries: dict[str, Any], width: int) -> None:
    found = entries(summaries["few"])
    chosen = columns(found, "Accuracy", narrow=width == 80)
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(rich_table(chosen, found, width=width))
    text = capture.get()
    assert all(cell_len(line) <= width for line in text.splitlines()) and "…" not in text
    for entry in found:
        assert chosen[1].shown(entry) in text
