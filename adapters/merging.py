"""An adapter merged into its base for deployment, and LoRA adapters of one task combined into one."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import artifact, methods, peft_folder, predictor
from adapters.changes import PEFT_NAMES
from adapters.data import SPLITS
from adapters.errors import ArtifactError, ModelError, SettingsError
from adapters.evaluation import main_score
from adapters.layers import last_parts
from adapters.low_rank import LowRankMethod
from adapters.metrics import Metric
from adapters.records import versions
from adapters.settings import require
from adapters.tasks import Example

if TYPE_CHECKING:
    from adapters.model import Base

HOW = {"linear": "cat", "svd": "svd"} | {how: f"{how}_svd" for how in ("ties", "dare_linear", "dare_ties")}
"""Ways to combine, by PEFT's names of those that combine the changes B·A. Its own `linear`, `ties` and `dare_*` combine
the A and the B apart, which is no sum: an adapter with itself, half and half, becomes twice the adapter by `linear`."""
DENSITY, STEPS, MAX_TRIED, EXACT = 0.5, 4, 64, ("linear", "svd")
_KEPT = ("task", "max_length", "label_digest", "base", "scores")
_NEW, _DOWN, _UP = "combined", ".lora_A.weight", ".lora_B.weight"
_INSTEAD = "Use it as it is (predict, the bank), or train lora or ia3, which can be merged"


def merge(
    folder: str | Path, output_dir: str | Path, *, base: str | None = None, plugin_dirs: Sequence[str] = ()
) -> Path:
    """Merge an adapter into its base: an artifact of the method `full`, an ordinary transformers folder.

    Its answers are the adapter's (logits within 1e-5 in fp32), so the scores in the adapter's card are kept. `base` is
    its base model by path, alias or Hub id (None: the one that the card names); `output_dir` must be absent or empty.
    Raises ModelError where no weights of the base can hold the change; ArtifactError, SettingsError.
    """
    folder, output = Path(folder), _free(output_dir)
    card, method = _read(folder, plugin_dirs)
    model, on = _merged(folder, method, base, plugin_dirs)
    source = {"name": _name(folder), "digest": card["digest"], "method": card["method"]}
    made = {"method": {"name": "full", "library": "transformers", "settings": {}}, "merged": source,
            **{name: card[name] for name in _KEPT if name in card}, "versions": versions()}  # fmt: skip
    said = f"The {method.name} adapter {source['name']} (card {card['digest'][:12]}…) merged into {on.name}."
    _, whole = predictor.parts(made, output, plugin_dirs)
    artifact.write(output, lambda draft: whole.save(model, on, draft), made, _readme(made, [said]))
    return output


def combine(
    folders: Sequence[str | Path], output_dir: str | Path, *, weights: Sequence[float] | None = None,
    how: str = "linear", density: float | None = None, seed: int = 0, base: str | None = None,
    notes: Mapping[str, Any] | None = None, plugin_dirs: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Combine LoRA adapters of one task, label list, base and set of layers into one, an artifact of the method `lora`.

    A layer's change is made of the adapters' changes, alpha / r in them; the heads are averaged by the same weights.

    Args:
        folders, output_dir: two artifacts or more, of any ranks; a folder that is absent or empty.
        weights: a number an adapter. Default: equal, with a sum of 1. Those of weight 0 are left out; one that is left
            alone stays as it is.
        how: linear: the weighted sum, its rank the sum of theirs. svd: that, cut to their largest rank. ties
            (arXiv:2306.01708): small parts and those of the minority's sign dropped, then the mean, weights times their
            number. dare_linear, dare_ties (arXiv:2311.03099): parts dropped at random, the others scaled up. These
            three are cut to the sum of the ranks.
        density: share of each change that ties and dare keep. Default: 0.5.
        seed: of what dare drops.
        base: their base model by path, alias or Hub id; None takes the one that the first card names.
        notes: for the card: the scores that the weights were chosen by, say.

    Raises SettingsError, ModelError for a method that cannot be combined, ArtifactError for adapters that do not fit.
    """
    output, weights = _free(output_dir), _checked(weights, len(folders))
    given = _Adapters(folders, base, plugin_dirs, how, density, seed)
    card, method, model = given.combined(weights)
    parts = [{"name": _name(folder), "digest": own["digest"], "method": own["method"]["name"], "weight": weight}
             for folder, own, weight in zip(given.folders, given.cards, weights, strict=True)]  # fmt: skip
    card["combined"] = {"how": how, "density": given.density, "seed": seed, "of": parts, **(notes or {})}
    card["versions"] = versions()
    said = [f"LoRA adapters combined ({how}, density {given.density}): name, weight, digest of the card.", "",
            *(f"- {part['name']}, {part['weight']:.4g}, {part['digest'][:12]}…" for part in parts)]  # fmt: skip
    artifact.write(output, lambda draft: method.save(model, given.base, draft), card, _readme(card, said))
    return output


def choose_weights(
    folders: Sequence[str | Path], examples: Sequence[Example], metric: Metric, *, how: str = "linear",
    density: float | None = None, seed: int = 0, base: str | None = None, plugin_dirs: Sequence[str] = (),
) -> tuple[tuple[float, ...], list[tuple[tuple[float, ...], float]]]:  # fmt: skip
    """Weights for `combine`, chosen on dev from multiples of 1/4 with a sum of 1, and equal ones; coarser for many.

    `examples` are of dev (a test split is refused), `metric` is the one whose main score is looked at, all else is as
    `combine` takes it. Returns the best, of equally good ones those of fewest adapters; and all, with their scores.
    """
    if getattr(examples, "name", None) == SPLITS[-1]:
        raise SettingsError("Weights chosen on test would make its score worthless. Give dev: --validation_file.")
    require(len(examples) > 0, "validation_file", "without an example", "a dev split to choose weights on")
    grid = _grid(len(folders))
    given = _Adapters(folders, base, plugin_dirs, how, density, seed)
    said, names = ", ".join(metric.labels), ", ".join(given.task.labels.names)
    require(said == names, "validation_file", f"with the labels {said}", f"labelled as the adapters are: {names}")
    tried = []
    for weights in grid:
        _, method, model = given.combined(weights)
        tried.append((weights, main_score(method.predictor(model, given.base, given.task), examples, metric)))
    best, _ = max(tried, key=lambda one: (-math.inf if math.isnan(one[1]) else one[1], one[0].count(0)))
    return best, tried


class _Adapters:
    """Low-rank adapters that belong together, side by side in one model of PEFT's; their heads are apart."""

    def __init__(
        self, folders: Sequence[str | Path], base: str | None, plugin_dirs: Sequence[str], how: str,
        density: float | None, seed: int,
    ) -> None:  # fmt: skip
        import peft

        self.how, self.density, self.seed, self.plugin_dirs = how, _density(how, density), seed, plugin_dirs
        self.folders = [Path(folder) for folder in folders]
        self.methods: list[LowRankMethod] = []
        for folder in self.folders:
            _, method = _read(folder, plugin_dirs)
            if not isinstance(method, LowRankMethod) or method.peft_switches["use_dora"]:
                raise ModelError(f"{folder}: adapters of {method.name} cannot be combined: their change is no low-rank "
                                 "sum B·A. Combine those of lora or rslora, or merge each alone.")  # fmt: skip
            self.methods.append(method)
        read = [(folder, *artifact.open_adapter(folder)) for folder in self.folders]
        for other in read[1:]:
            _check_alike(read[0], other)
        self.cards, self.tensors = [card for _, card, _ in read], [tensors for *_, tensors in read]
        self.sides = [name for name in self.tensors[0] if name.endswith((_DOWN, _UP))]
        loaded: Any = predictor.load(self.folders[0], base=base, plugin_dirs=plugin_dirs)
        self.base, self.task = loaded.predictor.base, loaded.task
        # As plain LoRA with alpha = scaling * r, whatever the method; without heads, with which PEFT combines none.
        model = loaded.predictor.model.unload()
        layers = [PEFT_NAMES.sub("", name.removesuffix(_DOWN)) for name in self.sides if name.endswith(_DOWN)]
        changes = {"modules_to_save": None, "target_modules": layers, "use_rslora": False}
        for i, (method, tensors) in enumerate(zip(self.methods, self.tensors, strict=True)):
            alpha = method.scaling * method.settings.lora_r
            config = replace(method.config(model, self.base, self.task, []), **changes, lora_alpha=alpha)
            if i:
                self.model.add_adapter(f"given{i}", config)
            else:
                self.model: Any = peft.get_peft_model(model, config, adapter_name="given0")
            peft.set_peft_model_state_dict(self.model, {name: tensors[name] for name in self.sides}, f"given{i}")

    def combined(self, weights: Sequence[float]) -> tuple[dict[str, Any], methods.Method, Any]:
        """The card of a combination, but for what it was made of; its method; its model."""
        import peft

        used, total = [i for i, weight in enumerate(weights) if weight], math.fsum(weights)
        tensors = self._changes(used, weights)
        rank = next(len(tensor) for name, tensor in tensors.items() if name.endswith(_DOWN))
        for name in self.tensors[0].keys() - tensors.keys():
            tensors[name] = sum(weights[i] / total * self.tensors[i][name] for i in used)
        card = {name: self.cards[0][name] for name in _KEPT[:-1] if name in self.cards[0]}
        card["max_length"] = min(own["max_length"] for own in self.cards)
        card["method"] = {"name": "lora", "library": "peft", "settings": {
            "lora_train_pooler": False,  # as it was where a card does not tell
            **self.cards[0]["method"]["settings"], "lora_r": rank, "lora_alpha": rank}}  # fmt: skip
        _, method = predictor.parts(card, self.folders[0], self.plugin_dirs)
        model = method.wrap(self.base, self.task, ())
        peft.set_peft_model_state_dict(model, tensors)
        assert peft.get_peft_model_state_dict(model, save_embedding_layers=False).keys() == tensors.keys()
        return card, method, model

    def _changes(self, used: Sequence[int], weights: Sequence[float]) -> dict[str, Any]:
        """A `[rank, in]` and B `[out, rank]` of every layer, alpha / r in them, combined by PEFT."""
        import peft
        import torch

        ranks = [self.methods[i].settings.lora_r for i in used]
        widths = [self.tensors[0][name].shape[1 if name.endswith(_DOWN) else 0] for name in self.sides]
        times = len(used) if "ties" in HOW[self.how] else 1  # PEFT divides by the number that agree
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The density .* no pruning")  # a density of 1 is meant
            torch.manual_seed(self.seed)
            self.model.add_weighted_adapter(
                [f"given{i}" for i in used], [weights[i] * times for i in used], _NEW, HOW[self.how],
                svd_rank=min(max(ranks) if self.how in EXACT else sum(ranks), *widths), svd_full_matrices=False,
                density=self.density,
            )  # fmt: skip
        made = peft.get_peft_model_state_dict(self.model, adapter_name=_NEW, save_embedding_layers=False)
        self.model.delete_adapter(_NEW)
        return {name: made[name].detach().contiguous() for name in self.sides}


def _read(folder: Path, plugin_dirs: Sequence[str]) -> tuple[dict[str, Any], methods.Method]:
    """Verified, its card and its method. Raises ArtifactError."""
    if peft_folder.is_plain(folder):
        raise ArtifactError(f"{folder}: a plain PEFT folder without {artifact.CARD}, so its base, task and labels are "
                            "not known. Merge it with PEFT itself, or give an artifact that a run left.")  # fmt: skip
    return (card := artifact.verify(folder)), predictor.parts(card, folder, plugin_dirs)[1]


def _merged(folder: Path, method: methods.Method, base: str | None, plugin_dirs: Sequence[str]) -> tuple[Any, Base]:
    """A plain transformers model, and the base. Raises ModelError where no weights can hold the method's change."""
    import torch
    from peft import PeftModel
    from peft.utils import ModulesToSaveWrapper

    for holds, reason in (
        (method.self_contained, "is a whole model already. Use it as it is"),
        (not method.trains, "only prompts its base and changes no weight. Use it as it is, or train lora"),
        (method.virtual_tokens > 0, "puts trained positions before each text, which no weight can hold. " + _INSTEAD),
    ):
        if holds:
            raise ModelError(f"{folder} cannot be merged: {method.name} {reason}.")
    loaded: Any = predictor.load(folder, base=base, plugin_dirs=plugin_dirs).predictor
    model = loaded.model
    for name, part in list(model.named_modules()):
        if isinstance(part, ModulesToSaveWrapper):  # PEFT's IA3 cannot unload one around a head of several layers
            model.set_submodule(name, part.modules_to_save[model.active_adapter])
    model = model.merge_and_unload() if isinstance(model, PeftModel) else model
    with torch.device("meta"):
        known = type(model)(model.config).state_dict().keys()
    if extra := sorted(model.state_dict().keys() - known):
        raise ModelError(f"{folder} cannot be merged: {method.name} adds layers that {type(model).__name__} has no "
                         f"place for ({', '.join(extra[:2])} …). {_INSTEAD}.")  # fmt: skip
    return model, loaded.base


def _check_alike(*two: tuple[Path, Mapping[str, Any], Mapping[str, Any]]) -> None:
    """Raises ArtifactError that says what differs, unless two adapters can be combined."""
    told = []
    for _, card, tensors in two:
        task, base, shapes = card["task"], card["base"], {name: list(one.shape) for name, one in tensors.items()}
        sides = [name.removesuffix(_DOWN) for name in sorted(tensors) if name.endswith(_DOWN)]
        told.append({
            "task": task["name"], "labels": task["labels"], "options of the task": task,
            "base weights": base["weights_sha256"], "tokenizer": base["tokenizer_sha256"],
            "target modules": last_parts(sides), "layers": sides,
            "heads": {name: shape for name, shape in shapes.items() if not name.endswith((_DOWN, _UP))},
        })  # fmt: skip
    for (what, first), second in zip(told[0].items(), told[1].values(), strict=True):
        if first != second:
            names = " and ".join(f"{folder} (on {card['base']['name']})" for folder, card, _ in two)
            if what == "layers":  # those that they share say nothing
                first, second = ([one for one in a if one not in b] for a, b in ((first, second), (second, first)))
            raise ArtifactError(f"{names} cannot be combined: their {what} differ ({first!s:.200}; {second!s:.200}). "
                                "Give adapters of one task, label list, base, --lora_target_modules and "
                                "--lora_train_pooler.")  # fmt: skip


def _density(how: str, density: float | None) -> float | None:
    """The density that a way needs. Raises SettingsError for a way or a density that there is not."""
    require(how in HOW, "how", how, f"one of {', '.join(HOW)}")
    require(density is None or how not in EXACT, "density", density, f"left out: {how} drops nothing of a change")
    require(density is None or 0 < density <= 1, "density", density, "above 0 and at most 1")
    return None if how in EXACT else density or DENSITY


def _checked(weights: Sequence[float] | None, number: int) -> tuple[float, ...]:
    """One weight an adapter. Raises SettingsError for what are none."""
    require(number >= 2, "adapters", number, "two or more to combine (one alone is merged into its base)")
    weights = [1 / number] * number if weights is None else weights
    shown, good = " ".join(map(str, weights)), all(map(math.isfinite, weights)) and math.fsum(weights) > 0
    require(len(weights) == number, "weights", shown, f"as many numbers as adapters, {number}")
    require(good, "weights", shown, "finite, with a sum above 0, for the heads are averaged by them")
    return tuple(map(float, weights))


def _grid(number: int) -> list[tuple[float, ...]]:
    """Equal weights, then all multiples of 1 / steps with a sum of 1, as fine as `MAX_TRIED` allows."""
    fitting = [n for n in range(1, STEPS + 1) if math.comb(n + number - 1, n) < MAX_TRIED]
    require(bool(fitting), "adapters", number, f"fewer than {MAX_TRIED}, for weights to be chosen")
    steps, last = fitting[-1], fitting[-1] + number - 1
    bars = ((-1, *bars, last) for bars in itertools.combinations(range(last), number - 1))  # parts between bars
    points = (tuple((b - a - 1) / steps for a, b in itertools.pairwise(one)) for one in bars)
    return list(dict.fromkeys([_checked(None, number), *points]))


def _free(output_dir: str | Path) -> Path:
    """The output folder, which is absent or empty. Raises SettingsError."""
    output = Path(output_dir)
    taken = output.exists() and (not output.is_dir() or any(output.iterdir()))
    require(not taken, "output_dir", output, "a folder that is not there, or empty: nothing is written over")
    return output


def _name(folder: Path) -> str:
    """A run's name for its artifact, else the folder's own; no path."""
    whole = folder.resolve()
    return (whole.parent if whole.name == "artifact" else whole).name


def _readme(card: Mapping[str, Any], said: Sequence[str]) -> str:
    """A model card that says what was made of what."""
    on, scores, told = card["base"]["name"], card.get("scores"), "Not scored."
    if scores:
        told = "{dataset} {split}, n = {n}: {metric} {score} ".format(**scores) + f"{100 * scores['value']:.2f}."
    use = "```python\nfrom adapters.predictor import load\n\nprint(load('this/folder').answer(['A text.']))\n```"
    head = ("---", f"base_model: {on}", f"library_name: {card['method']['library']}", "tags: [taskswap]", "---")
    return "\n".join([*head, f"# {card['task']['name']} on {on}", "", *said, "", told, "", use, ""])
