"""Relation extraction: from a text and two of its entities to one relation between them, or none.

Both entities are set between marks of punctuation, with their types where the data have them (the typed entity marker
of Zhou & Chen 2022, arXiv:2102.01373, sec. 3.2: `@ * person * Ada @ was born in # ^ city ^ London #`), which every
vocabulary has. A linear layer reads the two opening marks. It is stored as a head on every token with two scores for
each relation, of which the first counts at the head's mark and the second at the tail's: their sum is that layer, and
transformers and PEFT load it as a token classifier. A causal model, which reads from left to right, is shown both
entities once more after the text, and read at their closing marks there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import DataError, SettingsError
from adapters.core.settings import require
from adapters.data.classification_rows import in_order
from adapters.data.columns import given_columns, leading, roles_of_splits
from adapters.data.entity_spans import EXCLUSIVE
from adapters.data.labels import LabelSet, learnable, refuse_unknown
from adapters.data.related_pairs import MARKS, Argument, RelatedPair, located_pair, pair_in_marks, with_marks
from adapters.data.relation_rows import find_relation_columns, find_relation_form, relation_counts, stored_pairs
from adapters.data.rows import RowSource
from adapters.data.stored_rows import value_counts
from adapters.models.base_model import CAUSAL, ENCODER
from adapters.models.tokenizer import IGNORED, WordTokenizer, valid_text
from adapters.tasks import base
from adapters.tasks.base.entity_marks import SIGNS, WORDS, Marked, Signs, marked, window, without_words
from adapters.tasks.base.example import Encoded, Example, Examples, Prediction
from adapters.tasks.base.explained import Alternatives, Span, Target, Traced, Word, index_of, traced
from adapters.tasks.base.label_answer import LabelAnswerTask, likeliest

if TYPE_CHECKING:
    import datasets
    import torch

TYPED, PLAIN = "typed", "plain"
LONGEST_NAME = 80
"""Characters of an entity's name after the text that a causal model reads."""
LEAST_ROOM = 2
"""Tokens of a text that a model must read at least: both marks."""
BEFORE_NAME = 3
"""Characters before that name: a mark between two blanks."""
_ENTITIES = ("head", "tail")
_TYPES = ("head_type", "tail_type")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Relation extraction."""

    dataset_name: str | None = None
    """Dataset: a folder of files, or a Hub id. Not read with --train_file; --validation_file and --test_file replace
    its splits."""
    max_length: int = 256
    """Tokens of an input. A longer text is cut to a window around both entities; where they are too far apart, the
    middle is left out. Both are counted as truncated."""
    text_column_name: str | None = None
    """Column of the text, or of its words. The entities may be marked in it: <e1>…</e1> and <e2>…</e2>, or [[ … ]] and
    << … >>. Default: text, sentence, tokens, …"""
    head_column_name: str | None = None
    """Column of the first entity: [start, end], {start, end, type}, {name, pos} or its name. Default: head, h, subj,
    e1, …; its start, end and type may have columns of their own (subj_start, subj_end, subj_type)."""
    tail_column_name: str | None = None
    """Column of the second entity, as of the first. Default: tail, t, obj, e2, …"""
    label_column_name: str | None = None
    """Column of the relation, or of a list of all relations of a text. Default: relation, relations, label, …"""
    entities_column_name: str | None = None
    """Column of all entities of a text, where relations are listed. All pairs are then examples, those that are in no
    relation with the label no_relation. Default: entities, …"""
    no_relation_label: str | None = None
    """The data's label of entities without a relation; it is read as no_relation, which the F1 of relations leaves out.
    Default: no_relation, Other, none, NA, unknown, … where it occurs; "" for data without one."""
    span_ends: str | None = None
    """Whether an entity's end is the character or word after it (exclusive) or its last one (inclusive). Default:
    inclusive in TACRED's columns, else exclusive."""
    entity_markers: str | None = None
    """Marks around the entities: typed, which include their types, or plain. Default: typed where the data have
    types."""


@dataclass(frozen=True, slots=True)
class _Ending:
    """What follows a text.

    Attributes:
        ids: its tokens.
        read: the two of them that the head reads.
        characters: of the text that each token repeats.
    """

    ids: tuple[int, ...] = ()
    read: tuple[int, int] = (0, 0)
    characters: tuple[Span | None, ...] = ()


class Task(LabelAnswerTask):
    """The relation between two entities of a text, from the first to the second where its name says nothing else."""

    name = "relation_extraction"
    kinds = (ENCODER, CAUSAL)
    metrics = ("relation_f1", "accuracy")
    free_labels = False
    step = "relation"
    placeholders = ("text", "head", "tail")

    def __init__(self, labels: LabelSet, *, types: Sequence[str] = (), reads_end: bool = False) -> None:
        """Args:
        labels: the relations, `no_relation` among them where there are pairs without one.
        types: of the entities, which marks then include; none where marks are plain.
        reads_end: whether both entities are read after the text, as a causal model must.
        """
        self.labels, self.types, self.reads_end = labels, tuple(types), reads_end

    @classmethod
    def read(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[base.Task, dict[str, Examples]]:
        """Read splits of pairs; the relations of `train` are the labels. Raises DataError."""
        markers = settings.entity_markers
        require(markers in (None, TYPED, PLAIN), "entity_markers", markers, f"{TYPED} or {PLAIN}")
        given = given_columns(settings, "text", "head", "tail", "label", "entities")
        roles = roles_of_splits(sources, given)
        columns = {name: find_relation_columns(found) for name, found in roles.items()}
        lead = leading(sources)
        form = find_relation_form(
            roles[lead], columns[lead], ends=settings.span_ends, negative=settings.no_relation_label
        )
        splits = {}
        for name in sources:
            dataset, notes = stored_pairs(roles[name], columns[name], form)
            splits[name] = Examples(name, dataset, cls, notes)
        counts = {name: split.label_counts() for name, split in splits.items()}
        learnt = in_order(learnable(counts))
        refuse_unknown(splits, counts, lambda gold: [gold], learnt)
        types = _types(splits) if markers != PLAIN else []
        if markers == TYPED and not types:
            raise DataError(
                "--entity_markers typed: some entities have no type. Leave it out, or give head_type and tail_type."
            )
        return cls(LabelSet(learnt), types=types), splits

    def check_splits(self, splits: Mapping[str, Examples]) -> None:
        """Raises DataError for a single relation."""
        if len(self.labels) < 2:
            raise DataError(
                f"{splits[leading(splits)].notes['source']}: only the relation {', '.join(self.labels.names)} occurs, "
                "and there is nothing to tell apart. Give examples of two or more, or another --label_column_name."
            )

    @classmethod
    def label_counts(cls, dataset: datasets.Dataset) -> Counter[str]:
        """How often each relation occurs."""
        return relation_counts(dataset)

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> base.Task:
        """The task with the labels and the marks of a card."""
        return cls(LabelSet(tuple(card["labels"])), types=card.get("argument_types", ()))

    def card(self) -> dict[str, Any]:
        """The labels, and which marks there are."""
        types = {"argument_types": list(self.types)} if self.types else {}
        return {**super().card(), "entity_markers": TYPED if self.types else PLAIN, **types}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """An example of a stored row."""
        head, tail = (
            Argument(start=row[f"{name}_start"], end=row[f"{name}_end"], type=row[f"{name}_type"]) for name in _ENTITIES
        )
        inputs = _inputs(RelatedPair(text=row["text"], head=head, tail=tail))
        return Example(id=row["id"], inputs=inputs, gold=row["label"], where=row["where"])

    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """From `{text}` with marks, or `{text, head, tail}`; with typed marks also `{head_type, tail_type}`."""
        given = {name: value for name, value in inputs.items() if value is not None}
        text = given.get("text")
        marks = not set(given) & set(_ENTITIES)
        sound = set(given) <= {"text", *_ENTITIES, *_TYPES} and (marks or set(given) >= set(_ENTITIES))
        if not sound or not isinstance(text, str) or not text.strip():
            found = ", ".join(inputs) or "nothing"
            raise DataError(
                f"relation_extraction takes {{text}} with marks ({MARKS}), or {{text, head, tail}}, where an entity is "
                f"[start, end], {{start, end, type}} or its name; found {found}."
            )
        head_type, tail_type = (str(given[name]) if name in given else None for name in _TYPES)
        if marks:
            pair = pair_in_marks(text, (head_type, tail_type))
        else:
            head, tail = (given[name] for name in _ENTITIES)
            pair = located_pair(text, None, (head, tail), (head_type, tail_type), None, EXCLUSIVE)
        for name, one in zip(_TYPES, (pair.head, pair.tail), strict=True):
            if self.types and one.type not in self.types:
                known = ", ".join(self.types)
                raise DataError(f"{name} {one.type!r}: this adapter learned with types, which are {known}; give one.")
        return Example(id=id, inputs=_inputs(pair))

    def request_columns(self) -> Sequence[Sequence[str]]:
        """A text and its entities, or a text with marks; with types where they were learned."""
        types = _TYPES if self.types else ()
        return ("text", *_ENTITIES, *types), ("text", *types)

    def sample_request(self) -> str | dict[str, str]:
        """A text with marks."""
        types = dict.fromkeys(_TYPES, self.types[0]) if self.types else {}
        return {"text": "<e1>Ada</e1> lived in <e2>Oslo</e2>.", **types}

    def on(self, kind: str) -> Task:
        """On a causal model, the task that reads both entities after the text."""
        if self.reads_end == (kind == CAUSAL):
            return self
        return Task(self.labels, types=self.types, reads_end=kind == CAUSAL)

    def auto_class(self, kind: str) -> str:
        """Scores for every token, of which those of two marks are read."""
        return "AutoModelForTokenClassification"

    def config(self) -> dict[str, Any]:
        """A head with a score of each relation at the head's mark, and one at the tail's."""
        names = dict(enumerate(f"{side}: {name}" for side in _ENTITIES for name in self.labels.names))
        return {"num_labels": len(names), "id2label": names, "label2id": {name: i for i, name in names.items()}}

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """One row per pair: the text with marks, or a window of it around both entities.

        Targets are the relation's two classes, at the two marks that are read. Raises SettingsError where the budget
        has no room for two marks.
        """
        found = [self._marked(example) for example in examples]
        encoded = tokenizer.encode_data(
            [one.text for one in found], add_special_tokens=False, return_offsets_mapping=True
        )
        out = []
        for number, (one, ending) in enumerate(zip(found, self._endings(examples, tokenizer, budget), strict=True)):
            room = _room(tokenizer, budget, ending)
            kept, places, cut = window(one, encoded.offset_mapping[number], room)
            ids = encoded.input_ids[number]
            row = [*tokenizer.before, *(ids[i] for i in kept), *ending.ids, *tokenizer.after]
            first = len(tokenizer.before)
            head, tail = (
                (first + len(kept) + ending.read[0], first + len(kept) + ending.read[1])
                if self.reads_end
                else (first + places[0], first + places[1])
            )
            targets = []
            if learning:
                targets = [IGNORED] * len(row)
                targets[head] = self.labels.index[examples[number].gold]
                targets[tail] = targets[head] + len(self.labels)
            out.append(Encoded(example=number, input_ids=row, targets=targets, detail=(head, tail, cut)))
        return out

    def _marked(self, example: Example, signs: Signs = SIGNS) -> Marked:
        """The text with both entities between marks."""
        head, tail = (
            (*example.inputs[name][:2], _type_of(example, name) if self.types else None) for name in _ENTITIES
        )
        return marked(valid_text(example.inputs["text"]), head, tail, signs)

    def _endings(self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int) -> list[_Ending]:
        """What follows each text: for a causal model both entities once more.

        Names that leave too little of the budget for the text are cut to a quarter of it each.
        """
        if not self.reads_end:
            return [_Ending()] * len(examples)
        parts = []
        for example in examples:
            names = [valid_text(name)[:LONGEST_NAME] for name in self._names(example)]
            parts += [f"\n@ {names[0]} @", f" # {names[1]} #"]
        encoded = tokenizer.encode_data(parts, add_special_tokens=False, return_offsets_mapping=True)
        room = budget - len(tokenizer.before) - len(tokenizer.after) - LEAST_ROOM
        out = []
        for at, example in zip(range(0, len(parts), 2), examples, strict=True):
            sides = []
            for part, side in enumerate(_ENTITIES, at):
                characters = [self._named_again(example, side, offsets) for offsets in encoded.offset_mapping[part]]
                sides.append([*zip(encoded.input_ids[part], characters, strict=True)])
            if sum(map(len, sides)) > room:
                sides = [_shortened(tokens, budget // 4) for tokens in sides]
            head, tail = sides
            ids, repeated = zip(*head, *tail, strict=True)
            out.append(_Ending(ids, (len(head) - 1, len(head) + len(tail) - 1), repeated))
        return out

    @staticmethod
    def _named_again(example: Example, side: str, offsets: tuple[int, int]) -> Span | None:
        """The characters of an entity that a token of its copy after the text repeats; None of a mark."""
        start, end = example.inputs[side][:2]
        longest = min(end - start, LONGEST_NAME)
        first, last = max(offsets[0] - BEFORE_NAME, 0), min(offsets[1] - BEFORE_NAME, longest)
        return ("text", start + first, start + last) if first < last else None

    def without(self, example: Example, words: Sequence[Word], erased: np.ndarray) -> Example:
        """The text without some words, and both entities where they then are; one that has lost all of them is `…`."""
        gone = [(word.start, word.end) for word, out in zip(words, erased, strict=True) if out]
        spans = [(example.inputs[name][0], example.inputs[name][1]) for name in _ENTITIES]
        text, places = without_words(example.inputs["text"], spans, gone)
        moved = {name: [*at, *example.inputs[name][2:]] for name, at in zip(_ENTITIES, places, strict=True)}
        return replace(example, inputs={"text": text, **moved})

    def traced(self, example: Example, tokenizer: WordTokenizer, budget: int) -> Traced:
        """From the characters of each token without marks; a copy of an entity is of that entity's words."""
        one, (ending,) = self._marked(example), self._endings([example], tokenizer, budget)
        encoded = tokenizer.encode_data([one.text], add_special_tokens=False, return_offsets_mapping=True)
        (offsets,) = encoded.offset_mapping
        kept, *_ = window(one, offsets, _room(tokenizer, budget, ending))
        found = [one.unmarked(*offsets[i]) for i in kept]
        read: list[Span | None] = [at and ("text", *at) for at in found]
        special = ([None] * len(tokens) for tokens in (tokenizer.before, tokenizer.after))
        return traced(self.words(example), [[*next(special), *read, *ending.characters, *next(special)]])

    def target(self, example: Example, prediction: Prediction, wanted: str | None = None) -> Target:
        """A relation: the one that was asked for, or the answer."""
        name = prediction.value if wanted is None else wanted
        if name is None:
            raise DataError("There is no answer to the text, so there is nothing to explain. Is it too long?")
        return Target(name=name, of=index_of(name, self.labels.names, "the relation"))

    def alternatives(self, target: Target, encoded: Sequence[Encoded], answers: Sequence[Any]) -> list[Alternatives]:
        """The sums of both marks' scores, or the one score of each relation that `decode` takes, too."""
        (row,), (answer,), relations = encoded, answers, len(self.labels)
        if answer.ndim > 1:
            head, tail, _ = row.detail
            answer = answer[head, :relations] + answer[tail, relations:]
        return [Alternatives(scores=answer, chosen=target.of)]

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy of the sums of both marks' scores, summed, and the number of targets.

        An example has two targets, and counts twice: losses are divided by the number of targets.

        Args:
            logits: `[rows, tokens, 2 * relations]`.
            targets: `[rows, tokens]`: a relation at the head's mark, the same plus their number at the tail's.
        """
        import torch.nn.functional as f

        relations = len(self.labels)
        at_head = (targets >= 0) & (targets < relations)
        both = logits[at_head][:, :relations] + logits[targets >= relations][:, relations:]
        summed = f.cross_entropy(both.float(), targets[at_head], reduction="sum")
        return 2 * summed, 2 * at_head.sum()

    def prior(self, targets: Iterable[np.ndarray]) -> np.ndarray | None:
        """Each relation's log share, at the head's mark."""
        counts = np.ones(2 * len(self.labels))
        for row in targets:
            counts += np.bincount(row[row != IGNORED], minlength=len(counts))
        of_head = counts[: len(self.labels)]
        return np.concatenate([np.log(of_head / of_head.sum()), np.zeros(len(self.labels))])

    def decode(
        self,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        tokenizer: WordTokenizer,
    ) -> list[Prediction]:
        """The likeliest relation of each pair, from the scores at its two marks, or from one score per relation."""
        relations = len(self.labels)
        logits, was_cut = np.zeros((len(examples), relations)), [False] * len(examples)
        for row, answer in zip(encoded, answers, strict=True):
            if answer.ndim == 1:
                logits[row.example] = answer
                continue
            head, tail, was_cut[row.example] = row.detail
            logits[row.example] = answer[head, :relations] + answer[tail, relations:]
        return [
            Prediction(value=value, detail=shares, truncated=cut)
            for value, shares, cut in zip(*self.chosen(logits), was_cut, strict=True)
        ]

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The text, both entities with their characters, the relation, and the probabilities of the likeliest."""
        shown: dict[str, Any] = {"text": example.inputs["text"]}
        for side, name in zip(_ENTITIES, self._names(example), strict=True):
            start, end = example.inputs[side][:2]
            kind = _type_of(example, side)
            shown[side] = {"text": name, "start": start, "end": end, **({"type": kind} if kind else {})}
        shown["label"] = prediction.value
        if prediction.detail is None:
            return shown
        scores = likeliest(self.labels.names, prediction.detail)
        return {**shown, "score": next(iter(scores.values())), "scores": scores}

    def shown_inputs(self, example: Example) -> dict[str, Any]:
        """The text with marks, and the entities' types where they are learned with."""
        head, tail = (Argument(start=example.inputs[name][0], end=example.inputs[name][1]) for name in _ENTITIES)
        types = {f"{name}_type": _type_of(example, name) for name in _ENTITIES} if self.types else {}
        return {"text": with_marks(RelatedPair(text=example.inputs["text"], head=head, tail=tail)), **types}

    def texts_of(self, example: Example) -> dict[str, str]:
        """The text, and the names of both entities."""
        head, tail = self._names(example)
        return {"text": example.inputs["text"], "head": head, "tail": tail}

    def content_free(self, example: Example, text: str) -> Example:
        """The text, of which both entities are the whole."""
        whole = {name: [0, len(text), *example.inputs[name][2:]] for name in _ENTITIES}
        return replace(example, inputs={"text": text, **whole}, gold=None)

    def plain_texts(self, example: Example) -> list[str]:
        """The text with marks that are words."""
        return [self._marked(example, WORDS).text]

    def plain_span(self, example: Example, text: int, start: int, end: int) -> Span | None:
        """The characters of the text without marks."""
        found = self._marked(example, WORDS).unmarked(start, end)
        return found and ("text", *found)

    @staticmethod
    def _names(example: Example) -> tuple[str, str]:
        """The texts of both entities."""
        text = example.inputs["text"]
        return text[slice(*example.inputs["head"][:2])], text[slice(*example.inputs["tail"][:2])]


def _inputs(pair: RelatedPair) -> dict[str, Any]:
    """The inputs of an example."""
    inputs: dict[str, Any] = {"text": pair.text}
    for name, one in (("head", pair.head), ("tail", pair.tail)):
        inputs[name] = [one.start, one.end, *([one.type] if one.type else [])]
    return inputs


def _type_of(example: Example, side: str) -> str | None:
    """The type of an entity of an example."""
    return next(iter(example.inputs[side][2:]), None)


def _room(tokenizer: WordTokenizer, budget: int, ending: _Ending) -> int:
    """The tokens that are left for a text. Raises SettingsError where those are too few for both marks."""
    taken = len(tokenizer.before) + len(tokenizer.after) + len(ending.ids)
    if budget - taken < LEAST_ROOM:
        raise SettingsError(
            f"--max_length {budget}: leaves no room for a text, as {taken} tokens are special ones or repeat its "
            "entities. Give a larger one; 64 is enough for any."
        )
    return budget - taken


def _shortened(tokens: Sequence[tuple[int, Span | None]], most: int) -> list[tuple[int, Span | None]]:
    """The tokens of a name between marks, of which at most so many repeat the name; no character is cut in two.

    Args:
        tokens: each with the characters that it repeats; None of a mark.
        most: tokens of the name.
    """
    of_name = [number for number, (_, characters) in enumerate(tokens) if characters is not None]
    kept = of_name[:most]
    while 0 < len(kept) < len(of_name) and tokens[kept[-1]][1] == tokens[of_name[len(kept)]][1]:
        kept.pop()  # byte-level tokens of one character
    left_out = set(of_name[len(kept) :])
    return [token for number, token in enumerate(tokens) if number not in left_out]


def _types(splits: Mapping[str, Examples]) -> list[str]:
    """The types of all entities, sorted; none where an entity lacks one."""
    found: set[str] = set()
    for split in splits.values():
        for name in _TYPES:
            counts = value_counts(split.dataset, name)
            if counts.total() < len(split):
                return []
            found |= set(counts)
    return sorted(found)
