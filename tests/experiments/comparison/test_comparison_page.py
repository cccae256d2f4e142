"""The page of a comparison: the answer first, the results, and nothing that runs off a screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium
from rich.cells import cell_len
from rich.console import Console
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait
from test_results import write_run

from adapters.evaluation.report.tables import rich_table
from adapters.experiments.comparison import plots, results, results_table, table
from adapters.experiments.comparison.page import page
from adapters.experiments.comparison.summary import summarise
from adapters.experiments.comparison.table import markdown
from adapters.experiments.comparison.verdict import sentences
from adapters.experiments.many_runs.record import Record

LONG = "a_method_of_a_plugin_with_a_name_that_is_very_long_indeed"
TUNING: dict[str, Any] = {"trials": 3, "failed": 0, "resolution": 0.031, "seconds": 312.4, "curve": [0.5, 0.58, 0.62]}
TUNING["settings"] = {"learning_rate": 3e-4, "lora_r": 8}


def written(folder: Path, rows: list[tuple[str, str, str, float]]) -> list[results.Row]:
    """Rows of two seeds: method, base, size and share of lost sentences of each."""
    out = []
    for number, (method, base, size, lost) in enumerate(rows):
        examples = int(size or 50)
        records = []
        for seed in range(2):
            data = {"name": "made", "revision": None, "split": "test", "n": 40, "digest": "d"}
            run = write_run(
                folder / f"{number}-{seed}", method, lost=lost, seed=seed, base=base, number=40,
                trained=0 if method == "few_shot" else 10 ** (number % 6 + 2),
                dataset={**data, "sizes": {"train": examples}},
            )  # fmt: skip
            records.append(Record.load(run))
        out.append(results.Row(method=method, base=base, size=size, records=records, planned=2))
    return out


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Summaries of three, of twelve and of sized rows; the second with long names and an incomplete row."""
    folder = tmp_path_factory.mktemp("runs")
    base = "an-organisation/an-encoder-with-a-very-long-name-base-uncased-v2.5-multilingual"
    few = [("lora", "mini/bert", "", 0.1), ("head", "mini/bert", "", 0.7), ("crf", "", "", 0.3)]
    many = [(LONG if i == 4 else f"method_{i}", base if i % 2 else "mini/bert", "", i / 15) for i in range(12)]
    sized = [(m, "mini/bert", size, lost) for m, lost in (("lora", 0.2), ("full", 0.4)) for size in ("20", "50")]
    rows = {
        "few": written(folder / "few", few),
        "many": written(folder / "many", many),
        "sized": [*written(folder / "sized", sized), *written(folder / "prompt", [("few_shot", "x/llama", "", 0.9)])],
    }
    rows["many"][3] = results.Row(method="method_3", base=base, size="", records=rows["many"][3].records[:1], planned=2)
    found = {name: summarise(own, resamples=100) for name, own in rows.items()}
    for row in found["many"]["rows"]:
        row["tuning"] = TUNING
    return found


@pytest.fixture(scope="module")
def made(summaries: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The page of each summary, with a failure that has a word without end."""
    failures = [("method_3-seed1", f"OSError: /{'folder/' * 60}")]
    out = {}
    for name, summary in summaries.items():
        answers = {plots.name(row): "y" for row in summary["rows"]}
        example = {"text": "word " * 80, "gold": "x" * 200, "answers": answers}
        repeat = {"command": "python x.py", "settings": {"a": "b" * 300}}
        pictures = plots.pictures(summary["rows"], summary["title"])
        out[name] = page(summary, pictures, sentences(summary), failures, [example], repeat)
    return out


@pytest.fixture(scope="module")
def chrome() -> Iterator[webdriver.Chrome]:
    with chromium() as found:
        yield found


def opened(chrome: webdriver.Chrome, path: Path, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    chrome.get(path.as_uri())


def test_nothing_runs_off_a_wide_or_a_narrow_screen(
    chrome: webdriver.Chrome, made: dict[str, str], tmp_path: Path
) -> None:
    for name, text in made.items():
        path = tmp_path / f"{name}.html"
        path.write_text(text, encoding="utf-8")
        for width in (1280, 390):
            opened(chrome, path, width)
            for _ in range(2):  # as it is opened, and then with all that is folded
                across, table, room = chrome.execute_script(
                    "const results = document.querySelector('.scroll');"
                    "return [document.documentElement.scrollWidth, results.scrollWidth, results.clientWidth]"
                )
                assert across <= width and table <= room, (name, width, across, table, room)
                chrome.execute_script("document.querySelectorAll('details').forEach((part) => (part.open = true))")


def test_a_title_sorts_the_rows_of_a_base_and_its_question_mark_opens_how_the_number_was_made(
    chrome: webdriver.Chrome, made: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    path.write_text(made["few"], encoding="utf-8")
    opened(chrome, path, 1280)
    names = "return [...document.querySelectorAll('.cards tbody tr')].map((row) => row.cells[0].textContent)"
    assert chrome.execute_script(names) == ["On mini/bert", "lora", "head", "Without a base model", "crf"]
    for _ in range(2):
        chrome.execute_script("document.querySelectorAll('.cards thead button')[1].click()")
    assert chrome.execute_script(names) == ["On mini/bert", "head", "lora", "Without a base model", "crf"]
    assert not chrome.execute_script("return document.querySelector('#how').open")
    chrome.execute_script("document.querySelector('.cards a[href=\"#how-latency\"]').click()")
    seen = "const told = document.getElementById('how-latency'); return told.checkVisibility()"
    WebDriverWait(chrome, 10, 0.02).until(lambda chrome: chrome.execute_script(seen))


def test_the_answer_comes_first_failures_are_open_and_each_title_has_its_paragraph(
    summaries: dict[str, Any], made: dict[str, str]
) -> None:
    for name, summary in summaries.items():
        text = made[name]
        order = [text.index(part) for part in ('class="answer"', "1 run failed", 'class="sortable cards"', "<details")]
        assert order == sorted(order)
        found = results_table.columns(results_table.entries(summary), summary["title"], base=False)
        assert all(text.count(f'id="how-{column.about}"') == 1 for column in found)
        assert "Entity F1" in text and "entity_f1 f1" not in text
        assert text.count('role="img"') >= len(summary["rows"]) + 4, "pictures have a name"


def test_a_warning_of_several_trainings_is_shown_once_with_their_names(
    summaries: dict[str, Any], made: dict[str, str]
) -> None:
    told = "Warning of lora (bert, 20), lora (bert, 50), full (bert, 20), full (bert, 50): 3 steps in all."
    for text in (made["sized"], markdown(summaries["sized"], [], [])):
        assert text.count("Warning of") == text.count(told) == 1


def test_each_row_is_compared_with_the_best_of_its_base_as_the_tests_say(summaries: dict[str, Any]) -> None:
    summary = summaries["many"]
    rows, tested = summary["rows"], {tuple(test["rows"]): test for test in summary["tests"]}
    found = {entry["method"]: entry for entry in results_table.entries(summary)}
    assert found["method_3"]["result"] == results_table.INCOMPLETE and found["method_3"]["difference"] is None
    for base in {row["base"] for row in rows}:
        own = [i for i, row in enumerate(rows) if row["base"] == base and not row["incomplete"]]
        best = max(own, key=lambda i: rows[i]["value"])
        assert found[rows[best]["method"]]["result"] == results_table.BEST
        for i in set(own) - {best}:
            entry, test = found[rows[i]["method"]], tested[tuple(sorted((i, best)))]
            sign = 1 if i < best else -1
            ends = sorted(sign * test[end] for end in ("low", "high"))
            assert [entry["difference_low"], entry["difference_high"]] == ends
            assert entry["difference"] == pytest.approx(sign * test["difference"])
            assert entry["result"] == (results_table.SIGNIFICANT if test["differs"] else results_table.NOT_SIGNIFICANT)


def test_a_row_that_was_not_tested_is_not_called_different(summaries: dict[str, Any]) -> None:
    (_, second, _) = results_table.entries({**summaries["few"], "tests": []})
    assert second["result"] == results_table.UNTESTED and second["difference"] < 0 and second["difference_low"] is None


def test_rows_of_a_training_size_are_compared_with_the_best_of_that_size(summaries: dict[str, Any]) -> None:
    found = [(entry["method"], entry["size"], entry["result"]) for entry in results_table.entries(summaries["sized"])]
    assert [one[:2] for one in found] == [
        ("lora", "50"), ("full", "50"), ("lora", "20"), ("full", "20"), ("few_shot", "")
    ]  # fmt: skip
    assert [one[2] for one in found if one[0] == "lora"] == [results_table.BEST] * 2


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_what_decides_without_a_broken_number(summaries: dict[str, Any], width: int) -> None:
    for name in ("few", "sized"):
        entries = results_table.entries(summaries[name])
        columns = results_table.columns(entries, "Entity F1", base=False, narrow=width == 80)
        console = Console(width=width, color_system=None)
        with console.capture() as capture:
            console.print(rich_table(columns, entries, width=width))
        text = capture.get()
        assert all(cell_len(line) <= width for line in text.splitlines()) and "…" not in text
        for entry in entries:
            assert columns[1].shown(entry) in text and f"{entry['artifact_bytes'] / 1000:.3g}" in text
        assert ("Latency" in text) == any(column.title == "Latency" for column in columns) or width == 80


def test_methods_without_a_base_have_no_empty_brackets(summaries: dict[str, Any], made: dict[str, str]) -> None:
    summary = summaries["few"]
    crf = summary["rows"][2]
    assert plots.name(crf) == "crf" and plots.name(summary["rows"][0]) == "lora (bert)"
    text = made["few"].partition("<script>")[0] + markdown(summary, sentences(summary), [])
    assert "()" not in text and "On ," not in text and "| crf | – |" in text
    assert "sing a base model" in text or "base model is needed" in text


def test_searches_show_their_curve_and_the_chosen_settings(made: dict[str, str]) -> None:
    text = made["many"]
    assert "Expected best dev score after k trials" in text and "--learning_rate 0.0003  --lora_r 8" in text
    assert "5.2 min (3 trials)" in text
    assert "Expected best" not in made["few"]


def test_labels_are_dots_that_no_line_joins_to_another(summaries: dict[str, dict[str, Any]]) -> None:
    from matplotlib.figure import Figure

    rows = [{**row, "by_label": {"LOC": 0.4, "PER": 0.9 - i / 9}} for i, row in enumerate(summaries["few"]["rows"])]
    rows[0]["by_label"].pop("PER")  # a class that one method has no row of
    axes = Figure(layout="constrained").add_subplot()
    plots._labels(axes, rows, ["LOC", "PER"])
    lines = axes.get_lines()
    assert len(lines) == len(rows) + 2
    for line in lines:
        heights = line.get_ydata()
        assert line.get_linestyle() == "None" or len({*heights}) == 1
    picture = plots.by_label(rows)
    assert picture is not None and "<title>F1 by label</title>" in picture
    assert f"PER: {plots.name(rows[1])} 78.9, " in picture and f"PER: {plots.name(rows[0])}" not in picture


def test_where_no_tokens_are_counted_their_rate_is_no_number(tmp_path: Path) -> None:
    (row,) = written(tmp_path, [("tfidf", "", "", 0.2)])
    for record in row.records:
        record.scores["cost"]["train_tokens_per_second"] = 0.0
    (found,) = summarise([row], resamples=50)["rows"]
    (shown,) = (column.shown(found) for column in table.columns([found], "Entity F1") if column.title == "Tokens per s")
    assert shown == "–"


def test_short_texts_of_a_table_stay_on_one_line_and_long_ones_have_room(
    chrome: webdriver.Chrome, made: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    path.write_text(made["few"], encoding="utf-8")
    opened(chrome, path, 390)
    chrome.execute_script("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    tall = chrome.execute_script(
        "return [...document.querySelectorAll('details td.short, details th.short')]"
        ".map((cell) => [cell.textContent, cell.getBoundingClientRect().height])"
    )
    assert len(tall) > 6 and all(height < 40 for _, height in tall), tall
