"""What comparisons of the same methods over several data sets say together: ranks, tests, sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from adapters.core.errors import numbered
from adapters.core.holm import holm
from adapters.evaluation import ranks
from adapters.evaluation.report.tables import short_name
from adapters.experiments.comparison.verdict import ACROSS

SCOPE = (
    "These numbers take the data sets as the sample. What the draw of examples and of seeds adds is tested within each "
    "data set, on its own page."
)
TEST_NOTE = (
    "Wilcoxon signed-rank test of the differences of scores by data set: two-sided, exact; differences of zero are "
    "ranked and then left out (Pratt). p-values are adjusted over all pairs (Holm). Significant: adjusted p < 0.05, "
    "and with three methods or more Iman–Davenport's p < 0.05 as well."
)
Key = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A finished comparison on one data set.

    Attributes:
        name: what it is called.
        folder: of the comparison.
        record: contents of its comparison.json.
    """

    name: str
    folder: Path
    record: Mapping[str, Any]

    @property
    def rows(self) -> dict[Key, Mapping[str, Any]]:
        """Its rows by method, base and training size."""
        return {(row["method"], row["base"], row["size"]): row for row in self.record["rows"]}


def summarise(sets: Sequence[DataSet]) -> dict[str, Any]:
    """All numbers of several comparisons together, as JSON.

    Ranked is what is complete on every data set. Main scores are ranked whatever their metrics, as more is better in
    all of them (`main_metric` refuses others).
    """
    keys = list(dict.fromkeys(key for one in sets for key in one.rows))
    names = _names(keys)
    why = {key: _missing(key, sets) for key in keys}
    ranked = [key for key in keys if not why[key]]
    scores = np.array([[one.rows[key]["value"] for key in ranked] for one in sets])
    of = ranks.ranks(scores) if len(ranked) > 1 else np.empty((len(sets), 0))
    order = np.argsort(of.mean(0), kind="stable").tolist() if of.size else []
    ranked, scores, of = [ranked[i] for i in order], scores[:, order], of[:, order]
    out: dict[str, Any] = {
        "methods": [
            {**_parts(key), "name": names[key], "average_rank": float(of[:, i].mean()), "ranks": of[:, i].tolist()}
            for i, key in enumerate(ranked)
        ],
        "left_out": [{"name": names[key], "why": why[key]} for key in keys if why[key]],
        "data_sets": [_data_set(one, ranked, of[number]) for number, one in enumerate(sets)],
        "untested": _untested(sets),
        **_tests(scores, tested=len(ranked) > 1 and not _untested(sets)),
    }
    return {**out, "verdict": sentences(out)}


def _names(keys: Sequence[Key]) -> dict[Key, str]:
    """A name for each row: the method, its base by the last part of its name where that is enough, its size."""

    def name(key: Key, base: str) -> str:
        about = ", ".join(part for part in (base, key[2]) if part)
        return f"{key[0]} ({about})" if about else key[0]

    short = {key: name(key, short_name(key[1])) for key in keys}
    return {key: short[key] if list(short.values()).count(short[key]) == 1 else name(key, key[1]) for key in keys}


def _parts(key: Key) -> dict[str, str]:
    return {"method": key[0], "base": key[1], "size": key[2]}


def _missing(key: Key, sets: Sequence[DataSet]) -> str:
    """Why a row has no rank; empty where it is complete on every data set."""
    absent = [one.name for one in sets if key not in one.rows]
    incomplete = [one.name for one in sets if key in one.rows and one.rows[key]["incomplete"]]
    kinds = (("missing", absent), ("incomplete", incomplete))
    return ", ".join(f"{what} on {' and '.join(where)}" for what, where in kinds if where)


def _data_set(one: DataSet, ranked: Sequence[Key], of: np.ndarray) -> dict[str, Any]:
    """A data set with its rows: scores as they are in its comparison, and ranks."""
    places = dict(zip(ranked, of.tolist(), strict=True)) if len(of) else {}
    names = ("value", "low", "high", "seeds", "incomplete")
    return {
        "name": one.name,
        "folder": str(one.folder),
        **{name: one.record[name] for name in ("task", "dataset", "metric", "score", "title")},
        "rows": [
            {**_parts(key), **{name: row[name] for name in names}, "rank": places.get(key)}
            for key, row in one.rows.items()
        ],
    }


def _untested(sets: Sequence[DataSet]) -> str:
    """Why nothing is tested; empty where it is."""
    for one, other in combinations(sets, 2):
        if one.record["dataset"]["digest"] == other.record["dataset"]["digest"]:
            return f"{one.name} and {other.name} score the same examples, so they are no independent data sets"
    if len(sets) < ranks.FEWEST:
        return (
            f"there are {len(sets)} data sets, and of fewer than {ranks.FEWEST} no signed-rank test has a p-value "
            "below 0.05"
        )
    return ""


def _tests(scores: np.ndarray, *, tested: bool) -> dict[str, Any]:
    """Friedman's test, all pairs, and Nemenyi's critical difference with its groups."""
    if not tested:
        return {"friedman": None, "pairs": [], "critical_difference": None, "groups": []}
    sets, methods = scores.shape
    friedman = ranks.friedman(scores) if methods > 2 else None
    differ = friedman is None or friedman.p_f < ranks.LEVEL
    pairs = list(combinations(range(methods), 2))
    found = [ranks.signed_rank(scores[:, i] - scores[:, j]) for i, j in pairs]
    critical, of = ranks.critical_difference(methods, sets), ranks.ranks(scores)
    return {
        "friedman": None if friedman is None else vars(friedman),
        "pairs": [
            {
                "methods": [i, j],
                "wins": int((of[:, i] < of[:, j]).sum()),
                "losses": int((of[:, i] > of[:, j]).sum()),
                "p": test.p,
                "p_holm": adjusted,
                "higher": i if test.positive > test.negative else j,
                "differs": differ and adjusted < ranks.LEVEL,
            }
            for (i, j), test, adjusted in zip(pairs, found, holm([test.p for test in found]), strict=True)
        ],
        "critical_difference": critical,
        "groups": [list(group) for group in ranks.groups(of.mean(0).tolist(), critical)],
    }


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """What the data sets show, the answer first."""
    methods, sets = summary["methods"], len(summary["data_sets"])
    if not methods:
        out = ["Fewer than two methods are complete on every data set, so there are no ranks."]
    else:
        best = [one["name"] for one in methods if one["average_rank"] == methods[0]["average_rank"]]
        has = "have" if len(best) > 1 else "has"
        out = [
            f"Over {sets} data sets, {' and '.join(best)} {has} the best average rank: "
            f"{methods[0]['average_rank']:.2f}, of {len(methods)} methods."
        ]
        out += [f"Nothing is tested: {summary['untested']}."] if summary["untested"] else _shown(summary)
    out += [f"Not ranked: {one['name']}, {one['why']}." for one in summary["left_out"]]
    if len({one["base"] for one in methods}) > 1:
        out.append(ACROSS)
    return [*out, SCOPE] if methods else out


def _shown(summary: Mapping[str, Any]) -> list[str]:
    """What the tests show."""
    methods, friedman, pairs = summary["methods"], summary["friedman"], summary["pairs"]
    out = []
    if friedman is not None:
        differ = friedman["p_f"] < ranks.LEVEL
        f = "" if friedman["f"] is None else f" = {friedman['f']:.2f}"
        out.append(
            f"The ranks of the methods {'differ' if differ else 'do not differ'} significantly (Friedman's χ² = "
            f"{friedman['chi2']:.2f}, {_p(friedman['p'])}; Iman–Davenport's F{f}, {_p(friedman['p_f'])})"
            f"{'' if differ else ', so no pair is called different'}."
        )
    shown = [pair for pair in pairs if pair["differs"]]
    adjusted = f"signed ranks, Holm-adjusted over {numbered(len(pairs), 'pairs')}"
    least = ranks.needed(len(pairs))
    if shown:
        out.append(f"Significant ({adjusted}): {'; '.join(_higher(methods, pair) for pair in shown)}.")
    elif len(summary["data_sets"]) < least:
        out.append(f"No pair differs significantly ({adjusted}), and with fewer than {least} data sets none can.")
    elif friedman is None or friedman["p_f"] < ranks.LEVEL:
        out.append(f"No pair differs significantly ({adjusted}).")
    return out


def _p(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.4f}"


def _higher(methods: Sequence[Mapping[str, Any]], pair: Mapping[str, Any]) -> str:
    i, j = pair["methods"]
    lower = j if pair["higher"] == i else i
    return f"{methods[pair['higher']]['name']} above {methods[lower]['name']} ({_p(pair['p_holm'])})"
