"""Records compared: alike or refused, values as seqeval has them, a verdict that claims no more than the tests."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from adapters.cli import compare
from adapters.core.errors import ComparisonError, DataError, SettingsError
from adapters.evaluation.differences import Difference, Error
from adapters.evaluation.metrics.base.metric import load_metric
from adapters.evaluation.report.html import first_sentence
from adapters.experiments.comparison import results, results_table
from adapters.experiments.comparison.output import disagreements, save_and_print
from adapters.experiments.comparison.plots import front
from adapters.experiments.comparison.summary import needed, needed_together, summarise
from adapters.experiments.comparison.table import columns
from adapters.experiments.comparison.table import test_columns as pair_columns
from adapters.experiments.comparison.verdict import ACROSS, ONE_MODEL, sentences
from adapters.experiments.many_runs.record import Record

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
WORDS = ["Ada", "lived", "in", "New", "York", "with", "<b>Alan</b>", "."]
METRIC = load_metric("entity_f1", LABELS)
MADE = {"name": "made", "split": "test", "n": 120, "digest": "d", "sizes": {"train": 50}}


def golds(number: int) -> list[list[str]]:
    draw = random.Random(0)
    choice = [["B-PER", "O", "O", "B-LOC", "I-LOC", "O", "B-PER", "O"], ["O"] * 8, ["B-PER", *["O"] * 7]]
    return [draw.choice(choice) for _ in range(number)]


def noisy(tags: Sequence[Sequence[str]], share: float, seed: int) -> list[list[str]]:
    """Tags of which a share of the sentences is lost."""
    draw = random.Random(seed)
    return [["O"] * len(row) if draw.random() < share else list(row) for row in tags]


def write_run(
    folder: Path,
    method: str,
    *,
    lost: float,
    seed: int = 0,
    base: str = "mini/bert",
    number: int = 120,
    trained: int = 10,
    size: int = 1000,
    **changes: Any,
) -> Path:
    """A run's scores.json and predictions.jsonl, as far as a comparison reads them."""
    gold = golds(number)
    found = noisy(gold, lost, seed)
    counts = METRIC.count_all(gold, found)
    scores: dict[str, Any] = {
        "task": "ner",
        "method": method,
        "base": base,
        "labels": LABELS,
        "label_digest": "l",
        "seed": seed,
        "method_notes": {} if trained else {"prompt": "p", "shots": 0},
        "dataset": {
            "name": "made",
            "revision": None,
            "split": "test",
            "n": number,
            "digest": "d",
            "sizes": {"train": 50},
        },
        "metric_versions": {"entity_f1": 1},
        "main": {"metric": "entity_f1", "score": "f1", "value": float(METRIC.scores(counts.sum(0))["f1"])},
        "cost": {
            "trainable_params": trained,
            "total_params": 100,
            "train_seconds": 1.5,
            "train_tokens_per_second": 9.0,
            "peak_memory_bytes": 2**30,
            "artifact_bytes": size,
            "latency_ms": None,
            "examples_per_second": 5.0,
        },
        "overlap": {"count": 2, "first": [{"test": "test.conll:1", "train": "train.conll:7"}]},
        "parse_failures": 0,
        "truncated": 0,
        "shots_dropped": 0,
        "row_digest": f"{method}-{base}",
        "training": {"dev_scores": [{"step": 3, "score": 0.5}], "warnings": ["3 steps in all"]} if trained else {},
        "versions": {"python": "3"},
        "hardware": {"cpu": "a"},
    }
    scores.update(changes)
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(scores))
    with (folder / "predictions.jsonl").open("w") as stream:
        for i, (one, other) in enumerate(zip(gold, found, strict=True)):
            line = {
                "id": str(i),
                "input": f"digest{i}",
                "inputs": {"tokens": WORDS},
                "gold": one,
                "prediction": other,
                "counts": {"entity_f1": counts[i].tolist()},
                "in_train": i < 2,
            }
            stream.write(json.dumps(line) + "\n")
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> list[results.Row]:
    """Full and LoRA on one base over three seeds, a much worse head, and a prompted model on another base."""
    kinds = [("full", 0.2, 100, 9_000_000), ("lora", 0.2, 10, 90_000), ("head", 0.8, 1, 900)]
    runs = [
        write_run(tmp_path / f"{method}{seed}", method, lost=lost, seed=seed, trained=trained, size=size)
        for method, lost, trained, size in kinds
        for seed in range(3)
    ]
    runs.append(write_run(tmp_path / "few", "few_shot", lost=0.9, base="other/llama", trained=0, size=300))
    return results.grouped([Record.load(run) for run in runs])


def test_parse_failures_are_counted_where_something_is_prompted(tmp_path: Path) -> None:
    few = [write_run(tmp_path / f"p{i}", "few_shot", lost=0.5, seed=i, trained=0, parse_failures=i) for i in range(3)]
    runs = [*few, write_run(tmp_path / "lora", "lora", lost=0.1)]
    summary = summarise(results.grouped([Record.load(run) for run in runs]), resamples=50)
    (column,) = (one for one in columns(summary["rows"], "F1") if one.title == "Parse failures")
    n = summary["dataset"]["n"]
    assert [column.shown(row) for row in summary["rows"]] == [f"1 ({100 / n:.1f} %)", "–"]


def test_records_are_grouped_by_all_but_their_seed(rows: list[results.Row]) -> None:
    assert [(row.method, len(row.records)) for row in rows] == [("full", 3), ("lora", 3), ("head", 3), ("few_shot", 1)]


def test_values_are_those_of_seqeval_and_intervals_hold_them(rows: list[results.Row]) -> None:
    from seqeval.metrics import f1_score

    summary = summarise(rows, resamples=500)
    for row, found in zip(rows, summary["rows"], strict=True):
        theirs = [
            f1_score([list(x["gold"]) for x in r.lines], [list(x["prediction"]) for x in r.lines]) for r in row.records
        ]
        assert found["values"] == pytest.approx(theirs, abs=1e-12)
        assert found["value"] == pytest.approx(np.mean(theirs))
        assert found["low"] <= found["value"] <= found["high"]
        assert (found["sd"] is None) == (len(theirs) == 1)
    assert summary["rows"][0]["sd"] == pytest.approx(np.std(summary["rows"][0]["values"], ddof=1))


def test_scores_without_the_overlap_leave_out_just_those_examples(rows: list[results.Row]) -> None:
    summary = summarise(rows, resamples=200)
    assert summary["overlap"]["count"] == 2
    expected = [METRIC.scores(record.counts(METRIC)[2:].sum(0))["f1"] for record in rows[0].records]
    assert summary["rows"][0]["without_overlap"] == pytest.approx(np.mean(expected))


def test_all_pairs_of_a_base_are_tested_and_none_of_two_bases(rows: list[results.Row]) -> None:
    summary = summarise(rows, resamples=300)
    assert [tuple(test["rows"]) for test in summary["tests"]] == [(0, 1), (0, 2), (1, 2)]
    assert all(test["p"] <= test["p_holm"] <= 1 for test in summary["tests"])
    head = next(test for test in summary["tests"] if 2 in test["rows"])
    assert head["differs"] and head["low"] > 0


def test_the_verdict_takes_the_cheapest_of_those_that_are_non_inferior_and_credits_no_base(
    rows: list[results.Row],
) -> None:
    said = sentences(summarise(rows, margin=0.15, resamples=300))
    assert "No significant difference from" in said[0] and "n = 120" in said[0]
    assert "significantly lower (Holm-adjusted p < 0.05): head" in said[0]
    assert "Non-inferior within 15.0 points to every other method" in said[0] and "choose lora." in said[0]
    assert "smallest detectable difference" in said[0]
    assert "few_shot" not in said[0]
    assert said[1].startswith("On other/llama, only few_shot")
    assert said[-1] == ACROSS


def test_a_verdict_with_one_clear_winner_says_so(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a", "full", lost=0.1, trained=100), write_run(tmp_path / "b", "head", lost=0.9)]
    said = sentences(summarise(results.grouped([Record.load(run) for run in runs]), resamples=300))
    assert len(said) == 1 and "full" in said[0]
    assert "every other method scores significantly lower (Holm-adjusted p < 0.05)" in said[0]


def made_rows(folder: Path, **methods: dict[str, Any]) -> list[results.Row]:
    """Rows of methods, each with `lost` by seed, and what else a run has."""
    rows = []
    for method, given in methods.items():
        more = {key: value for key, value in given.items() if key not in ("lost", "planned", "row_size")}
        records = [
            Record.load(write_run(folder / f"{method}{seed}", method, lost=lost, seed=seed, **more))
            for seed, lost in enumerate(given["lost"])
        ]
        rows.append(
            results.Row(
                method=method,
                base="mini/bert",
                size=given.get("row_size", ""),
                records=records,
                planned=given.get("planned", len(records)),
            )
        )
    return rows


def test_where_nothing_can_be_advised_it_is_said_how_much_data_it_would_take(tmp_path: Path) -> None:
    rows = made_rows(tmp_path, full={"lost": [0.3, 0.32, 0.34]}, lora={"lost": [0.31, 0.33, 0.35]})
    summary = summarise(rows, margin=0.001, resamples=300)
    said = sentences(summary)[0]
    assert (
        "For no method can non-inferiority within 0.1 points to every other one be concluded" in said
        and "choose" not in said
    )
    needed = summary["advice"][0]["needed"]
    assert needed["examples"] is None or needed["examples"] > 120


def rivals(folder: Path, lost: float) -> list[results.Row]:
    """Two methods on a base, one on another, and two without any, of which the better one loses so many entities."""
    kinds = [("full", "mini/bert", 0.1), ("lora", "mini/bert", 0.15), ("few_shot", "other/llama", 0.5)]
    kinds += [("crf", "", lost), ("majority", "", 0.97)]
    runs = [
        write_run(folder / f"{method}{seed}", method, base=base, lost=share, seed=seed, seeded=bool(base))
        for method, base, share in kinds
        for seed in range(3 if base else 1)
    ]
    return results.grouped([Record.load(run) for run in runs])


def test_methods_without_a_base_compete_on_every_base_and_are_adjusted_with_its_pairs(tmp_path: Path) -> None:
    from adapters.core.holm import holm

    summary = summarise(rivals(tmp_path, 0.5), resamples=300)
    families = {
        base: [test for test in summary["tests"] if test["base"] == base] for base in ("mini/bert", "other/llama")
    }
    assert [tuple(test["rows"]) for test in families["mini/bert"]] == [(0, 1), (0, 3), (0, 4), (1, 3), (1, 4), (3, 4)]
    assert [tuple(test["rows"]) for test in families["other/llama"]] == [(2, 3), (2, 4), (3, 4)]
    for tests in families.values():
        assert [test["p_holm"] for test in tests] == pytest.approx(holm([test["p"] for test in tests]))
    assert families["mini/bert"][-1]["p"] == families["other/llama"][-1]["p"], "the same pair, adjusted twice"
    pair = pair_columns(summary)[0].shown
    shown = [pair(test) for test in summary["tests"]]
    assert len(set(shown)) == len(shown) and "crf − majority (no base; adjusted with llama)" in shown
    said = sentences(summary)
    assert said[0].startswith("On mini/bert, full") and "crf" in said[0]
    assert "Using a base model improves the score: full (" in said[0] and ") and lora (" in said[0]
    assert said[1].startswith("Of the methods on other/llama and those without a base model, crf")
    assert "No significant improvement from using a base model: no method on one scores significantly" in said[1]
    assert said[-1] == ACROSS


def test_where_no_base_is_needed_the_verdict_says_so(tmp_path: Path) -> None:
    rows = [row for row in rivals(tmp_path, 0.1) if row.base in ("", "mini/bert")]
    summary = summarise(rows, margin=0.2, resamples=300)
    (said,) = sentences(summary)
    assert "No base model is needed: crf (" in said and "is non-inferior within 20.0 points" in said
    shown = [pair_columns(summary)[0].shown(test) for test in summary["tests"]]
    assert len(shown) == 6 and "crf − majority (no base)" in shown
    alone = summarise([row for row in rows if not row.base], resamples=300)
    assert sentences(alone)[0].startswith("crf (") and "base model" not in " ".join(sentences(alone))


def test_a_method_whose_seed_failed_is_in_no_test_and_no_advice(tmp_path: Path) -> None:
    rows = made_rows(tmp_path, full={"lost": [0.3, 0.3, 0.3]}, lora={"lost": [0.1, 0.1], "planned": 3})
    summary = summarise(rows, resamples=300)
    assert summary["tests"] == [] and summary["rows"][1]["incomplete"]
    said = " ".join(sentences(summary))
    assert "only full" in said and "lora on mini/bert is incomplete (2 runs finished, others failed)" in said


def test_with_one_seed_the_words_are_of_a_trained_model(tmp_path: Path) -> None:
    rows = made_rows(tmp_path, full={"lost": [0.1]}, lora={"lost": [0.6]})
    assert ONE_MODEL in sentences(summarise(rows, resamples=300))[0]
    still = made_rows(tmp_path / "b", zero_shot={"lost": [0.1], "seeded": False, "trained": 0})
    assert not summarise(still, resamples=300)["rows"][0]["of_one_model"]


def test_an_untested_pair_is_never_called_different(tmp_path: Path) -> None:
    """Rows of the largest size are not tested against one of a smaller size, though it scores higher."""
    data = {"name": "made", "revision": None, "split": "test", "n": 120, "digest": "d"}
    small = {**data, "sizes": {"train": 50}}
    large = {**data, "sizes": {"train": 900}}
    rows = made_rows(
        tmp_path,
        lora={"lost": [0.1] * 3, "dataset": small, "row_size": "50"},
        full={"lost": [0.4] * 3, "dataset": large, "row_size": "all"},
        head={"lost": [0.5] * 3, "dataset": large, "row_size": "all"},
    )
    summary = summarise(rows, resamples=300)
    assert [test["rows"] for test in summary["tests"]] == [[1, 2]]
    assert "lora" not in sentences(summary)[0].split("non-inferior")[0]


def in_documents(rows: Sequence[results.Row], documents: int) -> list[results.Row]:
    """The same rows, whose examples are of so many documents, by turns."""
    for record in (record for row in rows for record in row.records):
        for number, line in enumerate(record.lines):
            line["document"] = f"d{number % documents}"  # type: ignore[index]
    return list(rows)


def test_whole_documents_are_resampled_where_all_are_known_and_it_is_said(rows: list[results.Row]) -> None:
    before = summarise(rows, resamples=300)
    assert before["resampled"]["units"] == "examples" and "document" not in " ".join(sentences(before))
    summary = summarise(in_documents(rows, 40), resamples=300)
    assert summary["resampled"] == {"units": "documents", "examples": 120, "documents": 40, "enough": True}
    assert [row["value"] for row in summary["rows"]] == [row["value"] for row in before["rows"]]
    assert [row["low"] for row in summary["rows"]] != [row["low"] for row in before["rows"]]
    said = " ".join(sentences(summary))
    assert "Whole documents are resampled (40 documents)" in said and "n = 120 in 40 documents" in said
    needed = summarise(rows, margin=0.0001, resamples=300)["advice"][0]["needed"]
    assert set(needed) == {"documents", "seeds"}
    single = summarise(rows, resample="examples", resamples=300)
    assert [row["low"] for row in single["rows"]] == [row["low"] for row in before["rows"]]
    assert "Single examples are resampled, as if those of one document were independent (40 documents)" in " ".join(
        sentences(single)
    )


def test_of_few_documents_no_test_is_made_and_no_interval_is_given(rows: list[results.Row], tmp_path: Path) -> None:
    rows = in_documents(rows, 12)
    assert "(12 documents, as 12 are too few to be resampled whole)" in " ".join(
        sentences(summarise(rows, resamples=300))
    )
    summary = save_and_print(rows, tmp_path / "out", command="c", resample="documents")
    assert (summary["tests"], summary["advice"]) == ([], [])
    assert all(row["low"] is row["high"] is None for row in summary["rows"])
    said = " ".join(summary["verdict"])
    assert "There are only 12 documents" in said and "need at least 30: none is made" in said
    assert "significant" not in said and "Not tested" not in said and "choose" not in said
    assert "There are only 12 documents" in (tmp_path / "out" / "comparison.html").read_text()


def test_of_few_documents_nothing_is_said_of_whether_a_base_is_needed(tmp_path: Path) -> None:
    rows = in_documents([row for row in rivals(tmp_path, 0.1) if row.base in ("", "mini/bert")], 12)
    said = " ".join(save_and_print(rows, tmp_path / "out", command="c", resample="documents")["verdict"])
    assert "There are only 12 documents" in said and "using a base model" not in said.lower() and "needed" not in said


def test_documents_that_are_not_known_alike_are_not_resampled(rows: list[results.Row]) -> None:
    rows = in_documents(rows, 40)
    for line in rows[0].records[0].lines:
        line["document"] = f"renamed-{line['document']}"  # type: ignore[index]
    for line in rows[1].records[0].lines:
        del line["document"]  # type: ignore[attr-defined]
    assert summarise(rows, resamples=100)["resampled"]["documents"] == 40, "names alone differ, or are missing"
    for number, line in enumerate(rows[0].records[0].lines):
        line["document"] = str(number // 3)  # type: ignore[index]
    assert summarise(rows, resamples=100)["resampled"]["documents"] is None
    with pytest.raises(DataError, match="120 of the 120 scored examples have no document"):
        summarise(rows, resample="documents", resamples=100)


def test_the_cheapest_is_by_the_cost_that_the_user_names(tmp_path: Path) -> None:
    rows = made_rows(tmp_path, full={"lost": [0.2] * 3, "size": 9_000_000}, lora={"lost": [0.2] * 3, "size": 90_000})
    for row, seconds in zip(rows, (1.0, 50.0), strict=True):
        for record in row.records:
            record.scores["cost"]["train_seconds"] = seconds
    assert summarise(rows, margin=0.2, resamples=300)["advice"][0]["chosen"] == 1
    summary = summarise(rows, margin=0.2, cost="training", resamples=300)
    assert summary["advice"][0]["chosen"] == 0 and "the least time to train (1.0 s)" in sentences(summary)[0]
    (training,) = (
        one for one in results_table.columns(results_table.entries(summary), "F1") if one.title == "Training time"
    )
    assert [training.shown(row) for row in summary["rows"]] == ["1.0 s", "50 s"], "as the verdict says it"


def test_runs_that_learned_from_other_data_are_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    data = {"name": "made", "revision": None, "split": "test", "n": 120, "digest": "d", "sizes": {"train": 14041}}
    one = Record.load(write_run(tmp_path / "one", "full", lost=0.1))
    other = Record.load(write_run(tmp_path / "other", "lora", lost=0.1, dataset=data))
    prompted = Record.load(write_run(tmp_path / "p", "few_shot", lost=0.1, dataset=data, trained=0))
    with pytest.raises(ComparisonError, match=r"training data: 50 examples .*14,041 examples .*--allow_different"):
        results.check_alike([one, other])
    results.check_alike([one, other], allow_different=True)
    results.check_alike([one, prompted])


def test_the_same_records_give_the_same_summary(rows: list[results.Row]) -> None:
    one, other = (json.dumps(summarise(rows, resamples=300)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"dataset": {**MADE, "digest": "other"}},
            "dataset.digest: d in",
        ),
        (
            {"dataset": {**MADE, "split": "dev"}},
            "dataset.split: test in",
        ),
        ({"label_digest": "m"}, "label_digest: l in"),
        ({"metric_versions": {"entity_f1": 2}}, 'metric_versions: {"entity_f1": 1} in'),
        ({"task": "classification"}, "task: ner in"),
    ],
)
def test_runs_that_were_not_scored_alike_are_refused_with_what_differs(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    one = Record.load(write_run(tmp_path / "one", "full", lost=0.1))
    other = Record.load(write_run(tmp_path / "other", "lora", lost=0.1, **changes))
    results.check_alike([one, one])
    with pytest.raises(ComparisonError) as raised:
        results.check_alike([one, other])
    assert told in str(raised.value) and str(tmp_path / "other") in str(raised.value)


def test_another_order_of_the_examples_is_refused(tmp_path: Path) -> None:
    one, other = (Record.load(write_run(tmp_path / name, name, lost=0.1)) for name in ("full", "lora"))
    path = tmp_path / "lora" / "predictions.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(reversed(lines)) + "\n")
    with pytest.raises(ComparisonError, match="another order"):
        results.check_alike([one, Record.load(tmp_path / "lora")])
    results.check_alike([one, other])


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match="no run has finished there"):
        Record.load(tmp_path)
    folder = write_run(tmp_path / "cut", "full", lost=0.1)
    (folder / "predictions.jsonl").write_text('{"id": ')
    with pytest.raises(ComparisonError, match="damaged"):
        Record.load(folder)


class Page(HTMLParser):
    """Tags that are open, and addresses that a page asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.asked += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br", "path", "use", "rect", "circle", "clippath", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_shows_text_as_text(rows: list[results.Row], tmp_path: Path, capsys: Any) -> None:
    summary = save_and_print(
        rows, tmp_path / "out", command="me & you", failures=[("prefix-x", "<script>alert(1)</script>")]
    )
    page = (tmp_path / "out" / "comparison.html").read_text()
    parser = Page()
    parser.feed(page)
    assert parser.open == []
    assert all(address.startswith("#") for address in parser.asked), parser.asked
    assert "<script>alert" not in page and "<b>Alan" not in page and "&lt;b&gt;Alan" in page
    assert page.count("<svg") == 5 + len(rows), "four costs, the labels, and a score for each row"
    assert all(escape(part) in page for part in first_sentence(summary["verdict"][0]))
    kept = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert kept["rows"] == summary["rows"] and kept["failures"][0]["run"] == "prefix-x"
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert text.count("\n| full | bert |") == 2 and "prefix-x failed" in text and "<script" not in text
    assert (
        summary["title"] == "Entity F1"
        and "| Entity F1 |" in text
        and "| Entity F1, 95 % interval |" in text
        and "no significant difference" in page
    )
    out = capsys.readouterr().out
    assert "few_shot" in out and "failed: prefix-x" in out


def test_the_examples_shown_are_those_with_the_most_different_answers(rows: list[results.Row]) -> None:
    found = disagreements(rows)
    assert 0 < len(found) <= 10
    assert all(len(set(example["answers"].values())) > 1 for example in found)
    assert all(set(example) == {"text", "gold", "answers"} for example in found)


def test_the_front_holds_what_no_other_beats() -> None:
    points = [(1.0, 5.0), (2.0, 4.0), (2.0, 6.0), (0.0, 1.0), (3.0, 6.0)]
    assert front(points) == [3, 0, 2]
    draw = random.Random(1)
    many = [(draw.random(), draw.random()) for _ in range(60)]
    kept = set(front(many))
    for i, (x, y) in enumerate(many):
        beaten = any((a <= x and b >= y and (a, b) != (x, y)) for a, b in many)
        assert (i in kept) != beaten


def sized(tmp_path: Path, method: str, lost: Sequence[float], *, seeds: int = 3, dev: int = 20) -> list[results.Row]:
    """Rows of a method at 50, 200 and 900 training examples, and some of dev, which lose shares of the entities."""
    rows = []
    for number, share in zip((50, 200, 900), lost, strict=True):
        data = {**MADE, "revision": None, "sizes": {"train": number, "validation": dev}}
        folders = [tmp_path / f"{method}-{number}-{seed}" for seed in range(seeds)]
        records = [
            Record.load(write_run(folder, method, lost=share, seed=seed, dataset=data))
            for seed, folder in enumerate(folders)
        ]
        size = "all" if number == 900 else str(number)
        rows.append(results.Row(method=method, base="mini/bert", size=size, records=records, planned=seeds))
    return rows


def prompted(tmp_path: Path, lost: float) -> results.Row:
    record = Record.load(write_run(tmp_path / "few", "few_shot", lost=lost, trained=0, base="other/llama"))
    return results.Row(method="few_shot", base="other/llama", size="", records=[record])


def test_training_sizes_say_from_where_on_a_method_passes_the_prompt(tmp_path: Path) -> None:
    rows = [*sized(tmp_path, "lora", (0.97, 0.5, 0.1)), prompted(tmp_path, 0.8)]
    summary = summarise(rows, resamples=300)
    (found,) = summary["crossings"]
    assert (found["one"], found["other"], found["sizes"]) == ([0, 1, 2], [3, 3, 3], [70, 220, 920])
    assert 70 < found["low"] < found["value"] < found["high"] < 220
    said = " ".join(sentences(summary))
    assert "lora on mini/bert passes few_shot on other/llama" in said
    value, low, high = (f"{found[end]:,.0f}" for end in ("value", "low", "high"))
    assert f"from about {value} labelled examples on (interval of the crossing: {low} to {high})." in said


def test_of_two_trained_methods_the_one_that_is_ahead_at_the_end_passes_the_other(tmp_path: Path) -> None:
    rows = [*sized(tmp_path, "full", (0.9, 0.6, 0.1)), *sized(tmp_path, "head", (0.5, 0.5, 0.5))]
    (found,) = summarise(rows[::-1], resamples=300)["crossings"]
    (same,) = summarise(rows, resamples=300)["crossings"]
    assert (same["one"], same["other"]) == ([0, 1, 2], [3, 4, 5]) and found["one"] == [5, 4, 3]
    assert found["value"] == same["value"] and 220 < found["value"] < 920


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ((0.3, 0.2, 0.1), "is above few_shot on other/llama ({}) from the smallest size on, 70 labelled examples"),
        ((0.97, 0.95, 0.9), "does not pass few_shot on other/llama ({}) with up to 920 labelled examples"),
    ],
)
def test_a_crossing_outside_the_sizes_is_said_to_be_outside(
    tmp_path: Path, lost: tuple[float, ...], words: str
) -> None:
    summary = summarise([*sized(tmp_path, "lora", lost), prompted(tmp_path, 0.6)], resamples=300)
    assert words.format(f"{100 * summary['rows'][3]['value']:.1f}") in " ".join(sentences(summary))
    json.dumps(summary, allow_nan=False)


def test_curves_that_cannot_be_told_apart_cross_nowhere_in_particular(tmp_path: Path) -> None:
    rows = [*sized(tmp_path, "full", (0.5, 0.5, 0.5)), *sized(tmp_path, "lora", (0.52, 0.48, 0.51))]
    said = sentences(summarise(rows, resamples=300))
    assert any("cannot be determined from these data: " in line for line in said)
    assert not any("passes" in line for line in said)


def test_an_incomplete_size_is_no_point_of_a_curve(tmp_path: Path) -> None:
    rows = sized(tmp_path, "lora", (0.97, 0.5, 0.1))
    rows[1] = results.Row(method="lora", base="mini/bert", size="200", records=rows[1].records[:2], planned=3)
    (found,) = summarise([*rows, prompted(tmp_path, 0.8)], resamples=300)["crossings"]
    assert found["one"] == [0, 2]


def test_labels_are_those_that_were_learned_from_or_chosen_on(tmp_path: Path) -> None:
    data = {**MADE, "sizes": {"train": 50, "validation": 20}}
    used = {"tfidf": {"train": 50}, "lora": {"train": 50, "validation": 20}, "few_shot": {"train": 5}, "zero_shot": {}}
    records = {
        name: Record.load(write_run(tmp_path / name, name, lost=0.5, dataset=data, labelled=labelled))
        for name, labelled in used.items()
    }
    found = {
        (name, dev): results.Row(
            method=name, base="b", size="", records=[record], tuning={"dev_examples": dev} if dev else None
        ).labels
        for name, record in records.items()
        for dev in (0, 20, 10)
    }
    untuned, tuned = ([found[name, dev] for name in used] for dev in (0, 20))
    assert (untuned, tuned) == ([50, 70, 5, 0], [70, 70, 25, 20])
    assert found["zero_shot", 10] == 10


def test_where_two_methods_took_other_numbers_of_labels_training_examples_are_counted(tmp_path: Path) -> None:
    rows = [*sized(tmp_path, "lora", (0.9, 0.6, 0.1)), *sized(tmp_path, "tfidf", (0.5, 0.5, 0.5), dev=0)]
    summary = summarise(rows, resamples=300)
    (found,) = summary["crossings"]
    assert (found["counted"], found["sizes"]) == ("train_examples", [50, 200, 900])
    assert any("training examples on (interval of the crossing: " in line for line in sentences(summary))


@pytest.mark.parametrize("margin", ["0", "-5", "500"])
def test_a_margin_of_finished_runs_is_checked_as_that_of_a_comparison(margin: str, tmp_path: Path) -> None:
    runs = [str(write_run(tmp_path / name, name, lost=0.2)) for name in ("full", "lora")]
    with pytest.raises(SettingsError, match=r"margin .*must be a number of points above 0"):
        compare.run([*runs, "--margin", margin])


def test_how_much_data_it_would_take_is_told_by_the_pair_that_needs_most_and_is_never_what_there_is() -> None:
    """Of two methods that differ on few answers what there is would do; of a noisy pair much more."""

    def difference(examples: float, seeds: float, freedom: float) -> Difference:
        draws = np.random.default_rng(0).standard_normal(4000)
        error = Error(draws=examples * draws / draws.std(), seeds=seeds, freedom=freedom)
        return Difference(difference=0.0, p=1.0, error=error, around=error, units=1000)

    few, many = (needed(difference(size, 0.0, np.inf), 3, level=0.05, margin=0.01, n=1000) for size in (0.002, 0.02))
    assert few == {}, "what there is would do, so another pair is what limits"
    # (z of 5 % + z of 80 %)² errors of a point
    assert many["examples"] == pytest.approx(1000 * (2.486 * 0.02 / 0.01) ** 2, rel=0.01) and many["seeds"] is None
    assert needed_together([few, many]) == many and needed_together([few]) == {}
    seeds = needed(difference(0.001, 0.01, 4.0), 3, level=0.05, margin=0.01, n=1000)["seeds"]
    assert seeds is not None and seeds > 2.486**2 * 3, "more than by the normal distribution"
    freedom = 4.0 * (seeds - 1) / 2
    error = float(np.hypot(0.01 * np.sqrt(3 / seeds), 0.001))
    assert scipy.stats.nct.sf(scipy.stats.t.isf(0.05, freedom), freedom, 0.01 / error) == pytest.approx(0.8, abs=0.02)
    none = Error(draws=np.zeros(10), seeds=0.0, freedom=np.inf)
    same = Difference(difference=0.0, p=1.0, error=none, around=none, units=100)
    assert needed(same, 1, level=0.05, margin=0.01, n=100)["examples"] == 299
    assert needed(same, 1, level=0.05, margin=0.01, n=299) == {}


def exported_rows(folder: Path) -> list[results.Row]:
    """Four methods, and an export of LoRA, which loses the same few answers in each seed."""
    rows = made_rows(
        folder,
        lora={"lost": [0.1, 0.3, 0.5]},
        full={"lost": [0.2, 0.3, 0.4]},
        head={"lost": [0.5, 0.6, 0.7]},
        bitfit={"lost": [0.3, 0.5, 0.6]},
    )
    exports = []
    for record in rows[0].records:
        own = record.folder / "exports" / "onnx_int8"
        lines = [dict(line) for line in record.lines]
        for line in [line for line in lines if sum(line["counts"]["entity_f1"][:2])][:4]:
            line["counts"] = {"entity_f1": [0, 0, 0, 0, *line["counts"]["entity_f1"][4:]]}
        scores = {**record.scores, "method": "lora (onnx int8)", "exported": "onnx_int8"}
        exports.append(Record(folder=own, scores=scores, lines=lines))
    return [*rows, results.Row(method="lora (onnx int8)", base="mini/bert", size="", records=exports)]


def test_an_export_is_compared_with_its_run_seed_by_seed_and_its_spread_counts_once(tmp_path: Path) -> None:
    rows = exported_rows(tmp_path)
    tests = {tuple(test["rows"]): test for test in summarise(rows, resamples=1000)["tests"]}
    assert tests[0, 4]["standard_errors"]["seeds"] < 0.3 * tests[0, 1]["standard_errors"]["seeds"]
    alone = {tuple(test["rows"]): test for test in summarise(rows[:4], resamples=1000)["tests"]}
    assert tests[1, 2]["standard_errors"] == alone[1, 2]["standard_errors"], "the same models tell no more of spreads"


def test_an_incomplete_row_does_not_move_the_tests_of_others(tmp_path: Path) -> None:
    methods = {name: {"lost": [lost, lost + 0.1, lost - 0.1]} for name, lost in (("a", 0.3), ("b", 0.5), ("c", 0.4))}
    rows = made_rows(tmp_path, **methods, d={"lost": [0.3, 0.31], "planned": 3})
    found, alone = (summarise(own, resamples=300)["tests"] for own in (rows, rows[:3]))
    assert [test["p"] for test in found] == [test["p"] for test in alone]


def test_rows_that_learned_from_other_files_of_the_same_size_are_not_tested(tmp_path: Path) -> None:
    data = {**MADE, "notes": {"train": {"digest": "another"}}}
    rows = made_rows(tmp_path, full={"lost": [0.1] * 3}, lora={"lost": [0.5] * 3, "dataset": data})
    summary = summarise(rows, resamples=300)
    assert summary["tests"] == []
    said = " ".join(sentences(summary))
    assert "Not tested against it, as trained on other data: lora" in said
    assert "is not tested between methods that learned from different data" in said
    assert "would be needed" not in said and "significantly" not in said


def test_costs_that_cannot_be_compared_choose_nothing(tmp_path: Path) -> None:
    rows = made_rows(tmp_path, full={"lost": [0.2] * 3}, lora={"lost": [0.2] * 3})
    for record in rows[1].records:
        record.scores["hardware"] = {"cpu": "b"}  # type: ignore[index]
    summary = summarise(rows, margin=0.2, cost="training", resamples=300)
    assert summary["advice"][0]["chosen"] is None and len(summary["advice"][0]["non_inferior"]) == 2
    said = sentences(summary)[0]
    assert "Which needs the least time to train is not known: measured on different machines." in said
    assert summarise(rows, margin=0.2, cost="storage", resamples=300)["advice"][0]["chosen"] is not None
    rows = made_rows(tmp_path / "again", full={"lost": [0.2] * 3}, lora={"lost": [0.2] * 3})
    said = sentences(summarise(rows, margin=0.2, cost="latency", resamples=300))[0]
    assert "is not known: not measured of full, lora" in said
    said = sentences(summarise(rows, margin=0.2, cost="training", resamples=300))[0]
    assert "scores highest of those that need the least time to train (1.5 s)" in said


@pytest.mark.parametrize("margin, words", [(0.01, "1.0 point"), (0.0025, "0.25 points"), (0.0004, "0.04 points")])
def test_a_margin_is_named_with_all_its_digits(margin: float, words: str, tmp_path: Path) -> None:
    rows = made_rows(tmp_path, full={"lost": [0.3, 0.32, 0.34]}, lora={"lost": [0.31, 0.33, 0.35]})
    assert f"within {words} to" in sentences(summarise(rows, margin=margin, resamples=300))[0]


def test_an_interval_reaches_to_0_where_its_test_is_not_significant(tmp_path: Path) -> None:
    """Of few different answers swaps and resampling may disagree."""
    for seed in range(5):
        rows = made_rows(tmp_path / str(seed), full={"lost": [0.1]}, lora={"lost": [0.16]})
        for test in summarise(rows, resamples=300, seed=seed)["tests"]:
            assert test["differs"] or test["low"] <= 0 <= test["high"]


def test_rows_of_one_method_are_named_by_what_is_set_otherwise(tmp_path: Path) -> None:
    runs = [
        write_run(
            tmp_path / f"{rank}-{seed}",
            "lora",
            lost=0.2,
            seed=seed,
            row_digest=str(rank),
            settings={"lora_r": rank, "learning_rate": 0.1, "seed": seed},
        )
        for rank in (4, 8)
        for seed in (0, 1)
    ]
    rows = results.grouped([Record.load(run) for run in runs])
    assert [row.method for row in rows] == ["lora (lora_r 4)", "lora (lora_r 8)"]
    for record in rows[1].records:
        record.scores["settings"]["lora_r"] = 4
    named = results.grouped([record for row in rows for record in row.records])
    assert [row.method for row in named] == ["lora (4-0)", "lora (8-0)"], "nothing is set otherwise: by their folders"


def test_two_runs_of_one_seed_are_not_two_draws(tmp_path: Path) -> None:
    runs = [Record.load(write_run(tmp_path / name, "lora", lost=0.2, seed=3)) for name in ("a", "b")]
    with pytest.raises(ComparisonError, match=r"a and .*b: two runs of the same settings and of seed 3"):
        results.grouped(runs)
