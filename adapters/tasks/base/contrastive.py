"""Learning by contrast: pairs of texts whose embeddings shall be alike, or not, as in sentence-transformers.

It suits any model that returns `last_hidden_state`: a full encoder, or one with a LoRA adapter.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adapters.core.discovery import code_version
from adapters.models.tokenizer import WordTokenizer
from adapters.tasks.base import embedding
from adapters.tasks.base.example import Encoded, Example, Examples
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import datasets
    import torch

Pair = tuple[int, int, float]
"""Indices of two examples, and the cosine similarity that their embeddings shall have."""
SECOND = 2
"""Added to the token types of a pair's second text, which is in the same row as the first."""


def pairs_by_label(
    labels: Sequence[Iterable[Hashable]], *, each: int, at_most: int | None = None, seed: int
) -> list[Pair]:
    """Pairs of examples drawn by their labels: 1 for two that share a label, 0 for two that share none.

    Every example is the first of `each` pairs of either kind (Tunstall et al. 2022, sec. 3.1), with partners as even as
    possible. It is its own partner only where no other example shares a label with it.

    Args:
        labels: of each example; one, or any number of them.
        each: pairs of a kind for each example.
        at_most: pairs in all; with more examples each is in fewer pairs.
        seed: of the draw.
    """
    generator = random.Random(f"pairs/{seed}")
    sets = [frozenset(given) for given in labels]
    members: dict[frozenset[Hashable], list[int]] = {}
    for number, own in enumerate(sets):
        members.setdefault(own, []).append(number)
    partners: dict[tuple[frozenset[Hashable], bool], list[int]] = {}
    order = generator.sample(range(len(sets)), len(sets))
    if at_most is not None:
        each = max(min(each, at_most // (2 * max(len(sets), 1))), 1)
        order = order[: max(at_most // (2 * each), 1)]
    pairs: list[Pair] = []
    for number in order:
        own = sets[number]
        for alike in (True, False):
            if (own, alike) not in partners:
                partners[own, alike] = [n for key, some in members.items() if bool(own & key) == alike for n in some]
            found = _drawn(partners[own, alike], number, each, generator)
            pairs += [(number, other, float(alike)) for other in found or [number] * each * alike]
    return pairs


def _drawn(some: Sequence[int], without: int, size: int, generator: random.Random) -> list[int]:
    """`size` of some numbers but one, each as often as the others to within one; none if there are no others."""
    found: list[int] = []
    while len(found) < size:
        more = generator.sample(some, min(size - len(found) + 1, len(some)))
        more = [number for number in more if number != without][: size - len(found)]
        if not more:
            break
        found += more
    return found


class Pairs:
    """Makes an example of each stored pair: two examples as its inputs, their similarity as its gold answer."""

    def __init__(self, examples: Sequence[Example]) -> None:
        """Args: examples: those that the pairs are of."""
        self.examples = list(examples)

    def from_row(self, row: Mapping[str, Any]) -> Example:
        """The two examples of a pair."""
        first, second = (self.examples[row[name]] for name in ("first", "second"))
        return Example(id=f"{first.id} and {second.id}", inputs={"first": first, "second": second}, gold=row["gold"])

    def label_counts(self, dataset: datasets.Dataset) -> Counter[str]:
        """None: a similarity is no label."""
        return Counter()

    @classmethod
    def of(cls, train: Examples, pairs: Sequence[Pair]) -> Examples:
        """The pairs as a split to train on."""
        from datasets import Dataset

        first, second, gold = zip(*pairs, strict=True)
        notes = {**train.notes, "pairs_of": train.dataset._fingerprint}
        rows = Dataset.from_dict({"first": first, "second": second, "gold": gold})
        return Examples(train.name, rows, cls(train), notes)


class EmbeddedTask(embedding.Task):
    """The inputs of another task, embedded: the mean of a text's last hidden states in fp32."""

    def __init__(self, task: Task) -> None:
        """Args: task: encodes its examples."""
        self.task = task

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """As the task does."""
        return self.task.encode(examples, tokenizer, budget)

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`[rows, hidden]`."""
        from adapters.models.sentence_classifier import mean_over_text

        return mean_over_text(model(**inputs).last_hidden_state.float(), inputs.get("attention_mask"))


class ContrastiveTask:
    """What the trainer learns from `Pairs`: the cosine similarity of two texts' embeddings.

    A row has the tokens of both texts, one behind the other, so that batches are formed by the length of both; the
    model reads them apart. Of a text in several windows the first one is read.
    """

    target_type: ClassVar[str] = "float32"

    def __init__(self, task: Task) -> None:
        """Args: task: encodes each of the two texts."""
        self.embedded = EmbeddedTask(task)

    def card(self) -> dict[str, Any]:
        """What the rows of a pair depend on."""
        task = self.embedded.task
        return {"name": "contrastive", "task": task.card(), "code": code_version(type(task))}

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """One row per pair; each text that occurs is encoded once."""
        sides = [(pair.inputs["first"], pair.inputs["second"]) for pair in examples]
        texts = {id(text): text for side in sides for text in side}
        first_rows: dict[int, Encoded] = {}
        for row in self.embedded.encode([*texts.values()], tokenizer, budget):
            first_rows.setdefault(row.example, row)
        rows = dict(zip(texts, first_rows.values(), strict=True))
        return [
            Encoded(
                example=number,
                input_ids=[token for text in side for token in rows[id(text)].input_ids],
                token_types=[
                    kind + second
                    for text, second in zip(side, (0, SECOND), strict=True)
                    for kind in rows[id(text)].token_types or [0] * len(rows[id(text)].input_ids)
                ],
                targets=[examples[number].gold] if learning else [],
            )
            for number, side in enumerate(sides)
        ]

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`[pairs, 1]`: cosine similarities. One pass reads the first texts of all pairs and then the second ones."""
        import torch

        first, second = self.embedded.logits(model, apart(inputs)).chunk(2)
        return torch.nn.functional.cosine_similarity(first, second)[:, None]

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The squared error summed over pairs, and their number: sentence-transformers' CosineSimilarityLoss."""
        import torch

        return ((logits - targets) ** 2).sum(), torch.tensor(targets.numel(), device=targets.device)

    def prior(self, targets: Iterable[np.ndarray]) -> np.ndarray | None:
        """None: there is no head."""
        return None


def apart(inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Model inputs of the texts of some pairs.

    Args:
        inputs: of a batch of pairs, `[pairs, tokens]`.

    Returns:
        Of all first texts and then all second ones, `[2 * pairs, tokens of the longest text]`.
    """
    import torch

    ids, kinds = inputs["input_ids"], inputs["token_type_ids"]
    there = inputs.get("attention_mask", torch.ones_like(ids)).bool()
    ends = there.sum(1)
    behind = (kinds >= SECOND) & there
    lengths = torch.cat([ends - behind.sum(1), behind.sum(1)])
    begins = torch.cat([torch.zeros_like(ends), ends - behind.sum(1)])
    places = torch.arange(int(lengths.max()), device=ids.device)
    mask = places < lengths[:, None]
    at = torch.where(mask, begins[:, None] + places, 0)
    found = {"input_ids": ids.repeat(2, 1).gather(1, at), "attention_mask": mask.long()}
    own = torch.where(mask, kinds.repeat(2, 1).gather(1, at) % SECOND, 0)
    return {**found, "token_type_ids": own} if bool(own.any()) else found
