"""Named entities: words in, IOB2 tags inside, entities with offsets out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters import tasks
from adapters.alignment import IGNORED, Part, Pieces, Window, valid_text
from adapters.annotation import Columns, find_columns, find_scheme, sentences
from adapters.constraint import Lines, lines
from adapters.data import RowSource
from adapters.entity_answers import FORMATS, NONE, check_form, place
from adapters.errors import DataError, Faults, SettingsError
from adapters.files import digest_value
from adapters.labels import OUTSIDE, LabelSet, best_tags, entity_types, refuse_unknown, spans, tag_labels, tags_of
from adapters.probabilities import log_softmax
from adapters.store import store
from adapters.tasks import CAUSAL, ENCODER, AnswerForm, Encoded, Example, Examples, Prediction
from adapters.words import cut, joined_offsets

if TYPE_CHECKING:
    import pyarrow

STORED_AS = 1
"""Raised when the rows of `_schema` change their meaning, so that older caches are not read."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Named entity recognition."""

    text_column_name: str | None = None
    """Column of words (or of raw text). Default: tokens, words; text, sentence; first column of a column file."""
    label_column_name: str | None = None
    """Column of tags (or of entities). Default: ner_tags, tags, labels; entities, spans; last of a column file."""
    tag_scheme: str | None = None
    """iob1, iob2, bioes, bmes or io. Default: recognised from the training tags."""
    repair_tags: bool = False
    """Let an I- that continues nothing begin an entity (counted), instead of refusing the file."""


class Task(tasks.Task):
    """Tags of words; entities are their IOB2 spans."""

    name = "ner"
    kinds = (ENCODER, CAUSAL)
    answer = "tags"
    metrics = ("entity_f1", "token_f1")
    highlights = True
    peft_task = "TOKEN_CLS"
    free_labels = False
    answer_formats = tuple(FORMATS)
    holes = ("text",)
    common_holes = ("types",)

    def __init__(self, labels: LabelSet) -> None:
        """Args: labels: IOB2 tags."""
        self.labels = labels

    @classmethod
    def read(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[tasks.Task, dict[str, Examples]]:
        """Read splits of tagged sentences; the scheme recognised in `train` holds for all of them."""
        main = sources.get("train") or next(iter(sources.values()))
        columns = {
            name: find_columns(source, settings.text_column_name, settings.label_column_name)
            for name, source in sources.items()
        }
        scheme = find_scheme(
            main, find_columns(main, settings.text_column_name, settings.label_column_name), settings.tag_scheme
        )
        splits = {
            name: _read_split(name, source, columns[name], scheme, settings.repair_tags)
            for name, source in sources.items()
        }
        types = {name: _types(split) for name, split in splits.items()}
        learnt = types.get("train") or set().union(*types.values())
        for name, split in splits.items():
            if not types[name]:
                raise DataError(
                    f"{split.notes['source']}: no entity in the whole {name} split, every tag is O. Give a file "
                    "with entities, or name its columns with --text_column_name and --label_column_name."
                )
            if types[name] - learnt:
                subject = f"{split.notes['source']} ({name})"
                refuse_unknown(subject, split, lambda tags: {tag[2:] for tag in tags if tag != OUTSIDE}, sorted(learnt))
        return cls(tag_labels(learnt)), splits

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> tasks.Task:
        """The task with the label list of a card."""
        return cls(LabelSet(tuple(card["labels"])))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """An example of a stored row. Offsets stay out of the digest's way: they follow from the words and the text."""
        inputs: dict[str, Any] = {"tokens": row["tokens"]}
        if row["text"] is not None:
            inputs = {
                "text": row["text"],
                "tokens": row["tokens"],
                "offsets": [*zip(row["starts"], row["ends"], strict=True)],
            }
        return Example(id=row["id"], inputs=inputs, gold=row["tags"], where=row["where"])

    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """From `{text}` (cut into words by the rule of words.py) or `{tokens}`."""
        tokens, text = inputs.get("tokens"), inputs.get("text")
        if isinstance(tokens, list) and all(isinstance(token, str) for token in tokens) and text is None:
            return Example(id=id, inputs={"tokens": tokens})
        if isinstance(text, str) and tokens is None:
            offsets = cut(text)
            words = [text[start:end] for start, end in offsets]
            return Example(id=id, inputs={"text": text, "tokens": words, "offsets": offsets})
        raise DataError(f"ner takes {{'text': string}} or {{'tokens': [strings]}}, found {_shape(inputs)}.")

    def auto_class(self, kind: str) -> str:
        """A linear head on every piece, as transformers has it for encoders and causal models alike."""
        return "AutoModelForTokenClassification"

    def encode(
        self, examples: Sequence[Example], pieces: Pieces, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """Windows over each sentence. A word is labelled at its first part; its other parts learn to continue it."""
        words = [example.inputs["tokens"] for example in examples]
        parts = pieces.parts(words)
        out = []
        for window in pieces.windows(parts, budget):
            targets = [IGNORED] * len(window.input_ids)
            gold = examples[window.example].gold
            if learning and gold is not None:
                self._fill_targets(targets, window, parts[window.example], gold)
            scored = [
                (position, parts[window.example][part].word)
                for position, part, owned in zip(window.positions, window.parts, window.owned, strict=True)
                if owned and parts[window.example][part].first_of_word
            ]
            out.append(Encoded(example=window.example, input_ids=window.input_ids, targets=targets, detail=scored))
        return out

    def _fill_targets(self, targets: list[int], window: Window, parts: Sequence[Part], gold: Sequence[str]) -> None:
        for position, number, owned in zip(window.positions, window.parts, window.owned, strict=True):
            if owned:
                part = parts[number]
                tag = gold[part.word]
                tag = tag if part.first_of_word or tag == OUTSIDE else f"I-{tag[2:]}"
                targets[position] = self.labels.index[tag]

    def decode(
        self, examples: Sequence[Example], encoded: Sequence[Encoded], answers: Sequence[np.ndarray], pieces: Pieces
    ) -> list[Prediction]:
        """The likeliest valid tag sequence of each sentence, as many tags as words."""
        scores = [np.zeros((len(example.inputs["tokens"]), len(self.labels))) for example in examples]
        for row, answer in zip(encoded, answers, strict=True):
            for position, word in row.detail:
                scores[row.example][word] = answer[position]
        log_probs = [log_softmax(score) for score in scores]
        paths = best_tags(log_probs, self.labels)
        return [
            Prediction(
                value=[self.labels.names[tag] for tag in path],
                detail=np.exp(score[np.arange(len(path)), path]),
            )
            for path, score in zip(paths, log_probs, strict=True)
        ]

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """Tags, and entities with character offsets into the text (or into the words joined by single spaces)."""
        words: Sequence[str] = example.inputs["tokens"]
        text, offsets = _text(example)
        entities = []
        for kind, begin, end in spans(prediction.value):
            start, stop = offsets[begin][0], offsets[end - 1][1]
            entity = {"label": kind, "text": text[start:stop], "start": start, "end": stop, "words": [begin, end]}
            if prediction.detail is not None:
                entity["score"] = round(float(np.mean(prediction.detail[begin:end])), 4)
            entities.append(entity)
        return {"text": text, "entities": entities, "tokens": list(words), "tags": list(prediction.value)}

    def check_form(self, form: AnswerForm) -> None:
        """Every type must have a name of its own, and one alone, that the format can hold."""
        several = [kind for kind in entity_types(self.labels) if len(form.names.get(kind, ())) > 1]
        if several:
            raise SettingsError(f"{form.where}: {several[0]} has several names; ner needs one. Change [names].")
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

    def constraint(self, example: Example, form: AnswerForm) -> Lines | None:
        """Of the format `lines`: known types, each with words as they stand in the text."""
        text, offsets = _text(example)
        known = self._names(form).values()
        return lines(known, valid_text(text), offsets, NONE) if form.format == "lines" else None

    def read_answer(self, example: Example, written: str, form: AnswerForm) -> Prediction:
        """Entities of known types that stand in the sentence (`entity_answers.place` says where) as tags."""
        text, offsets = _text(example)
        mentions = FORMATS[form.format].read(written, text)
        types = {name.lower(): kind for kind, name in self._names(form).items()}
        known = [(types[name.lower()], words) for name, words in mentions.found if name.lower() in types]
        found, placed = place(known, text, offsets)
        whole = mentions.whole and placed and len(known) == len(mentions.found)
        return Prediction(value=tags_of(found, len(offsets)), written=written, unparsed=not whole)

    def _names(self, form: AnswerForm) -> dict[str, str]:
        """What each entity type is called in a prompt."""
        return {kind: form.names.get(kind, (kind,))[0] for kind in entity_types(self.labels)}

    def card(self) -> dict[str, Any]:
        """The label list, and the entity types for people."""
        return {**super().card(), "entity_types": list(entity_types(self.labels))}


def _read_split(name: str, source: RowSource, columns: Columns, scheme: str, repair: bool) -> Examples:
    """Sentences of one source, checked, stored as Arrow and memory-mapped."""
    faults = Faults(source.name)
    digest = source.digest()
    how = {
        "reader": [type(source).__name__, getattr(source, "encoding", None)],
        "columns": [columns.text, columns.labels, columns.tagged],
        "scheme": scheme,
        "repair": repair,
    }
    key = digest_value({"source": digest, "name": source.name, "how": how, "task": "ner", "stored_as": STORED_AS})

    def rows() -> Iterator[dict[str, Any]]:
        found = sentences(source, columns, scheme, repair=repair, faults=faults)
        for number, (row, sentence) in enumerate(found):
            yield {
                "id": str(number if row.values.get("id") is None else row.values["id"]),
                "tokens": sentence.words,
                "tags": sentence.tags,
                "text": sentence.text,
                "starts": [start for start, _ in sentence.offsets],
                "ends": [end for _, end in sentence.offsets],
                "where": row.where(),
                "repaired": sentence.repaired,
            }
        faults.raise_if_any()

    dataset = store(rows(), _schema(), key)
    if not len(dataset):
        raise DataError(f"{source.name}: the file holds no sentence. Give one with words and tags.")
    notes = {"source": source.name, "digest": digest, "tag_scheme": scheme, "repaired_tags": sum(dataset["repaired"])}
    return Examples(name, dataset, Task, notes)


def _schema() -> pyarrow.Schema:
    """Columns of a stored sentence; text, starts and ends only where there was a raw text."""
    import pyarrow as pa

    text, words, numbers = pa.string(), pa.list_(pa.string()), pa.list_(pa.int32())
    return pa.schema(
        {
            "id": text,
            "tokens": words,
            "tags": words,
            "text": text,
            "starts": numbers,
            "ends": numbers,
            "where": text,
            "repaired": pa.int32(),
        }
    )


def _types(split: Examples) -> set[str]:
    """Entity types in a split, found without making Python objects of its rows."""
    import pyarrow.compute as pc

    tags = {tag for chunk in split.dataset.data.column("tags").chunks for tag in pc.unique(chunk.flatten()).to_pylist()}
    return {tag[2:] for tag in tags if tag != OUTSIDE}


def _text(example: Example) -> tuple[str, Sequence[tuple[int, int]]]:
    """The text, or the words joined by single spaces, and the offsets of the words in it."""
    inputs = example.inputs
    if "text" in inputs:
        return inputs["text"], inputs["offsets"]
    return " ".join(inputs["tokens"]), joined_offsets(inputs["tokens"])


def _shape(inputs: Mapping[str, Any]) -> str:
    """Names and types of what was given, without the contents."""
    return "{" + ", ".join(f"{name!r}: {type(value).__name__}" for name, value in inputs.items()) + "}"
