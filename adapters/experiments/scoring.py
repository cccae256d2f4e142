"""A finished artifact scored on other data: by the evaluator of a run, into a record like a run's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from adapters.artifacts.loaded import LoadedArtifact
from adapters.artifacts.published import located
from adapters.core import discovery
from adapters.core.arguments import UNUSED
from adapters.core.environment import hardware, versions
from adapters.core.errors import SettingsError, UserError
from adapters.core.files import digest_value, write_json, write_text
from adapters.core.progress import say
from adapters.core.settings import DataSettings, join
from adapters.evaluation.evaluate import Evaluation, evaluate, latency, overlap
from adapters.evaluation.metrics.base.metric import task_metrics
from adapters.evaluation.report import run_report
from adapters.experiments import records, run_folder
from adapters.experiments.run_result import RunResult
from adapters.tasks.base import examples
from adapters.tasks.base.example import Examples
from adapters.tasks.base.reading import tell

OURS = ("scores.json", "predictions.jsonl", "report.txt", run_folder.DATA)
"""All that is written into the output folder."""
SOURCES = frozenset({"dataset_name", "dataset_config_name", "train_file", "validation_file", "test_file"})
"""Settings that name data, rather than how they are read."""
LIMITS = frozenset({"max_train_samples", "max_eval_samples", "max_predict_samples", "train_draw"})
"""Settings that say how many examples of a split are taken."""
OF_CALLER = frozenset({"plugin_dir", "metrics", "trust_remote_code"})
"""Settings by which code is run: the caller's alone, never those in the folder of an artifact."""


@dataclass(frozen=True, kw_only=True)
class Scored(DataSettings):
    """Which data are scored, and by what; how they are read is as in the artifact's run, unless it is given."""

    dataset_name: str | None = None
    """Path, Hub id or alias of a dataset whose test split is scored."""
    test_file: str | None = None
    """File of the examples that are scored. Default, without --dataset_name: the test data of the artifact's run."""
    metrics: list[str] = field(default_factory=list)
    """Further metrics: names of metrics, or scripts of Hugging Face's evaluate."""
    trust_remote_code: bool = False
    """Let --metrics run scripts from the Hub on this machine."""
    train_file: Annotated[str | None, UNUSED] = None
    validation_file: Annotated[str | None, UNUSED] = None
    validation_split_percentage: Annotated[int, UNUSED] = 10
    max_train_samples: Annotated[int | None, UNUSED] = None
    max_eval_samples: Annotated[int | None, UNUSED] = None
    train_draw: Annotated[int | None, UNUSED] = None
    allow_unknown_tokens: Annotated[bool, UNUSED] = False


def settings_class(tasks: Sequence[str], plugin_dirs: Sequence[str] = ()) -> Any:
    """The settings of what is scored, for one task or several."""
    return join(DataSettings, *(discovery.load("tasks", name, plugin_dirs).Settings for name in tasks), Scored)


def score(loaded: LoadedArtifact, folder: Path | None, given: Mapping[str, Any], output_dir: Path) -> RunResult:
    """Score an artifact on data, and write `scores.json`, `predictions.jsonl` and `report.txt`.

    Args:
        loaded: the artifact.
        folder: where it lies, in its run's folder or elsewhere; None if not known.
        given: values of `settings_class` that were given, by name.
        output_dir: absent, or a folder of an earlier result of this kind, which is replaced.

    Raises:
        SettingsError: no data are named, there is no test split, or the output folder has files of others.
        DataError: data that cannot be read, or have labels that the artifact does not know.
    """
    run_folder.check_own(output_dir, OURS)
    name, plugin_dirs = loaded.task.name, list(given.get("plugin_dir", ()))
    of_run = {} if folder is None else run_folder.settings_of(folder)
    kind = settings_class([name], plugin_dirs)
    test, source = _test(name, kind, of_run, given)
    examples.check_labels(loaded.task, test)
    metrics = task_metrics(
        loaded.task, given.get("metrics", ()), plugin_dirs, allow_hub=given.get("trust_remote_code", False)
    )
    record = {} if folder is None else run_folder.scores_of(folder)
    evaluation = evaluate(loaded.predictor, test[:], metrics, split="test", seed=record.get("seed", 0))
    shared = _overlap(test, name, kind, of_run, plugin_dirs)
    record = {
        **record,
        **_about(loaded, folder, record),
        "dataset": _dataset(record.get("dataset", {}), test, source, evaluation),
        "metric_versions": {metric.name: metric.version for metric in metrics},
        **records.quality_record(evaluation),
        "overlap": {key: value for key, value in shared.items() if key != "numbers"},
        "cost": {
            **record.get("cost", {}),
            "latency_ms": latency(loaded.predictor, evaluation.examples),
            "examples_per_second": round(evaluation.examples_per_second, 2),
        },
        "versions": versions(),
        "hardware": hardware(),
    }
    records.write_predictions(output_dir / "predictions.jsonl", evaluation, shared["numbers"])
    shown = run_report.run_report(record, evaluation)
    write_text(output_dir / "report.txt", run_report.plain(shown))
    write_json(output_dir / "scores.json", record)  # the last: where it is, all is there
    run_report.show(shown)
    return RunResult.read(output_dir)


def _test(name: str, kind: Any, of_run: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Examples, str]:
    """The split that is scored, and the name of its source; `kind` is the task's `settings_class`."""
    known = {one.name for one in fields(kind)}
    unknown = sorted(given.keys() - known)
    if unknown:
        raise SettingsError(f"--{unknown[0]}: is not for {name}, the task of this artifact. Leave it out.")
    own = {key: value for key, value in of_run.items() if key in known - LIMITS - OF_CALLER}
    sources = {key: given[key] for key in SOURCES & given.keys() if given[key] is not None}
    if sources:
        own = {key: value for key, value in own.items() if key not in SOURCES}
    elif not own:
        raise SettingsError(
            "Give the data to score: --test_file, or --dataset_name. (The artifact does not lie in the folder of its "
            "run, whose settings.json names its own test data.)"
        )
    settings = replace(kind(**own), **given)
    settings.check()
    _, splits, _ = examples.read_splits(name, settings, scored=True)
    source = str(settings.test_file or settings.train_file or settings.dataset_name)
    if "test" not in splits:
        raise SettingsError(f"{source}: has no test split. Give one: --test_file.")
    test = splits["test"]
    say(f"data: {source}: {len(test):,} test")
    tell({"test": test})
    return test, source


def _overlap(
    test: Examples, name: str, kind: Any, of_run: Mapping[str, Any], plugin_dirs: Sequence[str]
) -> dict[str, Any]:
    """Examples that the artifact's training data have, too, but for blanks; None of a count where it is not known."""
    unknown: dict[str, Any] = {"count": None, "equal": None, "first": [], "numbers": []}
    if not of_run:
        return unknown
    own = {key: of_run[key] for key in ({one.name for one in fields(kind)} - OF_CALLER) & of_run.keys()}
    try:
        _, splits, _ = examples.read_splits(name, kind(**{**own, "test_file": None, "plugin_dir": list(plugin_dirs)}))
    except UserError as error:
        say(f"note: examples in train are not counted: {str(error).splitlines()[0]}")
        return unknown
    return overlap(test[:], splits.get("train", ()))


def _about(loaded: LoadedArtifact, folder: Path | None, of_run: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of the artifact, where its run's says nothing."""
    card, labels = loaded.card, loaded.task.labels
    method = card["method"]["name"]
    if "export" in card:
        quantize = card["export"].get("quantize", {}).get("kind")
        method += f" ({' '.join(filter(None, (card['export']['format'], quantize)))})"
    found = {
        "task": loaded.task.name,
        "method": method,
        "method_notes": {},
        "base": card["base"]["name"] if card["base"] else "",
        "labels": list(labels.names),
        "label_digest": labels.digest,
        "left_out": "",
        "seed": 0,
        "row_digest": digest_value([card.get("digest"), method]),
    }
    return {
        **{key: value for key, value in found.items() if key not in of_run},
        "evaluated": {"artifact": None if folder is None else str(located(folder)), "digest": card.get("digest")},
    }


def _dataset(of_run: Mapping[str, Any], test: Examples, source: str, evaluation: Evaluation) -> dict[str, Any]:
    """What was scored, in the keys of a run's record, with what its run says of its training data."""
    sizes, notes = ({k: v for k, v in of_run.get(key, {}).items() if k != "test"} for key in ("sizes", "notes"))
    return records.dataset_record(
        evaluation,
        name=source,
        train=of_run.get("train"),
        revision=None,
        sizes={**sizes, "test": len(test)},
        notes={**notes, "test": test.notes},
    )
