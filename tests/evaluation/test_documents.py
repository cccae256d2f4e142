"""Whole documents resampled: simulations with known truth, equality with examples, and metrics of every kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats

from adapters.core.errors import DataError
from adapters.evaluation.differences import Difference, Error, differences, row_error
from adapters.evaluation.documents import Units, chosen_units
from adapters.evaluation.evaluate import evaluate
from adapters.evaluation.metrics.base.metric import Metric, load_metric
from adapters.evaluation.random_effects import effects, resampled_scores
from adapters.evaluation.significance import bootstrap
from adapters.tasks.base.example import Example, Prediction

RATE = 0.8


@pytest.fixture(scope="module")
def accuracy() -> Metric:
    return load_metric("accuracy", ("right", "wrong"))


def drawn_documents(generator: np.random.Generator, documents: int) -> list[str]:
    """The document of each example: of 5 to 20 examples, in any order."""
    names = np.repeat(np.arange(documents), generator.integers(5, 21, documents))
    return [str(name) for name in generator.permutation(names)]


def drawn_counts(
    generator: np.random.Generator, metric: Metric, documents: Sequence[str], methods: int = 2, icc: float = 0.3
) -> list[np.ndarray]:
    """Counts `[1, examples, width]` of methods of equal expected accuracy, each better on documents of its own."""
    of = np.array(documents, dtype=int)
    shared = np.sqrt(icc) * generator.standard_normal((methods, of.max() + 1))
    latent = shared[:, of] + np.sqrt(1 - icc) * generator.standard_normal((methods, len(of)))
    right = latent < scipy.stats.norm.ppf(RATE)
    either = np.stack([metric.counts("right", "wrong"), metric.counts("right", "right")])
    return [either[row.astype(int)][None] for row in right]


def compared(metric: Metric, counts: Sequence[np.ndarray], units: Units, seed: int) -> tuple[Difference, float, Error]:
    """The difference of two methods; the first one's score with its error."""
    drawn = [units.summed(own) for own in counts]
    rows = [effects(metric, own, metric.main, seeded=False) for own in drawn]
    resampled = resampled_scores(metric, drawn, metric.main, seed=seed, resamples=300)
    (found,) = differences(rows, resampled, [(0, 1)], seed=seed, resamples=300)
    return found, rows[0].value, row_error(rows[0], resampled[:, 0])


@pytest.mark.parametrize(("documents", "repeats"), [(40, 250), (200, 120)])
def test_resampled_whole_intervals_and_tests_are_right_where_resampled_singly_they_claim_too_much(
    accuracy: Metric, documents: int, repeats: int
) -> None:
    """By 2,000 resamples: false alarms of about 6 %, coverage of 93 % (40 documents) to 94 % (100)."""
    generator = np.random.default_rng(documents)
    alarms, covered = {"documents": 0, "examples": 0}, {"documents": 0, "examples": 0}
    for repeat in range(repeats):
        of = drawn_documents(generator, documents)
        counts = drawn_counts(generator, accuracy, of)
        for how in alarms:
            found, value, error = compared(accuracy, counts, chosen_units(of, how), repeat)
            alarms[how] += found.p < 0.05
            covered[how] += value + error.quantile(0.025) <= RATE <= value + error.quantile(0.975)
    assert 0.015 * repeats <= alarms["documents"] <= 0.1 * repeats
    assert covered["documents"] >= 0.88 * repeats
    assert alarms["examples"] >= 0.15 * repeats and covered["examples"] <= 0.83 * repeats


def test_documents_of_one_example_each_give_exactly_the_numbers_of_examples(accuracy: Metric) -> None:
    generator = np.random.default_rng(0)
    names = [f"d{number}" for number in generator.permutation(90)]
    counts = drawn_counts(generator, accuracy, [str(number) for number in range(90)])
    found = [compared(accuracy, counts, chosen_units(names, how), 0) for how in ("documents", "examples")]
    (one, value, error), (other, same, other_error) = found
    assert (one.difference, one.p, one.low, one.high, value) == (other.difference, other.p, other.low, other.high, same)
    assert (error.draws == other_error.draws).all()


@pytest.mark.parametrize("name", ["accuracy", "pearson", "rmse"])
def test_an_interval_of_documents_is_that_of_scoring_their_examples_again(name: str) -> None:
    """Against a slow version, which joins the examples of the drawn documents and scores them."""
    generator = np.random.default_rng(3)
    of = generator.integers(0, 25, 200)
    golds = generator.standard_normal(200) if name != "accuracy" else generator.choice(["right", "wrong"], 200)
    found = golds + generator.standard_normal(200) if name != "accuracy" else generator.permutation(golds)
    metric = load_metric(name, ("right", "wrong"))
    assert isinstance(metric, Metric)
    counts, units = metric.count_all(list(golds), list(found)), chosen_units([str(one) for one in of], "documents")
    low, high = bootstrap(metric, units.summed(counts), seed=0, resamples=400)[metric.main]
    order, draw = list(dict.fromkeys(of)), np.random.default_rng(0)
    slow = []
    for drawn in draw.integers(0, 25, (400, 25), dtype=np.int32):
        at = np.concatenate([np.flatnonzero(of == order[number]) for number in drawn])
        slow.append(metric.scores(counts[at].sum(0))[metric.main])
    assert (low, high) == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])), abs=1e-9)


def test_counts_are_summed_by_document_whatever_their_order() -> None:
    counts = np.random.default_rng(1).integers(0, 9, (3, 50, 4))
    of = np.random.default_rng(2).integers(0, 11, 50)
    units = chosen_units([f"n{number}" for number in of], "documents")
    found = units.summed(counts)
    for number, document in enumerate(dict.fromkeys(of)):
        assert (found[:, number] == counts[:, of == document].sum(1)).all()
        members = units.members()
        assert members is not None and set(members[number]) == set(np.flatnonzero(of == document))
    single = chosen_units(["a", "b"], "examples")
    assert single.summed(counts) is counts and single.members() is None


def test_documents_are_taken_where_all_are_known_and_there_are_enough() -> None:
    many = [str(number // 2) for number in range(60)]
    assert chosen_units(many).record() == {"units": "documents", "examples": 60, "documents": 30, "enough": True}
    assert chosen_units(many, "examples").record()["units"] == "examples"
    assert chosen_units(many[:-2]).record() == {"units": "examples", "examples": 58, "documents": 29, "enough": True}
    assert chosen_units([str(number) for number in range(60)]).name == "examples", "one example each"
    assert chosen_units([*many, ""]).record()["documents"] is None
    few = chosen_units(many[:-2], "documents")
    assert (few.name, few.enough) == ("documents", False)
    with pytest.raises(DataError, match=r"1 of the 61 scored examples has no document\. .*--document_column_name"):
        chosen_units([*many, ""], "documents")


class Echo:
    """Says what an example's input says."""

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        return [Prediction(value=example.inputs["says"]) for example in examples]


def test_a_runs_intervals_are_of_documents_for_sums_and_for_ranks_alike() -> None:
    """Scores of one document are all too high, or all too low: single examples would hide how much that varies."""
    generator = np.random.default_rng(5)
    of = np.repeat(np.arange(40), 10)
    golds = generator.standard_normal(400)
    says = golds * np.repeat(np.tile([1.0, -0.2], 20), 10)
    metrics = [load_metric(name, ()) for name in ("pearson", "spearman")]
    widths: dict[str, list[float]] = {"": [], "document": []}
    for known, found in widths.items():
        examples = [
            Example(id="", inputs={"says": float(s)}, gold=float(g), document=f"{known}{d}" if known else "")
            for s, g, d in zip(says, golds, of, strict=True)
        ]
        result = evaluate(Echo(), examples, metrics, split="test")
        assert result.units.name == ("documents" if known else "examples")
        found += [result.quality[name][name]["high"] - result.quality[name][name]["low"] for name in result.quality]
    assert all(whole > 1.3 * single for whole, single in zip(widths["document"], widths[""], strict=True))
    assert "bootstrap of 1,000 resamples of 40 documents" in result.remarks["spearman"]
