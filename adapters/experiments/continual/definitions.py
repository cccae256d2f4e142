"""How each number of a continual experiment's page was made, in a paragraph each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def paragraphs(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(id, title, text) of each number; the ids are those of `Column.about`."""
    title, tasks = summary["title"], len(summary["tasks"])
    out = [
        (
            "strategy",
            "Strategy",
            "A row is a strategy with a method: how a model that has learned some tasks learns the next one. Its runs "
            "differ in the order of the tasks and in the seed. All rows were scored by the same code on the same test "
            "examples of each task. Rows that were given the task identity with each example are compared with one "
            "another, and so are rows that were not. Rows that do not learn sequentially (all tasks at once, a "
            "model for each task) are references: they bound what the others can reach.",
        ),
        (
            "score",
            f"Final average {title}, 95 % interval",
            f"The score on each of the {tasks} tasks after the last stage, averaged over the tasks (each counts the "
            "same, whatever its number of examples), then over the runs, in percent. The interval covers the draw of "
            "the test examples within each task (bootstrap) and of the runs (a t distribution by their spread; two-way "
            "random effects). With one run it covers the examples alone, and is about this trained model. It says "
            "nothing of other tasks. The dot is the score, the line its interval, the dotted line the best score that "
            "the row is compared with.",
        ),
        (
            "difference",
            "Difference to best",
            "The row's final average minus that of the best row that learns sequentially under the same condition "
            "(with or without the task identity), in points, with an interval of the difference, on the same examples, "
            "at the level of its test in Holm's procedure (95 % or more, the more pairs are tested).",
        ),
        (
            "result",
            "Result",
            "Significant: the Holm-adjusted p-value, over all pairs of complete rows, is below 0.05. No significant "
            "difference: it is not, which does not say that the rows are equal. Incomplete: a run failed, and the mean "
            "of the others would flatter the strategy; it is in no test.",
        ),
        (
            "forgetting",
            "Forgetting",
            "The mean, over all tasks but those of the last stage, of the best score that a task had after an earlier "
            "stage minus its final score (Chaudhry et al. 2018, arXiv:1801.10112), in points; the mean over runs. "
            "0: nothing was lost; below 0: the tasks gained. It is not tested.",
        ),
        (
            "learning",
            "Learning accuracy",
            "The mean accuracy (or other main score) on task j directly after learning task j (the diagonal of the "
            "accuracy matrix; Riemer et al. 2019, arXiv:1810.11910): how well new tasks are learned, whether or not "
            "they are forgotten later.",
        ),
        (
            "backward",
            "Backward transfer",
            "The mean, over all tasks but those of the last stage, of a task's final score minus its score directly "
            "after it was learned (Lopez-Paz & Ranzato 2017, arXiv:1706.08840), in points. Below 0: learning later "
            "tasks cost earlier ones.",
        ),
        (
            "forward",
            "Forward transfer",
            "The mean, over all tasks but those of the first stage, of a task's score right before it is learned minus "
            "that of a model that learned nothing (Lopez-Paz & Ranzato 2017), in points; – where these were not "
            "scored.",
        ),
        (
            "intransigence",
            "Intransigence",
            "The mean over tasks of the score of a model that learned all tasks at once with the same method, minus "
            "the learning accuracy (Chaudhry et al. 2018), in points; – where there is no such model. In the "
            "paper that model has learned the tasks so far; in this table, all of them.",
        ),
        (
            "storage",
            "Storage",
            "Bytes on disk after the last stage, which the next stage needs: the base model, counted once; what was "
            "trained; remembered examples; anything else (an importance of each weight, a router). Beyond the base: "
            "all but the base model. Mean over runs.",
        ),
        ("memory", "Peak memory", "The most memory that a stage held, the mean over runs."),
        (
            "training",
            "Training a task",
            "Seconds of training, over all stages, divided by the number of tasks; “All of a task” has loading and "
            "scoring, too. Tokens and steps are of all stages together. Mean over runs, on the hardware named below; "
            "comparable only between runs made on the same machine.",
        ),
        (
            "runs",
            "Runs",
            "A run is one order of the tasks with one seed. Sd of runs: the standard deviation (n − 1) of their final "
            "averages.",
        ),
        (
            "matrix",
            "The matrix",
            "Row i, column j: the score on task j after the stage that learned task i, the mean over the runs of this "
            "order; of a single run, with its 95 % interval (bootstrap). Read down a column to see what becomes of a "
            "task. Scores above the diagonal are of tasks that were not learned yet.",
        ),
    ]
    if any(row["routing"] for row in summary["rows"]):
        out.append(
            (
                "routing",
                "Routing accuracy",
                "The share of the test examples that the router, which is not given the task identity, sends to their "
                "own task, after the last stage. A routed row answers with what the router chose, so its final average "
                "has the router's errors in it.",
            )
        )
    return out
