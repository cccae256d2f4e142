"""The Python interface: train, compare, load and explain, for scripts and notebooks. `import adapters` offers them.

The defaults, checks and messages are those of the commands. Errors are exceptions of `adapters.core.errors`, all of
them `ValueError`s; nothing here ends the interpreter.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from adapters.artifacts import loading, plain_peft
from adapters.artifacts.explaining.base import explain as explaining
from adapters.artifacts.explaining.base.attribution import Options
from adapters.artifacts.explaining.base.explanation import Explanation
from adapters.artifacts.explaining.base.neighbours import Neighbours
from adapters.artifacts.loaded import LoadedArtifact
from adapters.artifacts.peft_config import PeftConfig
from adapters.artifacts.published import located
from adapters.core import arguments, discovery, flags
from adapters.core.errors import SettingsError
from adapters.core.files import free_folder
from adapters.core.settings import CommonSettings, join
from adapters.data.dataset_files import chosen_splits
from adapters.data.in_memory import write_rows
from adapters.experiments import run_folder, scoring
from adapters.experiments.comparison.comparison import Comparison
from adapters.experiments.comparison.result import ComparisonResult
from adapters.experiments.python_errors import ROWS, in_words_of_the_call
from adapters.experiments.run import DryRunEnded, Run, open_run
from adapters.experiments.run_result import RunResult
from adapters.models import devices
from adapters.serving.bank.bank import AdapterBank
from adapters.tasks.base import examples
from adapters.tasks.base.requests import example_of, request_of


def train(
    *,
    task: str | None = None,
    method: str | None = None,
    train: Any = None,
    validation: Any = None,
    test: Any = None,
    data: Any = None,
    model: str | None = None,
    output_dir: str | Path | None = None,
    **settings: Any,
) -> RunResult | None:
    """Train a method for a task, score it, and write its run's folder.

    Args:
        task: name of a task (`taskswap train --help` lists them), or a plugin's. Needed.
        method: name of a method: full, lora, prefix, few_shot, … Needed.
        train: training examples: a path, an alias, a Hub id, a list of dicts, a pandas DataFrame or a datasets.Dataset;
            or a DatasetDict with all splits.
        validation: dev examples, in any of these forms. Default: cut from train.
        test: test examples. Without any, scores are named dev.
        data: a whole dataset instead: a folder, an alias (conll2003), a Hub id or a DatasetDict.
        model: base model: a folder, a Hub id or an alias.
        output_dir: folder of the run. Default: a new one, runs/{method}_{task}, with a number where it is taken.
        settings: any flag of the recipes by its name: `learning_rate=1e-3, num_train_epochs=5`. Where a list is
            needed, a text is read as on the command line: `metrics="accuracy"` has one item, `"a,b"` two.

    Returns:
        The result; None of a dry run.

    Raises:
        UserError: an unknown name or setting, data with faults (each with its row), a base that does not fit.
    """
    task = _plugin("tasks", "task", task, _plugins(settings))
    method = _plugin("methods", "method", method, _plugins(settings))
    folder = _folder(output_dir, f"{method}_{task}")
    with in_words_of_the_call(folder):
        given, rows = _given(folder, model, data, {"train": train, "validation": validation, "test": test}, settings)
        run = open_run(task, method, {"output_dir": str(folder)}, flags.as_flags(given))
        run_folder.check(folder, run.settings)
        if run.settings.dry_run:
            with tempfile.TemporaryDirectory() as draft, in_words_of_the_call(Path(draft)):
                run.settings = replace(run.settings, **_write(rows, Path(draft)))
                return _result(run)
        _write(rows, folder)
        return _result(run)


def _result(run: Run) -> RunResult | None:
    """What a run ends with; None of a dry run."""
    try:
        task = run.read_task()
        return run.save_and_print(run.evaluate(run.fit(task, run.build_method())))
    except DryRunEnded:
        return None


def compare(
    *,
    task: str | None = None,
    methods: str | Sequence[str] | None = None,
    train: Any = None,
    validation: Any = None,
    test: Any = None,
    data: Any = None,
    model: str | None = None,
    output_dir: str | Path | None = None,
    **settings: Any,
) -> ComparisonResult | None:
    """Compare methods on the same examples: each with several seeds, paired tests, a verdict and a page.

    Args:
        task, train, validation, test, data, model: as `train` takes them.
        methods: names of methods; a text is read as on the command line, "lora" or "lora,full". Default: majority,
            tfidf, crf, full, head, lora, prefix, zero_shot and few_shot, without those that do not fit the task.
        output_dir: folder of the comparison; given again, finished runs in it are kept. Default: a new one,
            runs/compare_{task}.
        settings: any flag of the comparison recipes: `seeds=3, prompt_model_name_or_path="smollm2"`.

    Returns:
        The result; None where the runs were handed over to Slurm.

    Raises:
        UserError: as `train`; ComparisonError where every run failed.
    """
    task = _plugin("tasks", "task", task, _plugins(settings))
    folder = _folder(output_dir, f"compare_{task}")
    with in_words_of_the_call(folder):
        given, rows = _given(folder, model, data, {"train": train, "validation": validation, "test": test}, settings)
        if methods is not None:
            given["methods"] = methods
        comparison = Comparison(None, task=task, defaults={"output_dir": str(folder)}, argv=flags.as_flags(given))
        comparison.check_folder()
        _write(rows, folder)
        comparison.check()
        comparison.run_all()
        return comparison.save_and_print()


def load(
    folder: str | Path | RunResult,
    *,
    base: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    task: str | None = None,
    labels: str | Sequence[str] | None = None,
    multi_label: bool | None = None,
    pair: bool | None = None,
    max_length: int | None = None,
    adapter: str | None = None,
    plugin_dirs: str | Sequence[str] = (),
) -> LoadedArtifact:
    """Verify an artifact and load it on its base model; the result can be called with a text or a list of texts.

    The device and the number format that were chosen are printed on stderr. An export to ONNX is run without torch.

    Args:
        folder: a run's folder or the `artifact` in it, a plain PEFT folder, or an export to ONNX; a link to one, or a
            folder whose `current.json` names one; or what `train` gave.
        base: its base model by path, alias or Hub id. Default: the one that it names.
        device: auto (cuda, then mps, then cpu), or the name of a device: cuda, cuda:1, mps, cpu.
        dtype: float32, bfloat16, or auto (bfloat16 on a CUDA device that supports it, float32 elsewhere).
        task: of a plain PEFT folder whose config does not name it.
        labels: of a plain PEFT folder, in the order of its head; a text is read as on the command line, "POS,NEG".
        multi_label: whether a text has any number of labels, for a plain PEFT folder. Default: as the problem_type of
            its config.json or of the base's says.
        pair: whether an input of a plain PEFT folder is two texts.
        max_length: tokens of a text that a plain PEFT folder reads. Default: as many as the base does.
        adapter: name of one, of an export that has several.
        plugin_dirs: folders with methods and tasks of your own.

    Raises:
        SettingsError: the device or the number format is not available; what only a plain PEFT folder needs is given
            for an artifact.
        ArtifactError: damaged, of an older version, or trained on another base.
        SourceError: the base cannot be found.
    """
    folder = located(Path(folder.folder if isinstance(folder, RunResult) else folder))
    plugin_dirs = flags.listed(plugin_dirs)
    labels = None if labels is None else flags.listed(labels)
    plain = plain_peft.is_plain(folder)
    reading = plain_peft.Reading(task=task, labels=labels, multi_label=multi_label, pair=pair, max_length=max_length)
    if reading.given() and not plain:
        raise SettingsError(f"{reading.given()[0]}: only for plain PEFT folders; the card of {folder} has it.")
    if loading.is_export(folder):
        return loading.load_export(folder, adapter, base=base, device=device, dtype=dtype, plugin_dirs=plugin_dirs)
    if adapter is not None:
        raise SettingsError(f"adapter {adapter}: {folder} is of one adapter, which has no name. Leave it out.")
    chosen, number_format = devices.choose_and_report(device, dtype)
    if not plain:
        return loading.load(folder, base=base, device=chosen, dtype=number_format, plugin_dirs=plugin_dirs)
    config = PeftConfig(folder)
    if not config.mixes(plugin_dirs):
        return loading.load_plain(
            folder, reading, base=base, device=chosen, dtype=number_format, plugin_dirs=plugin_dirs
        )
    bank = AdapterBank(base or config.base, device=chosen, dtype=number_format, plugin_dirs=plugin_dirs)
    bank.load("adapter", folder, **vars(reading))
    return LoadedArtifact(bank.card("adapter"), bank.task("adapter"), bank.predictor("adapter"))


def evaluate(
    artifact: str | Path | RunResult | LoadedArtifact,
    *,
    test: Any = None,
    data: str | Path | None = None,
    output_dir: str | Path | None = None,
    base: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    adapter: str | None = None,
    **settings: Any,
) -> RunResult:
    """Score an artifact on data that its run did not score, by the evaluator and with the report of a run.

    Args:
        artifact: what `load` takes, or returns.
        test: examples: a path, a list of dicts, a `datasets.Dataset` or a pandas frame. Default, without `data`: the
            test data of the artifact's run.
        data: a whole dataset instead, whose test split is scored: a folder, an alias or a Hub id.
        output_dir: folder of the scores. Default: a new one, runs/evaluate_{task}, with a number where it is taken.
        base, device, dtype, adapter: as of `load`.
        settings: any flag of `taskswap evaluate` by its name: `metrics="bleu"`, `label_column_name="stars"`.

    Returns:
        The result, which `compare` takes like a run's, if the artifact lies in the folder of its run.

    Raises:
        UserError: what `load` raises; data that cannot be read, or have labels that the artifact does not know.
    """
    folder = None if isinstance(artifact, LoadedArtifact) else artifact
    folder = folder.folder if isinstance(folder, RunResult) else folder
    loaded = artifact
    if not isinstance(loaded, LoadedArtifact):
        loaded = load(loaded, base=base, device=device, dtype=dtype, adapter=adapter, plugin_dirs=_plugins(settings))
    output = new_folder(output_dir, loaded.task.name)
    with in_words_of_the_call(output):
        run_folder.check_own(output, scoring.OURS)
        named, rows = _data_settings(output, data, {"test": test})
        given = {**named, **settings}
        kind = scoring.settings_class([loaded.task.name], _plugins(settings))
        read = arguments.parse(kind, {}, "", flags.as_flags(given))
        values = {name: getattr(read, name) for name in given}
        _write(rows, output)
        return scoring.score(loaded, None if folder is None else Path(folder), values, output)


def explain(
    artifact: str | Path | LoadedArtifact,
    inputs: str | Mapping[str, Any],
    *,
    method: str | None = None,
    target: str | None = None,
    steps: int = Options.steps,
    nearest: int = 0,
    train: str | Path | None = None,
    base: str | None = None,
    device: str = "auto",
    plugin_dirs: str | Sequence[str] = (),
) -> Explanation:
    """Why a model gives an answer: what each word (or each shot of a prompt) adds to it. Shown in a notebook.

    Args:
        artifact: what `load` takes, or returns.
        inputs: a text, or the task's columns.
        method: weights, integrated_gradients, gradient_input, occlusion or shots. Default: the first of weights,
            integrated_gradients, shots and occlusion that suits the model.
        target: what to explain: a label, an entity (its text, or its number from 1), an answer in the context.
            Default: what is answered; of several entities the first.
        steps: points of the path of integrated gradients.
        nearest: number of training examples to add that are most alike by the model's own features.
        train: file of training examples, for `nearest`. Default: the data that the artifact's run names.
        base, device, plugin_dirs: as of `load`.

    Raises:
        UserError: what `load` raises; an unknown method or target; a method that does not suit the model.
    """
    plugin_dirs = flags.listed(plugin_dirs)
    if method is not None:
        method = _plugin("explanations", "method", method, plugin_dirs)
    loaded = artifact
    if not isinstance(loaded, LoadedArtifact):
        loaded = load(loaded, base=base, device=device, dtype="float32", plugin_dirs=plugin_dirs)
    folder = artifact if isinstance(artifact, str | Path) else None
    among = None
    if nearest:
        among = training_neighbours(loaded, folder, count=nearest, train=train, plugin_dirs=plugin_dirs)
    options = Options(steps=steps)
    return explained(
        loaded, inputs, method=method, target=target, options=options, among=among, plugin_dirs=plugin_dirs
    )


def explained(
    loaded: LoadedArtifact,
    inputs: Any,
    *,
    method: str | None,
    target: str | None,
    options: Options,
    among: Neighbours | None,
    plugin_dirs: Sequence[str],
) -> Explanation:
    """The explanation of one answer of a loaded artifact, with those of `among` that are nearest; else as `explain`."""
    request = request_of(inputs, 0)
    near = among.of(example_of(request, loaded.task)) if among is not None else ()
    return explaining.explain(
        loaded.predictor,
        loaded.task,
        request,
        model=loaded.card["method"]["name"],
        method=method,
        target=target,
        options=options,
        neighbours=near,
        plugin_dirs=plugin_dirs,
    )


def training_neighbours(
    loaded: LoadedArtifact,
    folder: str | Path | None,
    *,
    count: int,
    train: str | Path | None,
    plugin_dirs: Sequence[str],
) -> Neighbours:
    """The training examples of an artifact, placed by its own features; which they are is printed on stderr.

    Args:
        loaded: the artifact.
        folder: where it lies, within its run's folder; None if not known.
        count: how many are given for an example.
        train: file of the examples. Default: the data of the run.
        plugin_dirs: folders with tasks of your own.

    Raises:
        SettingsError: neither a file nor a run's settings are there.
        DataError, SourceError: the data cannot be read.
    """
    settings = run_folder.data_settings(Path(folder)) if folder is not None else {}
    if train is None and not settings:
        raise SettingsError(
            "--nearest needs the training data: give --train_file. (The artifact does not lie in the folder of its "
            "run, whose settings.json names them.)"
        )
    if train is not None:
        settings |= {"train_file": str(train), "dataset_name": None, "max_train_samples": None, "train_draw": None}
    name = loaded.task.name
    known = {field.name for field in fields(join(CommonSettings, discovery.load("tasks", name, plugin_dirs).Settings))}
    _, splits = examples.read_named(name, plugin_dirs, **{key: settings[key] for key in known & settings.keys()})
    split = splits["train"]
    print(f"nearest: {len(split):,} training examples of {split.notes.get('source')}", file=sys.stderr, flush=True)
    return Neighbours(loaded.predictor, loaded.task, split, count=count)


def _plugins(settings: Mapping[str, Any]) -> list[str]:
    return flags.listed(settings.get("plugin_dir") or [])


def _plugin(kind: str, argument: str, name: str | None, plugin_dirs: Sequence[str]) -> str:
    """The name that an argument gives, once it is known that a plugin has it.

    Args:
        kind: of the plugin.
        argument: of the call.
        name: as it was given; None where it is missing.
        plugin_dirs: folders with plugins of your own.

    Raises:
        SettingsError: it is missing, no text, or no plugin's name.
    """
    if not isinstance(name, str):
        found = "is missing" if name is None else f"must be one name, as a text; found {name!r:.60}"
        raise SettingsError(f"{argument}: {found}. Choose from {', '.join(discovery.names(kind, plugin_dirs))}.")
    discovery.load(kind, name, plugin_dirs)
    return name


def new_folder(output_dir: str | Path | None, task: str) -> Path:
    """The folder that was given for scores of an artifact, or a new one, which is printed."""
    return _folder(output_dir, f"evaluate_{task}")


def _folder(output_dir: str | Path | None, name: str) -> Path:
    """The folder that was given, or a new one, which is printed."""
    if output_dir is not None:
        return Path(output_dir)
    folder = free_folder(Path("runs") / name)
    print(f"output_dir: {folder}", file=sys.stderr, flush=True)
    return folder


def _given(
    folder: Path, model: str | None, data: Any, splits: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All settings by their flags' names: of the data, the caller's, and the base model's; and what is in memory."""
    base = {} if model is None else {"model_name_or_path": model}
    named, rows = _data_settings(folder, data, splits)
    return {**named, **settings, **base}, rows


def _data_settings(folder: Path, data: Any, splits: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Settings that name the data, and by split what is in memory: `_write` writes it to the files that they name.

    Raises SettingsError for a form that cannot be read.
    """
    named: dict[str, str] = {}
    given = {name: value for name, value in splits.items() if value is not None}
    if data is not None and "train" in given:
        raise SettingsError("Give data (a whole dataset) or train (with validation and test), not both.")
    whole: Any = data if data is not None else given.get("train")
    if _is_dataset_dict(whole):
        extra = sorted(set(given) - {"train"})
        if extra:
            raise SettingsError(f"A DatasetDict has all splits; leave out {', '.join(extra)}.")
        names, notes = chosen_splits("the DatasetDict", whole)
        print("".join(f"{note}\n" for note in notes), end="", file=sys.stderr, flush=True)
        given, data = {split: whole[name] for split, name in names.items()}, None
    if data is not None:
        if not isinstance(data, str | Path):
            raise SettingsError(
                f"data: must be a folder, an alias, a Hub id or a DatasetDict, found {type(data).__name__}."
            )
        named = {"dataset_name": str(data)}
    train = given.get("train")
    if isinstance(train, str) and not Path(train).is_file() and not Path(train).suffix:
        named = {"dataset_name": given.pop("train")}
    rows = {name: value for name, value in given.items() if not isinstance(value, str | Path)}
    files = {f"{name}_file": str(value) for name, value in given.items() if name not in rows}
    return {**named, **files, **_rows_files(rows, folder)}, rows


def _rows_files(rows: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Settings that name the files of what was given in memory, below an output folder."""
    return {f"{name}_file": str(folder / ROWS / f"{name}.jsonl") for name in rows}


def _write(rows: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Write what was given in memory, once the folder is known to be free for it; the settings that name the files.

    Raises:
        SettingsError: a form that cannot be read.
        DataError: a row that cannot be written.
    """
    files = _rows_files(rows, folder)
    for name, value in rows.items():
        write_rows(name, value, Path(files[f"{name}_file"]))
    return files


def _is_dataset_dict(value: Any) -> bool:
    """Whether it is a `datasets.DatasetDict`, known without importing datasets."""
    return isinstance(value, dict) and bool(value) and all(hasattr(split, "features") for split in value.values())
