"""How each number of a comparison's page was made, in a paragraph each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.core.errors import numbered
from adapters.experiments.comparison.verdict import margin_points


def paragraphs(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(id, title, text) of each number; the ids are those of `Column.about`."""
    score, data = summary["title"], summary["dataset"]
    rows = summary["rows"]
    margins = {margin_points(one["margin"]) for one in summary["advice"]}
    out = [
        (
            "method",
            "Method",
            "A row is a method on a base model, with one run for each seed. All rows were scored by the same code on "
            f"the same {numbered(data['n'], 'examples')} of the {data['split']} split, in the same order. Rows on "
            "different base "
            "models are listed separately: they differ in the base as well as in the method.",
        ),
        (
            "score",
            f"{score}, 95 % interval",
            f"The mean over seeds of each run's {score}, in percent. The interval covers the draw of the examples "
            "(bootstrap) and of the seeds (a t distribution by their spread; two-way random effects, the interaction "
            "counted once). With one seed it covers the examples alone, and is about this trained model. The dot is "
            "the score, the line its interval, the dotted line the best score that the row is compared with. "
            "Overlapping intervals do not mean that there is no significant difference: the test is of the difference.",
        ),
        (
            "difference",
            "Difference to best",
            "The row's score minus that of the best row on the same base, in points, with an interval of the "
            "difference. Both were scored on the same examples, so the interval is narrower than those of the two "
            "scores suggest. It has the level of its test in Holm's procedure (95 % or more, the more pairs are "
            "tested), and reaches to 0 where there is no significant difference.",
        ),
        (
            "result",
            "Result",
            "Significant: the Holm-adjusted p-value, over all pairs of the base, is below 0.05. No significant "
            "difference: it is not, which does not say that the methods are equal. Not tested: the two learned from "
            "different data, or the documents that are resampled are too few. Incomplete: a run failed, and the mean "
            "of the others would flatter the method.",
        ),
        (
            "storage",
            "Storage per task",
            "Bytes that one more task adds to the disk: the artifact (adapter, head, or prompt; for full fine-tuning "
            "the whole model). Mean over seeds.",
        ),
        (
            "training",
            "Training time",
            "Seconds of training a run, without loading the model and without scoring. Mean over seeds, on the "
            "hardware named below; comparable only between runs made on the same machine.",
        ),
        (
            "latency",
            "Latency",
            "Time to answer one example alone with the artifact as it is loaded for use (an adapter in its base's "
            "weights): the median of up to 64 examples, after one that is not counted. Mean over seeds.",
        ),
    ]
    if any(row.get("tuning") for row in rows):
        out.append(
            (
                "tuning",
                "Tuning",
                "Time that the search for the method's settings took, scoring on dev included, and the number of "
                "settings tried. Trials are scored on dev.",
            )
        )
    if any(row["size"] for row in rows):
        out.append(("examples", "Examples", "Labelled training examples that the row's runs learned from."))
    if margins:
        within = f"{', '.join(sorted(margins))} point{'' if margins == {'1.0'} else 's'}"
        out.append(
            (
                "advice",
                "Non-inferior, and the advice",
                f"Non-inferior within {within} (--margin): the simultaneous one-sided 95 % lower bounds of the "
                "difference from every other method on the base are above minus the margin. Of such methods, the one "
                "that costs least (--cost) is advised.",
            )
        )
    return [
        *out,
        (
            "more",
            "The other columns",
            "Sd of seeds: standard deviation (n − 1) of the runs' scores. Without overlap: the score without the "
            "examples that also occur in train. Parameters trained: numbers that training changes. Peak memory: the "
            "most that a run held. Examples per second: throughput in batches. Parse failures: answers of a prompted "
            "model that could not be read. Truncated: inputs too long for the model. Shots dropped: prompts from "
            "which demonstrations were left out for lack of space.",
        ),
    ]
