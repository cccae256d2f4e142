"""LoRA whose body learns by contrast which texts have the same answer, while its head learns to name that answer.

Of a batch of pairs with the same answer, each text shall be nearer to its partner than to the others' (in-batch
negatives: Henderson et al. 2017, arXiv:1705.00652, sec. 4; cosines by a temperature: Chen et al. 2020,
arXiv:2002.05709). A text of the same answer is no negative. The head's cross-entropy is added, so that what is saved is
an ordinary classifier, which any bank serves and any evaluation scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from adapters.methods import lora
from adapters.models.sentence_classifier import mean_over_text
from adapters.tasks.base.contrastive import ContrastiveTask, Pairs, apart, pairs_by_label
from adapters.tasks.base.example import Examples
from adapters.tasks.base.task import Objective, Task

if TYPE_CHECKING:
    import torch

TEMPERATURE = 0.05
"""Divides the cosines, as in sentence-transformers' MultipleNegativesRankingLoss (a scale of 20). Not tuned."""
EACH, AT_MOST = 4, 20_000
"""Pairs that each text is the first of, and pairs in all."""


class InBatchNegatives(ContrastiveTask):
    """What the trainer learns from pairs of texts of one answer, whose number is the target."""

    target_type: ClassVar[str] = "int32"

    def card(self) -> dict[str, Any]:
        """What the rows of a pair depend on."""
        return {**super().card(), "name": "in_batch_negatives"}

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`[pairs, 2, hidden + answers]`: of both texts, the embedding at length 1 and the head's logits."""
        import torch

        given = apart(inputs)
        found = model(**given, output_hidden_states=True)
        embedded = mean_over_text(found.hidden_states[-1].float(), given["attention_mask"])
        embedded = torch.nn.functional.normalize(embedded, dim=-1)
        return torch.stack(torch.cat([embedded, found.logits.float()], -1).chunk(2), 1)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The two losses summed over pairs, each the mean of both directions or texts, and the number of pairs."""
        import torch
        from torch.nn.functional import cross_entropy

        answers = targets.flatten().long()
        hidden = logits.shape[-1] - self.embedded.task.config()["num_labels"]
        first, second = logits[:, 0, :hidden], logits[:, 1, :hidden]
        same = answers[:, None] == answers[None, :]
        own = torch.eye(len(answers), dtype=torch.bool, device=answers.device)
        cosines = (first @ second.T / TEMPERATURE).masked_fill(same & ~own, float("-inf"))
        at = torch.arange(len(answers), device=answers.device)
        contrast = cross_entropy(cosines, at, reduction="sum") + cross_entropy(cosines.T, at, reduction="sum")
        named = cross_entropy(logits[..., hidden:].flatten(0, 1), answers.repeat_interleave(2), reduction="sum")
        return (contrast + named) / 2, torch.tensor(len(answers), device=answers.device)


class ContrastiveLora(lora.Method):
    """LoRA that learns pairs of texts with one label."""

    def training_data(self, task: Task, train: Examples) -> tuple[Objective, Examples]:
        """Pairs of texts of one label, drawn by the run's seed."""
        labels = [str(example.gold) for example in train]
        drawn = pairs_by_label([[name] for name in labels], each=EACH, at_most=2 * AT_MOST, seed=self.settings.seed)
        alike = [(one, other, task.labels.index[labels[one]]) for one, other, similarity in drawn if similarity == 1]
        return InBatchNegatives(task), Pairs.of(train, alike)
