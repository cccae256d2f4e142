"""Combining LoRA adapters of one task into one adapter, with given weights or weights chosen on dev."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from adapters.artifacts import artifact, loading
from adapters.artifacts.merging import KEPT_FIELDS, artifact_name, empty_output, read_adapter
from adapters.artifacts.model_card import derived_model_card
from adapters.artifacts.published import located
from adapters.core.environment import versions
from adapters.core.errors import ArtifactError, ModelError, SettingsError
from adapters.core.settings import require
from adapters.data.dataset_files import SPLITS
from adapters.evaluation.evaluate import main_score
from adapters.evaluation.metrics.base.metric import Metric
from adapters.methods.base.delta import PEFT_NAMES
from adapters.methods.base.lora_family import LoraFamilyMethod
from adapters.methods.base.method import Method
from adapters.models.layers import last_parts
from adapters.tasks.base.example import Example

MERGE_METHODS = {"linear": "cat", "svd": "svd"} | {
    merge_method: f"{merge_method}_svd" for merge_method in ("ties", "dare_linear", "dare_ties")
}
"""Merge methods, with PEFT's names for combining the updates B·A. PEFT's own `linear`, `ties` and `dare_*` combine A
and B separately, which is not a sum: an adapter combined with itself by `linear`, half and half, is another."""
DENSITY, GRID_STEPS, MAX_TRIED, WITHOUT_DENSITY = 0.5, 4, 64, ("linear", "svd")
_NEW, _DOWN, _UP = "combined", ".lora_A.weight", ".lora_B.weight"


class Adapters:
    """LoRA adapters of one task, label list, base and set of layers, and the way in which they are to be combined."""

    def __init__(
        self,
        folders: Sequence[str | Path],
        *,
        merge_method: str = "linear",
        density: float | None = None,
        seed: int = 0,
        base: str | None = None,
        device: str = "cpu",
        plugin_dirs: Sequence[str] = (),
    ) -> None:
        """Read the adapters and verify that they match; their base is loaded when they are first combined.

        Args:
            folders: two or more artifacts, or their runs' folders, of any ranks.
            merge_method: linear: the weighted sum, with the sum of the ranks. svd: the same, truncated to the largest
                rank. ties (arXiv:2306.01708): small values and those of the minority sign are dropped before averaging,
                with weights multiplied by their number. dare_linear, dare_ties (arXiv:2311.03099): random values are
                dropped and the others scaled up. These three are truncated to the sum of the ranks.
            density: share of values that ties and dare keep. Default: 0.5.
            seed: for the values that dare drops.
            base: path, alias or Hub id of their base model. Default: the one named in the first card.
            device: where the weights are combined.
            plugin_dirs: folders with your own methods and tasks.

        Raises:
            SettingsError: a single adapter, or an invalid method or density.
            ModelError: adapters of this method cannot be combined.
            ArtifactError: the adapters do not match each other, or are of another base.
        """
        required = "two or more to combine (a single one is merged into its base)"
        require(len(folders) >= 2, "adapters", len(folders), required)
        self.merge_method, self.density, self.seed = merge_method, _density(merge_method, density), seed
        self.device, self.plugin_dirs = device, plugin_dirs
        self.folders = [located(Path(folder)) for folder in folders]
        self.methods: list[LoraFamilyMethod] = []
        for folder in self.folders:
            _, method = read_adapter(folder, plugin_dirs)
            if not isinstance(method, LoraFamilyMethod) or method.peft_switches["use_dora"]:
                raise ModelError(
                    f"{folder}: adapters of {method.name} cannot be combined: their update is not a product "
                    "B·A. Combine those of lora or rslora, or merge each alone."
                )
            self.methods.append(method)
        read = [(folder, *artifact.open_adapter(folder)) for folder in self.folders]
        for other in read[1:]:
            _check_match(read[0], other)
        self.cards, self.tensors = [card for _, card, _ in read], [tensors for *_, tensors in read]
        self.sides = [name for name in self.tensors[0] if name.endswith((_DOWN, _UP))]
        self.base = loading.opened_base(self.cards[0], self.methods[0], self.folders[0], base)
        task, _ = loading.task_and_method(self.cards[0], self.folders[0], plugin_dirs)
        self.task = task.on(self.base.kind)

    def combine(
        self,
        output_dir: str | Path,
        weights: Sequence[float] | None = None,
        *,
        notes: Mapping[str, Any] | None = None,
    ) -> Path:
        """Combine them into an artifact of the method `lora`.

        The updates of a layer, multiplied by alpha / r, are combined; the heads are averaged with the same weights.

        Args:
            output_dir: must be absent or empty.
            weights: one per adapter. Default: equal, with a sum of 1. Adapters of weight 0 are left out; a single
                remaining one is unchanged.
            notes: more for the card, such as the scores by which the weights were chosen.

        Raises SettingsError for invalid weights, or an output folder that is not empty.
        """
        output, weights = empty_output(output_dir), _checked(weights, len(self.folders))
        card, method, model = self._combined(weights)
        parts = [
            {"name": artifact_name(folder), "digest": own["digest"], "method": own["method"]["name"], "weight": weight}
            for folder, own, weight in zip(self.folders, self.cards, weights, strict=True)
        ]
        card["combined"] = {
            "merge_method": self.merge_method,
            "density": self.density,
            "seed": self.seed,
            "of": parts,
            **(notes or {}),
        }
        card["versions"] = versions()
        description = [
            f"LoRA adapters combined ({self.merge_method}, density {self.density}): name, weight, digest of the card.",
            "",
            *(f"- {part['name']}, {part['weight']:.4g}, {part['digest'][:12]}…" for part in parts),
        ]
        readme = derived_model_card(card, description)
        artifact.write(output, lambda draft: method.save(model, self.base, draft), card, readme)
        return output

    def choose_weights(
        self, examples: Sequence[Example], metric: Metric
    ) -> tuple[tuple[float, ...], list[tuple[tuple[float, ...], float]]]:
        """Choose weights on dev, from equal ones and multiples of 1/4 with a sum of 1 (coarser for many).

        Args:
            examples: of dev; a test split is refused.
            metric: its main score is compared.

        Returns:
            The best weights (of equally good ones those of the fewest adapters), and all weights with their scores.
        """
        if getattr(examples, "name", None) == SPLITS[-1]:
            raise SettingsError("Weights chosen on test would invalidate its score. Give dev: --validation_file.")
        require(len(examples) > 0, "validation_file", "without examples", "a dev split to choose weights on")
        found, names = ", ".join(metric.labels), ", ".join(self.task.labels.names)
        require(found == names, "validation_file", f"with the labels {found}", f"labelled as the adapters are: {names}")
        tried = []
        for weights in _grid(len(self.folders)):
            _, method, model = self._combined(weights)
            tried.append((weights, main_score(method.predictor(model, self.base, self.task), examples, metric)))
        best, _ = max(tried, key=lambda one: (-math.inf if math.isnan(one[1]) else one[1], one[0].count(0)))
        return best, tried

    @cached_property
    def _model(self) -> Any:
        """PEFT's model with each adapter as plain LoRA with alpha = scaling * r, whatever its method, and no heads,
        which PEFT does not combine.
        """
        from adapters.models.peft_library import peft

        loaded: Any = loading.load(
            self.folders[0],
            base=self.base,
            device=self.device,
            dtype="float32",
            plugin_dirs=self.plugin_dirs,
            fold=False,
        )
        plain = loaded.predictor.model.unload()
        layers = [PEFT_NAMES.sub("", name.removesuffix(_DOWN)) for name in self.sides if name.endswith(_DOWN)]
        options = {"modules_to_save": None, "target_modules": layers, "use_rslora": False}
        configs = {
            f"given{i}": replace(
                method.config(plain, self.base, self.task, []),
                **options,
                lora_alpha=method.scaling * method.settings.lora_r,
            )
            for i, method in enumerate(self.methods)
        }
        model: Any = peft.get_peft_model(plain, configs["given0"], adapter_name="given0")
        for (name, config), tensors in zip(configs.items(), self.tensors, strict=True):
            if name != "given0":
                model.add_adapter(name, config)
            peft.set_peft_model_state_dict(model, {side: tensors[side] for side in self.sides}, name)
        return model

    def _combined(self, weights: Sequence[float]) -> tuple[dict[str, Any], Method, Any]:
        """The card of a combination (without its origin), its method, and its model."""
        from adapters.models.peft_library import peft

        used, total = [i for i, weight in enumerate(weights) if weight], math.fsum(weights)
        tensors = self._combined_updates(used, weights)
        rank = next(len(tensor) for name, tensor in tensors.items() if name.endswith(_DOWN))
        for name in self.tensors[0].keys() - tensors.keys():
            tensors[name] = sum(weights[i] / total * self.tensors[i][name] for i in used)
        card = {name: self.cards[0][name] for name in KEPT_FIELDS[:-1] if name in self.cards[0]}
        card["max_length"] = min(own["max_length"] for own in self.cards)
        card["method"] = {
            "name": "lora",
            "library": "peft",
            "settings": {
                "lora_train_pooler": False,  # the value before this setting existed
                **self.cards[0]["method"]["settings"],
                "lora_r": rank,
                "lora_alpha": rank,
            },
        }
        _, method = loading.task_and_method(card, self.folders[0], self.plugin_dirs)
        model = method.wrap(self.base, self.task, ()).to(self.device)
        peft.set_peft_model_state_dict(model, tensors)
        assert peft.get_peft_model_state_dict(model, save_embedding_layers=False).keys() == tensors.keys()
        return card, method, model

    def _combined_updates(self, used: Sequence[int], weights: Sequence[float]) -> dict[str, Any]:
        """A `[rank, in]` and B `[out, rank]` of every layer, multiplied by alpha / r and combined by PEFT."""
        import torch

        from adapters.models.peft_library import peft

        ranks = [self.methods[i].settings.lora_r for i in used]
        widths = [self.tensors[0][name].shape[1 if name.endswith(_DOWN) else 0] for name in self.sides]
        times = len(used) if "ties" in MERGE_METHODS[self.merge_method] else 1  # PEFT divides by the number that agree
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The density .* no pruning")  # a density of 1 is intended
            torch.manual_seed(self.seed)
            self._model.add_weighted_adapter(
                [f"given{i}" for i in used],
                [weights[i] * times for i in used],
                _NEW,
                MERGE_METHODS[self.merge_method],
                svd_rank=min(max(ranks) if self.merge_method in WITHOUT_DENSITY else sum(ranks), *widths),
                svd_full_matrices=False,
                density=self.density,
            )
        combined = peft.get_peft_model_state_dict(self._model, adapter_name=_NEW, save_embedding_layers=False)
        self._model.delete_adapter(_NEW)
        return {name: combined[name].detach().contiguous() for name in self.sides}


def _check_match(*two: tuple[Path, Mapping[str, Any], Mapping[str, Any]]) -> None:
    """Raises ArtifactError that says what differs, unless two adapters match."""
    properties = []
    for _, card, tensors in two:
        task, base, shapes = card["task"], card["base"], {name: list(one.shape) for name, one in tensors.items()}
        sides = [name.removesuffix(_DOWN) for name in sorted(tensors) if name.endswith(_DOWN)]
        properties.append(
            {
                "task": task["name"],
                "labels": task["labels"],
                "options of the task": task,
                "base weights": base["weights_sha256"],
                "tokenizer": base["tokenizer_sha256"],
                "target modules": last_parts(sides),
                "layers": sides,
                "heads": {name: shape for name, shape in shapes.items() if not name.endswith((_DOWN, _UP))},
            }
        )
    for (what, first), second in zip(properties[0].items(), properties[1].values(), strict=True):
        if first != second:
            names = " and ".join(f"{folder} (on {card['base']['name']})" for folder, card, _ in two)
            if what == "layers":  # show only those that are not in both
                first, second = ([one for one in a if one not in b] for a, b in ((first, second), (second, first)))
            raise ArtifactError(
                f"{names} cannot be combined: their {what} differ ({first!s:.200}; {second!s:.200}). "
                "Give adapters of one task, label list, base, --lora_target_modules and "
                "--lora_train_pooler."
            )


def _density(merge_method: str, density: float | None) -> float | None:
    """The density for a merge method, None if it has none. Raises SettingsError for an unknown method or density."""
    require(merge_method in MERGE_METHODS, "merge_method", merge_method, f"one of {', '.join(MERGE_METHODS)}")
    require(
        density is None or merge_method not in WITHOUT_DENSITY,
        "density",
        density,
        f"omitted: {merge_method} drops no values",
    )
    require(density is None or 0 < density <= 1, "density", density, "above 0 and at most 1")
    return None if merge_method in WITHOUT_DENSITY else density or DENSITY


def _checked(weights: Sequence[float] | None, number: int) -> tuple[float, ...]:
    """One weight per adapter. Raises SettingsError for invalid weights."""
    weights = [1 / number] * number if weights is None else weights
    shown, good = " ".join(map(str, weights)), all(map(math.isfinite, weights)) and math.fsum(weights) > 0
    require(len(weights) == number, "weights", shown, f"one number per adapter, {number}")
    require(good, "weights", shown, "finite, with a sum above 0, as the heads are averaged with them")
    return tuple(map(float, weights))


def _grid(number: int) -> list[tuple[float, ...]]:
    """Equal weights, then all multiples of 1 / steps with a sum of 1, as fine as `MAX_TRIED` allows."""
    possible = [n for n in range(1, GRID_STEPS + 1) if math.comb(n + number - 1, n) < MAX_TRIED]
    require(bool(possible), "adapters", number, f"fewer than {MAX_TRIED} to choose weights for")
    steps, last = possible[-1], possible[-1] + number - 1
    bars = ((-1, *bars, last) for bars in itertools.combinations(range(last), number - 1))  # parts between bars
    points = (tuple((b - a - 1) / steps for a, b in itertools.pairwise(one)) for one in bars)
    return list(dict.fromkeys([_checked(None, number), *points]))
