"""SetFit (Tunstall et al. 2022, arXiv:2209.11055): a sentence encoder trained by contrast, then logistic regression.

The body learns from pairs of training texts that those of one label are alike (cosine similarity 1) and others are not
(0), by sentence-transformers' CosineSimilarityLoss; scikit-learn then fits the classifier to the mean-pooled embeddings
of the training texts, anew before each dev score. Rates, batch size and `num_iterations` are those of the paper and of
the setfit library. The artifact is self-contained: a transformers folder of the body, and the classifier's tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import ArtifactError, DataError, ModelError
from adapters.core.search_space import Choice, LogUniform, Space
from adapters.core.settings import require
from adapters.methods.base.method import Method as BaseMethod
from adapters.models.base_model import ENCODER
from adapters.tasks.base.contrastive import ContrastiveTask, EmbeddedTask, Pairs, pairs_by_label
from adapters.tasks.base.example import Example, Examples
from adapters.tasks.base.predictor import ModelPredictor, Predictor
from adapters.tasks.base.task import Objective, Task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base

HEAD = "head.safetensors"
UNSEEN = -1e4
"""Logit of a class without a training example: its probability is 0."""
MAX_ITERATIONS = 1000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """SetFit: contrastive training of a sentence encoder, then logistic regression."""

    learning_rate: float = 2e-5
    """Peak learning rate of the encoder."""
    train_embeddings: bool | None = None
    """Train the word embeddings, too. Default: unless they are three quarters of the base's parameters or more, as in
    multilingual bases (e5)."""
    num_train_epochs: float = 1.0
    """Number of epochs over the pairs."""
    per_device_train_batch_size: int | None = 16
    """Pairs in a training batch per device."""
    num_iterations: int = 20
    """Pairs of either kind, of the same and of another label, that each training text is the first of."""
    max_pairs: int | None = 10_000
    """Pairs in all; with more training texts each is in fewer."""
    normalize_embeddings: bool = True
    """Scale embeddings to length 1 for the logistic regression, as the models of sentence-transformers do."""
    C: float = 1.0
    """Inverse strength of the logistic regression's L2 regularisation, as in scikit-learn."""


class Method(BaseMethod):
    """Trains the encoder by gradients, and the classifier by scikit-learn."""

    name = "setfit"
    kinds = (ENCODER,)
    self_contained = True
    trains_base = True
    library = "transformers"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        require(settings.num_iterations >= 1, "num_iterations", settings.num_iterations, "at least 1")
        require(settings.max_pairs is None or settings.max_pairs >= 2, "max_pairs", settings.max_pairs, "at least 2")
        require(0 < settings.C < float("inf"), "C", settings.C, "a finite number above 0")

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """The encoder's rate, pairs per text, and epochs."""
        return {
            "learning_rate": LogUniform(1e-5, 2e-4),
            "num_iterations": Choice(5, 10, 20),
            "num_train_epochs": Choice(1.0, 2.0),
        }

    def check(self, base: Base, task: Task) -> None:
        """The task must be classification, of one label or of several; the base an encoder."""
        super().check(base, task)
        if task.answer not in ("label", "labels"):
            raise ModelError(
                f"{base.name}: setfit classifies texts, and an answer of {task.name} is no label. Use lora, head or "
                "full for it, or setfit with --task classification."
            )

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The encoder without a pooler, trainable as by `full`, and a classifier that is not fitted yet."""
        from adapters.models import word_embeddings

        body = base.load(
            "AutoModel", {}, dropout=self.settings.dropout, attention_dropout=self.settings.attention_dropout
        )
        word_embeddings.set_training(body, self.settings.train_embeddings)
        return self._classifier(body, task)

    def left_out(self, model: torch.nn.Module) -> str:
        """Its word embeddings, where they do not train."""
        from adapters.models import word_embeddings

        return word_embeddings.left_out(model.body)

    def training_data(self, task: Task, train: Examples) -> tuple[Objective, Examples]:
        """Pairs of training texts, drawn by the run's seed, and their similarity."""
        labels = [_labels(example) for example in train]
        settings = self.settings
        pairs = pairs_by_label(labels, each=settings.num_iterations, at_most=settings.max_pairs, seed=settings.seed)
        if not any(similarity == 0 for _, _, similarity in pairs):
            raise DataError(
                f"{train.name}: setfit learns from pairs of texts that share no label, and of these {len(train)} "
                "examples there are none. Give training examples of two labels or more."
            )
        return ContrastiveTask(task), Pairs.of(train, pairs)

    def before_scoring(self, predictor: Predictor, train: Examples) -> None:
        """Fit the classifier to the embeddings that the encoder has of the training texts now."""
        import torch

        assert isinstance(predictor, ModelPredictor) and isinstance(predictor.task, Task)
        task, model = predictor.task, predictor.model
        embedder = ModelPredictor(
            model,
            predictor.base,
            EmbeddedTask(task),
            budget=predictor.budget,
            batch_rows=predictor.batch_rows,
            batch_tokens=predictor.batch_tokens,
            precision=predictor.precision,
        )
        examples = list(train)
        embeddings = torch.from_numpy(np.stack([found.value for found in embedder.predict(examples)]))
        weight, bias = fitted_head(
            model.read(embeddings).numpy(),  # type: ignore[operator]
            [_labels(example) for example in examples],
            task.labels.names,
            one_vs_rest=task.answer == "labels",
            balanced=getattr(task, "weights", None) is not None,
            C=self.settings.C,
        )
        with torch.no_grad():
            model.get_buffer("weight").copy_(torch.from_numpy(weight))
            model.get_buffer("bias").copy_(torch.from_numpy(bias))

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """The encoder and its tokenizer by `save_pretrained`, and the classifier in a file of its own."""
        from safetensors.torch import save_file

        model.body.save_pretrained(folder)  # type: ignore[union-attr, operator]
        base.tokenizer.save_pretrained(folder)
        head = {name: model.get_buffer(name).cpu().contiguous() for name in ("weight", "bias")}
        save_file(head, folder / HEAD, metadata={"format": "pt"})

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The saved encoder and classifier; only the tokenizer is taken from the base."""
        import torch
        from safetensors.torch import load_file

        from adapters.models.base_model import load_quietly

        model = self._classifier(load_quietly("AutoModel", folder, dtype=torch.float32), task)
        saved = load_file(folder / HEAD)
        wanted = {name: tuple(model.get_buffer(name).shape) for name in ("weight", "bias")}
        found = {name: tuple(tensor.shape) for name, tensor in saved.items()}
        if found != wanted:
            raise ArtifactError(f"{folder / HEAD}: expected the tensors {wanted}, found {found}. Train it again.")
        for name, tensor in saved.items():
            model.get_buffer(name).copy_(tensor)
        return model

    def _classifier(self, body: Any, task: Task) -> torch.nn.Module:
        from adapters.models.sentence_classifier import SentenceClassifier

        return SentenceClassifier(body, len(task.labels), normalized=self.settings.normalize_embeddings)


def fitted_head(
    embeddings: np.ndarray,
    labels: Sequence[Sequence[str]],
    names: Sequence[str],
    *,
    one_vs_rest: bool,
    balanced: bool,
    C: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Weight `[classes, hidden]` and bias `[classes]` of scikit-learn's logistic regression, in fp32.

    Args:
        embeddings: `[texts, hidden]`.
        labels: of each text; one, unless `one_vs_rest`.
        names: of the classes, in order.
        one_vs_rest: whether each class has a regression of its own, whose logit is that of its presence.
        balanced: whether a rare class counts as much as a frequent one.
        C: inverse strength of the L2 regularisation.
    """
    from sklearn.linear_model import LogisticRegression

    def fit(targets: np.ndarray) -> Any:
        weights = "balanced" if balanced else None
        return LogisticRegression(C=C, max_iter=MAX_ITERATIONS, class_weight=weights).fit(x, targets)

    x = embeddings.astype(np.float64)
    weight = np.zeros((len(names), x.shape[1]), np.float32)
    bias = np.full(len(names), UNSEEN, np.float32)
    if one_vs_rest:
        present = np.array([[name in own for name in names] for own in labels])
        for number, column in enumerate(present.T):
            if column.all():
                bias[number] = -UNSEEN
            elif column.any():
                found = fit(column)
                weight[number], bias[number] = found.coef_[0], found.intercept_[0]
        return weight, bias
    found = fit(np.array([names.index(own[0]) for own in labels]))
    seen = found.classes_
    if len(seen) == 2:  # scikit-learn has one row, the logit of the second class
        weight[seen[1]], bias[seen] = found.coef_[0], [0, found.intercept_[0]]
    else:
        weight[seen], bias[seen] = found.coef_, found.intercept_
    return weight, bias


def _labels(example: Example) -> list[str]:
    """The labels of an example of either kind of classification."""
    return [example.gold] if isinstance(example.gold, str) else list(example.gold)
