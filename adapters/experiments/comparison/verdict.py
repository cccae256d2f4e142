"""The verdict of a comparison, in sentences. A method is never called better because its row has another base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.core.errors import numbered, verb
from adapters.evaluation.documents import FEWEST_DOCUMENTS
from adapters.evaluation.report.run_report import ON_DEV, on_base
from adapters.evaluation.report.tables import cost, points
from adapters.experiments.comparison import curves
from adapters.experiments.comparison.summary import COSTS, compared_bases, largest

ACROSS = (
    "Rows on different bases differ in the base as well as in the method, so no method is credited with the "
    "difference between them."
)
ONE_MODEL = "With one seed, this is about these trained models, not about the methods."
SAME = 1e-9
"""Difference up to which scores are equal."""
SHOWN = 6
"""Rows that a sentence names."""


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """The verdict: a few sentences for each base, then what holds across them."""
    rows = summary["rows"]
    bases = compared_bases(row["base"] for row in rows)
    out = [_of_base(summary, base) for base in bases]
    out += [
        f"{_name(row)}{on_base(row['base'])} is incomplete ({numbered(len(row['seeds']), 'runs')} finished, others "
        "failed), so it "
        "is in no test and no advice."
        for row in rows
        if row["incomplete"]
    ]
    out += [*filter(None, [resampled_sentence(summary["resampled"])]), *curves.sentences(summary)]
    on_test = summary["dataset"]["split"] == "test"
    out += [] if on_test else [f"There is no test set: {ON_DEV}"]
    out += [_settings(rows, on_test=on_test)] if summary["planned"] else []
    if summary.get("machines", 1) > 1:
        out.append("The runs were made on different machines, so their times and memory cannot be compared.")
    return [*out, ACROSS] if len(bases) > 1 else out


def resampled_sentence(resampled: Mapping[str, Any]) -> str:
    """What was resampled, where examples have documents; else empty. `resampled`: of `documents.Units.record`."""
    number = resampled["documents"]
    documents = numbered(number or 0, "documents")
    if resampled["units"] == "documents" and resampled["enough"]:
        return f"Whole documents are resampled ({documents}), as examples of one document are alike."
    if resampled["units"] == "documents":
        return (
            f"There {verb(number, 'are')} only {documents}, and intervals and tests by whole documents need at least "
            f"{FEWEST_DOCUMENTS}: none is made. Score more documents, or resample single examples "
            "(--resample examples), which takes examples of one document for independent."
        )
    if number is None or number == resampled["examples"]:
        return ""
    few = f", as {number:,} {verb(number, 'are')} too few to be resampled whole" if number < FEWEST_DOCUMENTS else ""
    return f"Single examples are resampled, as if those of one document were independent ({documents}{few})."


def sample_size(summary: Mapping[str, Any]) -> str:
    """`n = 3,453`, and of how many documents where whole ones are resampled."""
    n, resampled = summary["dataset"]["n"], summary["resampled"]
    whole = resampled["units"] == "documents"
    return f"n = {n:,}" + (f" in {numbered(resampled['documents'], 'documents')}" if whole else "")


def where(base: str) -> str:
    """Words before what is said about the rows of a base; classical methods have none."""
    return f"On {base}" if base else "Without a base model"


def test_between(summary: Mapping[str, Any], i: int, j: int, base: str) -> Mapping[str, Any] | None:
    """The test of two rows among those of a base, if it was made."""
    made = (test for test in summary["tests"] if test["base"] == base and test["rows"] == sorted((i, j)))
    return next(made, None)


def _of_base(summary: Mapping[str, Any], base: str) -> str:
    rows = summary["rows"]
    own = largest(rows, base)
    if not own:
        return f"{where(base)}, every method is incomplete, so there is no verdict."
    best = max(own, key=lambda i: rows[i]["value"])
    name = _scored(rows[best])
    if len(own) == 1:
        others = [i for i, row in enumerate(rows) if row["base"] in (base, "") and i not in own]
        return f"{where(base)}, only {name} {'was run to the end' if others else 'was run'}."
    tests = {i: test_between(summary, i, best, base) for i in own if i != best}
    made = {i: test for i, test in tests.items() if test is not None}
    # The test is of the difference in the table; where their signs disagree, nothing was shown for the best row.
    lower = [i for i, test in made.items() if test["differs"]]
    tied = [i for i, test in made.items() if not test["differs"]]
    among = f"On {base}, " if base else ""
    if base and not rows[best]["base"]:
        among = f"Of the methods on {base} and those without a base model, "
    alike = [i for i in own if abs(rows[i]["value"] - rows[best]["value"]) < SAME]
    out = [f"{among}{_listed(rows, alike)} tie for the highest score" if alike[1:] else f"{among}{name} scores highest"]
    if lower and not tied and len(made) == len(tests):
        out[0] += "; every other method scores significantly lower (Holm-adjusted p < 0.05)"
    elif lower:
        out[0] += f"; significantly lower (Holm-adjusted p < 0.05): {_listed(rows, lower)}"
    out[0] += "."
    if tied:
        detectable = max(made[i]["detectable"] for i in tied)
        out.append(
            f"No significant difference from {_listed(rows, tied)} (Holm-adjusted p ≥ 0.05, "
            f"{sample_size(summary)}, {detectable_words(detectable)})."
        )
    untested = [i for i in tests if i not in made]
    if untested and summary["resampled"]["enough"]:
        out.append(f"Not tested against it, as trained on other data: {_listed(rows, untested)}.")
    out += [_advised(rows, one, best) for one in summary["advice"] if one["base"] == base]
    out += _needs_base(summary, base, own)
    if any(rows[i]["of_one_model"] for i in own):
        out.append(ONE_MODEL)
    return " ".join(out)


def _needs_base(summary: Mapping[str, Any], base: str, own: Sequence[int]) -> list[str]:
    """Whether a base model is needed at all, by the tests against the best method without one."""
    rows = summary["rows"]
    without, on_it = ([i for i in own if bool(rows[i]["base"]) == has] for has in (False, True))
    advice = next((one for one in summary["advice"] if one["base"] == base), None)
    if not without or not on_it or advice is None:  # nothing is tested where documents are too few
        return []
    if enough := [i for i in advice["non_inferior"] if i in without]:
        named = f"{_listed(rows, enough)} {'is' if len(enough) == 1 else 'are'}"
        return [f"No base model is needed: {named} non-inferior {within(advice)} to every other method."]
    best = max(without, key=lambda i: rows[i]["value"])
    if any(test_between(summary, i, best, base) is None for i in on_it):
        return []
    tests = {i: test_between(summary, i, best, base) for i in on_it if rows[i]["value"] > rows[best]["value"]}
    higher = [i for i, test in tests.items() if test is not None and test["differs"]]
    than = (
        f"significantly higher than the best method without one ({rows[best]['method']}, {points(rows[best]['value'])})"
    )
    listed, score = _listed(rows, higher, last=" and "), "scores" if len(higher) == 1 else "score"
    if len(higher) == len(on_it):
        return [f"Using a base model improves the score: {listed} {score} {than}."]
    if higher:
        return [f"Using a base model improves the score with {listed}: {than}."]
    return [f"No significant improvement from using a base model: no method on one scores {than}."]


def _advised(rows: Sequence[Mapping[str, Any]], advice: Mapping[str, Any], best: int) -> str:
    """Which method to choose, or what it would take to say so."""
    near = within(advice)
    good, chosen, (key, least) = advice["non_inferior"], advice["chosen"], COSTS[advice["cost"]]
    if not good and advice["untested"]:
        return f"Non-inferiority {near} is not tested between methods that learned from different data."
    if not good:
        needed = advice["needed"]
        ways = [f"about {needed[kind]:,} {kind}" for kind in ("examples", "documents", "seeds") if needed.get(kind)]
        enough = f"{' or '.join(ways)} would be needed" if ways else "more examples or seeds would be needed"
        return f"For no method can non-inferiority {near} to every other one be concluded: {enough}."
    simultaneously = f"Non-inferior {near} to every other method (simultaneously, 95 %): {_listed(rows, good)}."
    if chosen is None:
        return f"{simultaneously} Which needs {least} is not known: {advice['unknown_cost']}."
    name = _name(rows[chosen])
    if len(good) == 1:
        return f"Only {name} is non-inferior {near} to every other method: choose {name}."
    prices = [
        _cost(key, rows[i]) if i == chosen else f"{_name(rows[i])} {_cost(key, rows[i])}"
        for i in dict.fromkeys((chosen, best))
    ]
    equal = sum(rows[i][key] == rows[chosen][key] for i in good) > 1
    needs = f"{name} scores highest of those that need {least}" if equal else f"{name} needs {least}"
    return f"{simultaneously} Of these, {needs} ({', '.join(prices)}): choose {name}."


def within(advice: Mapping[str, Any]) -> str:
    """The margin in words."""
    return f"within {margin_points(advice['margin'])} point{'' if advice['margin'] == 0.01 else 's'}"


def margin_points(margin: float) -> str:
    """A margin in points, with all its digits: no other one was tested."""
    shown = points(margin)
    return shown if abs(float(shown) - 100 * margin) < SAME else f"{100 * margin:g}"


def detectable_words(difference: float) -> str:
    """The smallest difference that would be seen, in points."""
    if difference >= 1:
        return "no difference could be seen: examples or seeds are too few"
    return f"smallest detectable difference {points(difference)} points"


def _listed(rows: Sequence[Mapping[str, Any]], chosen: Sequence[int], *, last: str = ", ") -> str:
    """Rows with their scores, the best first, at most `SHOWN`; `last` is written before the last of them."""
    names = [_scored(rows[i]) for i in sorted(chosen, key=lambda i: -rows[i]["value"])]
    if len(names) > SHOWN:
        return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"
    return last.join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['method']} at {row['size']}" if row["size"] else str(row["method"])


def _scored(row: Mapping[str, Any]) -> str:
    return f"{row['method']} ({points(row['value'])})"


def _settings(rows: Sequence[Mapping[str, Any]], *, on_test: bool) -> str:
    """How the settings were chosen."""
    searched = {_name({**row, "size": ""}): row["tuning"] for row in rows if row["tuning"]}
    if not searched:
        return "All methods ran at their default settings: others may rank them differently (--tuning_trials 6)."
    trials = sorted({tuning["trials"] for tuning in searched.values()})
    number = numbered(trials[0], "trials") if len(trials) == 1 else f"{trials[0]} to {trials[-1]} trials"
    out = f"Settings were chosen on dev from {number} of each method"
    out += "; no trial was scored on test." if on_test else "."
    known = [tuning["resolution"] for tuning in searched.values() if tuning["resolution"]]
    if known:
        out += f" By the draw of dev examples alone, trials closer than {points(max(known))} points are alike."
    failed = [f"{tuning['failed']} of {name}" for name, tuning in searched.items() if tuning["failed"]]
    if failed:
        out += f" Trials that failed: {', '.join(failed)}."
    default = list(dict.fromkeys(_name({**row, "size": ""}) for row in rows if not row["tuning"]))
    return f"{out} Without settings to search: {', '.join(default)}." if default else out


def _cost(key: str, row: Mapping[str, Any]) -> str:
    return "not measured" if row[key] is None else cost(key, row)
