"""Named entity recognition: from words to IOB2 tags, and to entities with offsets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import DataError, SettingsError
from adapters.data.class_labels import label_names
from adapters.data.columns import given_columns, leading, roles_of_splits
from adapters.data.entity_spans import SpanRules
from adapters.data.labels import LabelSet, learnable, refuse_unknown
from adapters.data.ner_rows import find_ner_columns, find_tag_form, stored_sentences
from adapters.data.rows import RowSource
from adapters.data.single_characters import are_characters, is_character
from adapters.data.stored_rows import value_counts
from adapters.data.tag_schemes import (
    OUTSIDE,
    PLAIN,
    entity_types,
    scheme_of_labels,
    spans,
    tag_labels,
    tags_of,
    to_iob2,
)
from adapters.data.word_splitter import joined, only_characters, split_characters, split_words
from adapters.models.base_model import CAUSAL, ENCODER
from adapters.models.tokenizer import IGNORED, WordTokenizer, valid_text
from adapters.models.word_parts import Window, WordPart, WordParts
from adapters.tasks import base
from adapters.tasks.base.answer_constraints import LinesConstraint, lines_constraint
from adapters.tasks.base.decoding import TagSearch, log_softmax
from adapters.tasks.base.entity_formats import FORMATS, NONE, check_form, locate_mentions
from adapters.tasks.base.example import Encoded, Example, Examples, Prediction
from adapters.tasks.base.explained import Alternatives, Target, Traced, Word, index_of, of_shares
from adapters.tasks.base.task import AnswerForm

if TYPE_CHECKING:
    import datasets

_SAMPLE = 1000
"""Training sentences by which words are recognised as characters."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Named entity recognition."""

    text_column_name: str | None = None
    """Column of words (or of raw text). Default: tokens, words; text, sentence; the words of a column file."""
    label_column_name: str | None = None
    """Column of tags (or of entities). Default: ner_tags, tags, labels; entities, spans; the tags of a column file."""
    sentence_column_name: list[str] = field(default_factory=list)
    """Of a table with a word in each row: the column that says which words are a sentence, or several
    (document,sentence). Default: sentence, sentence_id, …"""
    tag_scheme: str | None = None
    """iob1, iob2, bioes, bmes or io. Default: recognised from the training tags."""
    repair_tags: bool = False
    """Let an I- that continues no entity begin one (counted), instead of refusing the file."""
    label_name: str | None = None
    """The type of all entities, where tags have none (B, I, O)."""
    label_names: list[str] = field(default_factory=list)
    """Names of tags that are numbers, in order from 0 (O,B-PER,I-PER), or a JSON file of them."""
    spans: str = "strict"
    """Entities that cut a word: strict refuses them, snap extends them to whole words, drop leaves them out. Of
    overlapping ones, snap and drop keep the longer. Both are counted."""
    span_ends: str | None = None
    """Whether an entity's end is the character or word after it (exclusive) or its last one (inclusive). Default:
    inclusive in CLUENER's and Dataturks' forms, where the texts show it, else exclusive."""
    by_character: bool | None = None
    """Tokenize each word as inside text without blanks, so that no token is of two words and none marks a blank; true
    also takes each character of a raw text, Latin letters and digits too, for a word. Default: where the words of train
    are single Chinese characters or kana."""


class Task(base.PromptableTask):
    """Tags of words; entities are their IOB2 spans."""

    name = "ner"
    kinds = (ENCODER, CAUSAL)
    answer = "tags"
    metrics = ("entity_f1", "token_f1")
    highlights = True
    step = "entities"
    peft_task = "TOKEN_CLS"
    free_labels = False
    answer_formats = tuple(FORMATS)
    placeholders = ("text",)
    common_placeholders = ("types",)

    def __init__(self, labels: LabelSet, *, by_character: bool = False, single_characters: bool = False) -> None:
        """Args:
        labels: IOB2 tags; those of a head that others trained may be of another scheme, or plain labels of words.
            Predictions are IOB2 tags in any case, or the plain labels.
        by_character: whether words are tokenized one by one as inside text without blanks.
        single_characters: whether all words are single characters, so that a request's text is split into these.
        """
        self.labels = labels
        self.by_character = by_character
        self.single_characters = single_characters
        self.scheme = scheme_of_labels(labels.names)

    @cached_property
    def search(self) -> TagSearch:
        """Finds the likeliest tags that the scheme allows."""
        return TagSearch(self.labels)

    @classmethod
    def read(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[base.Task, dict[str, Examples]]:
        """Read splits of tagged sentences; all have the scheme that is recognised in `train`."""
        given = given_columns(settings, "text", "label", "sentence")
        names = tuple(label_names(settings.label_names))
        rules = SpanRules(
            spans=settings.spans, ends=settings.span_ends, names=names, characters=bool(settings.by_character)
        )
        roles = roles_of_splits(sources, given)
        columns = {name: find_ner_columns(found) for name, found in roles.items()}
        main = leading(sources)
        form = find_tag_form(
            roles[main].source,
            columns[main],
            scheme=settings.tag_scheme,
            label_name=settings.label_name,
            names=names,
        )
        if form.note:
            roles[main].notes.append(form.note)
        splits = {}
        for name in sources:
            dataset, notes = stored_sentences(
                roles[name], columns[name], form, rules=rules, repair=settings.repair_tags
            )
            splits[name] = Examples(name, dataset, cls, notes)
        types = {name: set(split.label_counts()) for name, split in splits.items()}
        learnt = sorted(learnable(types))
        refuse_unknown(splits, types, lambda tags: {tag[2:] for tag in tags if tag != OUTSIDE}, learnt)
        by_character = settings.by_character
        if by_character is None:
            by_character = are_characters(example.inputs["tokens"] for example in splits[main][:_SAMPLE])
        single = only_characters(value_counts(splits[main].dataset, "tokens"))
        single = single or (rules.characters and "text" in splits[main][0].inputs)
        if single and not rules.characters:
            splits[main].notes["reading"]["notes"].append("the words are characters, into which texts are split, too")
        return cls(tag_labels(learnt), by_character=by_character, single_characters=single), splits

    def check_splits(self, splits: Mapping[str, Examples]) -> None:
        """Raises DataError for a split without entities: train teaches nothing then, and others have no F1."""
        for name, split in splits.items():
            if not split.label_counts():
                raise DataError(
                    f"{split.notes['source']}: no entity in the whole {name} split, every tag is O. Give a file "
                    "with entities, or name its columns with --text_column_name and --label_column_name."
                )

    @classmethod
    def label_counts(cls, dataset: datasets.Dataset) -> Counter[str]:
        """The number of entities of each type."""
        tags = value_counts(dataset, "tags")
        return Counter({tag[2:]: count for tag, count in tags.items() if tag.startswith("B-")})

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> base.Task:
        """The task with the label list of a card."""
        given = {name: bool(card.get(name)) for name in ("by_character", "single_characters")}
        return cls(LabelSet(tuple(card["labels"])), **given)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """An example of a stored row."""
        inputs: dict[str, Any] = {"tokens": row["tokens"]}
        if row["text"] is not None:
            inputs = {
                "text": row["text"],
                "tokens": row["tokens"],
                "offsets": [*zip(row["starts"], row["ends"], strict=True)],
            }
        return Example(id=row["id"], inputs=inputs, gold=row["tags"], where=row["where"])

    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """From `{text}`, which is split into words, or into characters if these were learned; or `{tokens}`."""
        tokens, text = inputs.get("tokens"), inputs.get("text")
        if isinstance(tokens, list) and all(isinstance(token, str) for token in tokens) and text is None:
            return Example(id=id, inputs={"tokens": tokens})
        if isinstance(text, str) and tokens is None:
            offsets = split_characters(text) if self.single_characters else split_words(text)
            words = [text[start:end] for start, end in offsets]
            return Example(id=id, inputs={"text": text, "tokens": words, "offsets": offsets})
        raise DataError(f"ner takes {{'text': string}} or {{'tokens': [strings]}}, found {_shape(inputs)}.")

    def request_columns(self) -> Sequence[Sequence[str]]:
        """A text, or its words."""
        return ("text",), ("tokens",)

    def auto_class(self, kind: str) -> str:
        """transformers' linear head on every token, for encoders and causal models."""
        return "AutoModelForTokenClassification"

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """Windows over each sentence. A word is predicted at its first token; its other tokens learn to continue it.

        A text has the tokens of the text; words given one by one have those that they have inside a text. Where words
        are characters, both have the tokens of the words inside text without blanks.
        """
        parts = self._parts(examples, tokenizer)
        out = []
        for window in WordParts(tokenizer).windows(parts, budget):
            targets = [IGNORED] * len(window.input_ids)
            gold = examples[window.example].gold
            if learning and gold is not None:
                self._fill_targets(targets, window, parts[window.example], gold)
            scored = [
                (position, parts[window.example][part].word, parts[window.example][part].shared)
                for position, part, owned in zip(window.positions, window.parts, window.owned, strict=True)
                if owned and parts[window.example][part].first_of_word
            ]
            out.append(Encoded(example=window.example, input_ids=window.input_ids, targets=targets, detail=scored))
        return out

    def cautions(self, examples: Sequence[Example], tokenizer: WordTokenizer) -> list[str]:
        """The words without a token of their own whose tag is not that of the word before, continued."""
        lost, words = [], 0
        of_texts = [example for example in examples if "text" in example.inputs]  # others give each word its own tokens
        for example, parts in zip(of_texts, self._parts(of_texts, tokenizer), strict=True):
            words += len(parts)
            shared = [part.word for part in parts if part.shared]
            lost += [example.inputs["tokens"][i] for i in shared if example.gold[i] != _after(example.gold[i - 1])]
        if not lost:
            return []
        return [
            f"{len(lost):,} of the {words:,} words of the first examples lie within a token of the one before and "
            f"have another tag ({', '.join(lost[:3])}): this base can neither learn nor predict it"
        ]

    def remarks(self, tokenizer: WordTokenizer) -> list[str]:
        """That words are tokenized in another way than transformers' scripts do it."""
        if not self.by_character or not tokenizer.marks_words:
            return []
        return [
            "words are single characters: each is tokenized by itself, without the blank that this base's tokenizer "
            "marks before words (--by_character false: as words)"
        ]

    def _parts(self, examples: Sequence[Example], tokenizer: WordTokenizer) -> list[list[WordPart]]:
        """The parts of each example's words: those of a text in the text, others one by one."""
        inputs, words = [example.inputs for example in examples], WordParts(tokenizer)
        if self.by_character and tokenizer.marks_words:
            return words.of_words([given["tokens"] for given in inputs], [*map(_joined, inputs)])
        as_text = ["text" in given and not self.single_characters for given in inputs]
        texts = [given for given, is_text in zip(inputs, as_text, strict=True) if is_text]
        offsets = [given["offsets"] for given in texts]
        in_text = iter(words.of_texts([given["text"] for given in texts], offsets))
        given_alone = [given["tokens"] for given, is_text in zip(inputs, as_text, strict=True) if not is_text]
        alone = iter(words.of_words(given_alone))
        return [next(in_text if is_text else alone) for is_text in as_text]

    def _fill_targets(self, targets: list[int], window: Window, parts: Sequence[WordPart], gold: Sequence[str]) -> None:
        for position, number, owned in zip(window.positions, window.parts, window.owned, strict=True):
            part = parts[number]
            if owned and not part.shared:  # a token has one label: that of the first word in it
                tag = gold[part.word]
                tag = tag if part.first_of_word or tag == OUTSIDE else f"I-{tag[2:]}"
                targets[position] = self.labels.index[tag]

    def decode(
        self,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        tokenizer: WordTokenizer,
    ) -> list[Prediction]:
        """The likeliest valid tag sequence of each sentence, one tag per word."""
        scores = [np.zeros((len(example.inputs["tokens"]), len(self.labels))) for example in examples]
        shared: list[list[bool | None]] = [[None] * len(score) for score in scores]  # None: the word has no token
        for row, answer in zip(encoded, answers, strict=True):
            for position, word, within in row.detail:
                scores[row.example][word], shared[row.example][word] = answer[position], within
        found = []
        log_probs = [
            log_softmax(score[[i for i, within in enumerate(flags) if within is False]])
            for score, flags in zip(scores, shared, strict=True)
        ]
        for path, score, flags in zip(self.search.best(log_probs), log_probs, shared, strict=True):
            tags = self._normal([self.labels.names[tag] for tag in path])
            found.append(_spread(tags, np.exp(score[np.arange(len(path)), path]), flags))
        return found

    def explained_texts(self, example: Example) -> dict[str, str]:
        """The text, or the joined words."""
        return {"text": _text(example)[0]}

    def words(self, example: Example) -> list[Word]:
        """The words that have tags."""
        return [Word(column="text", start=start, end=end) for start, end in _text(example)[1]]

    def traced(self, example: Example, tokenizer: WordTokenizer, budget: int) -> Traced:
        """From the parts of words; a word within the last token of the one before shares that token."""
        (parts,) = self._parts([example], tokenizer)
        room, rows = budget - len(tokenizer.before) - len(tokenizer.after), []
        for window in WordParts(tokenizer).windows([parts], budget):
            tokens: list[dict[int, float]] = [{} for _ in tokenizer.before]
            for number in window.parts:
                part = parts[number]
                if part.shared and tokens and len(tokens) > len(tokenizer.before):
                    tokens[-1] = {**tokens[-1], part.word: 1.0}
                tokens += [{part.word: 1.0} for _ in part.tokens[:room]]
            rows.append([*tokens, *({} for _ in tokenizer.after)])
        return of_shares(self.words(example), rows)

    def target(self, example: Example, prediction: Prediction, wanted: str | None = None) -> Target:
        """An entity: the first, or the one of the text or the number (from 1) that was asked for.

        It is `(word, tag)` of each of its words, tags as classes of the labels.
        """
        found = self.output(example, prediction)["entities"]
        if not found:
            raise DataError("No entity was found in the text, so there is none to explain.")
        names = [entity["text"] for entity in found]
        numbered = {str(number): entity for number, entity in enumerate(found, 1)}
        entity = found[0] if wanted is None else numbered.get(wanted)
        if entity is None:
            assert wanted is not None
            entity = found[index_of(wanted, names, "the entity")]
        begin, end = entity["words"]
        tags = [self._own(prediction.value[word]) for word in range(begin, end)]
        return Target(name=f"{entity['label']}: {entity['text']}", of=[*zip(range(begin, end), tags, strict=True)])

    def _own(self, tag: str) -> int:
        """The class of a tag among the head's labels; in a scheme that is not IOB2, the one of the same type."""
        index, kind = self.labels.index, tag[2:]
        if tag in index:
            return index[tag]
        return next(number for name, number in index.items() if name[2:] == kind)

    def alternatives(self, target: Target, encoded: Sequence[Encoded], answers: Sequence[Any]) -> list[Alternatives]:
        """The tags of each word of the entity that has a token of its own."""
        tags = dict(target.of)
        return [
            Alternatives(scores=answer[position], chosen=tags[word])
            for row, answer in zip(encoded, answers, strict=True)
            for position, word, within in row.detail
            if word in tags and not within
        ]

    def _normal(self, tags: list[str]) -> list[str]:
        """The tags of the head's own scheme as IOB2; plain labels as they are."""
        return tags if self.scheme in ("iob2", PLAIN) else to_iob2(tags, self.scheme)[0]

    def label_names(self) -> tuple[str, ...]:
        """The entity types."""
        return entity_types(self.labels)

    def counted(self, prediction: Prediction) -> tuple[str, ...]:
        """The types of the entities in a text."""
        found = prediction.value if self.scheme == PLAIN else [kind for kind, *_ in spans(prediction.value)]
        return tuple(sorted(set(found)))

    def confidence(self, prediction: Prediction) -> float | None:
        """The mean probability of the words' tags."""
        shares = prediction.detail
        return float(np.mean(shares)) if shares is not None and len(shares) else None

    def gold_output(self, example: Example) -> list[dict[str, Any]]:
        """The entities, with character offsets into the text (or into the joined words)."""
        shown = self.output(example, Prediction(value=example.gold))["entities"]
        return [{key: entity[key] for key in ("start", "end", "label", "text")} for entity in shown]

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """Tags, and entities with character offsets into the text (or into the joined words)."""
        words: Sequence[str] = example.inputs["tokens"]
        text, offsets = _text(example)
        entities = []
        for kind, begin, end in spans(prediction.value) if self.scheme != PLAIN else ():
            start, stop = offsets[begin][0], offsets[end - 1][1]
            entity = {"label": kind, "text": text[start:stop], "start": start, "end": stop, "words": [begin, end]}
            if prediction.detail is not None:
                entity["score"] = round(float(np.mean(prediction.detail[begin:end])), 4)
            entities.append(entity)
        return {"text": text, "entities": entities, "tokens": list(words), "tags": list(prediction.value)}

    def check_form(self, form: AnswerForm) -> None:
        """Raises SettingsError unless every type has one name of its own that the format can express."""
        several = [kind for kind in entity_types(self.labels) if len(form.verbalizer.get(kind, ())) > 1]
        if several:
            raise SettingsError(f"{form.where}: {several[0]} has several names; ner needs one. Change [verbalizer].")
        check_form(self._names(form), form.format, form.separator, form.where)

    def fill(self, example: Example | None, form: AnswerForm) -> dict[str, str]:
        """`types`: the names of the entity types; `text`: the sentence."""
        filled = {"types": ", ".join(self._names(form).values())}
        if example is not None:
            filled["text"] = _text(example)[0]
        return filled

    def write_answer(self, example: Example, form: AnswerForm) -> str:
        """The gold entities in the prompt's format."""
        text, offsets = _text(example)
        names = self._names(form)
        entities = [(names[kind], offsets[begin][0], offsets[end - 1][1]) for kind, begin, end in spans(example.gold)]
        return FORMATS[form.format].write(entities, text)

    def constraint(self, example: Example, form: AnswerForm) -> LinesConstraint | None:
        """In the format `lines`: known types, each with a span of the text."""
        text, offsets = _text(example)
        known = self._names(form).values()
        return lines_constraint(known, valid_text(text), offsets, NONE) if form.format == "lines" else None

    def read_answer(self, example: Example, written: str, form: AnswerForm) -> Prediction:
        """The entities of known types that `locate_mentions` finds in the sentence, as tags."""
        text, offsets = _text(example)
        mentions = FORMATS[form.format].read(written, text)
        types = {name.lower(): kind for kind, name in self._names(form).items()}
        known = [(types[name.lower()], words) for name, words in mentions.found if name.lower() in types]
        found, all_found = locate_mentions(known, text, offsets)
        complete = mentions.complete and all_found and len(known) == len(mentions.found)
        return Prediction(value=tags_of(found, len(offsets)), written=written, parse_failure=not complete)

    def _names(self, form: AnswerForm) -> dict[str, str]:
        """The name of each entity type in a prompt."""
        return {kind: form.verbalizer.get(kind, (kind,))[0] for kind in entity_types(self.labels)}

    def card(self) -> dict[str, Any]:
        """The label list, and for readers the entity types and a scheme that is not IOB2."""
        scheme = {} if self.scheme == "iob2" else {"tag_scheme": self.scheme}
        known = {"by_character": self.by_character, "single_characters": self.single_characters}
        characters = {name: True for name, holds in known.items() if holds}
        return {**super().card(), "entity_types": list(entity_types(self.labels)), **scheme, **characters}


def _joined(inputs: Mapping[str, Any]) -> list[bool]:
    """Whether each word is tokenized without the mark of a blank: one character, or no blank before it in its text."""
    words = inputs["tokens"]
    if "text" not in inputs:
        return [is_character(word) for word in words]
    text = inputs["text"]
    return [
        is_character(word) or not text[max(start - 1, 0) : start].isspace()
        for word, (start, _) in zip(words, inputs["offsets"], strict=True)
    ]


def _spread(tags: Sequence[str], shares: np.ndarray, shared: Sequence[bool | None]) -> Prediction:
    """The prediction for all words, from the tags of those that have a token of their own.

    One that lies within the token of the word before it continues that word's entity. One without any token is in an
    entity that goes on after it, or in none.
    """
    own = iter(zip(tags, shares, strict=True))
    value: list[str] = []
    detail: list[float] = []
    tag, share = OUTSIDE, 1.0
    for within in shared:
        if within is None:
            value.append("")
            detail.append(1.0)
            continue
        tag, share = (_after(tag), share) if within else next(own)
        value.append(tag)
        detail.append(float(share))
    for number in range(len(value) - 1, -1, -1):
        if not value[number]:
            following = value[number + 1] if number + 1 < len(value) else OUTSIDE
            value[number] = following if following[:2] == "I-" else OUTSIDE
    return Prediction(value=value, detail=np.array(detail))


def _after(tag: str) -> str:
    """The tag that continues another."""
    return f"I-{tag[2:]}" if tag[:2] == "B-" else tag


def _text(example: Example) -> tuple[str, Sequence[tuple[int, int]]]:
    """The text, or the joined words, and the words' offsets in it."""
    inputs = example.inputs
    if "text" in inputs:
        return inputs["text"], inputs["offsets"]
    return joined(inputs["tokens"])


def _shape(inputs: Mapping[str, Any]) -> str:
    """Names and types of the inputs, without their contents."""
    return "{" + ", ".join(f"{name!r}: {type(value).__name__}" for name, value in inputs.items()) + "}"
