"""From texts to relations: one adapter finds the entities, another is asked for the relation of each pair."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

from adapters.core.errors import ModelError, refuse_single
from adapters.core.settings import require
from adapters.data.related_pairs import NO_RELATION
from adapters.data.sentences import sentence_starts
from adapters.data.word_splitter import split_words
from adapters.tasks.base.task import InferenceTask

Answers = Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]]
"""Answers `{output}` or `{error}` to requests `{inputs}`, in order."""
ENTITIES, RELATION = "entities", "relation"
"""The steps of a pipeline, as tasks name them (`Task.step`)."""


class Pipeline:
    """Finds entities, and asks for the relations of all ordered pairs of them, in one batch for all texts."""

    def __init__(self, find_entities: Answers, find_relation: Answers, *, max_distance: int | None = None) -> None:
        """Args:
        find_entities: answers of an artifact of a task whose outputs are `{text, entities}`.
        find_relation: of one that takes `{text, head, tail, head_type, tail_type}`, and whose outputs have a `label`.
        max_distance: the most words between two entities that are asked for; None asks for pairs within a sentence.

        Raises SettingsError.
        """
        require(max_distance is None or max_distance >= 0, "max_distance", max_distance, "at least 0")
        self.find_entities, self.find_relation, self.max_distance = find_entities, find_relation, max_distance

    def answer(self, requests: Sequence[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Answers to texts, or to requests `{id?, inputs: {text}}`, in order.

        Returns:
            For each `{id, output}` or `{id, error}`; the output is `{text, entities, relations, pairs}`. A relation is
            `{head, tail, label, score?}` with the numbers of its entities; `pairs` is the number of those asked for.

        Raises:
            DataError: a single text was given, and no list of one.
        """
        refuse_single(requests, "a list of texts or requests", '["A text."]')
        wanted = [{"inputs": {"text": one}} if isinstance(one, str) else one for one in requests]
        found = self.find_entities(wanted)
        pairs = [
            (number, head, tail)
            for number, answer in enumerate(found)
            if "error" not in answer
            for head, tail in self._pairs(answer["output"])
        ]
        asked = self.find_relation([_request(found[number]["output"], head, tail) for number, head, tail in pairs])
        outputs: list[dict[str, Any]] = []
        for number, answer in enumerate(found):
            given = wanted[number]
            out = {"id": str(given.get("id", number))}
            if "error" in answer:
                outputs.append({**out, "error": answer["error"]})
                continue
            entities = [{**one} for one in answer["output"]["entities"]]
            output = {"text": answer["output"]["text"], "entities": entities, "relations": [], "pairs": 0}
            outputs.append({**out, "output": output})
        for (number, head, tail), answer in zip(pairs, asked, strict=True):
            if "error" in answer:
                outputs[number] = {"id": outputs[number]["id"], "error": answer["error"]}
            if "error" in outputs[number]:
                continue
            output = outputs[number]["output"]
            output["pairs"] += 1
            label = answer["output"]["label"]
            if label not in (None, NO_RELATION):
                score = {"score": answer["output"]["score"]} if "score" in answer["output"] else {}
                output["relations"].append({"head": head, "tail": tail, "label": label, **score})
        return outputs

    def _pairs(self, output: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
        """The ordered pairs of a text's entities that are asked for, by their numbers."""
        text, entities = output["text"], output["entities"]
        starts = sentence_starts(text) if self.max_distance is None else []
        words = split_words(text) if self.max_distance is not None else []
        begins, ends = [begin for begin, _ in words], [end for _, end in words]
        for head, tail in permutations(range(len(entities)), 2):
            first, last = sorted((entities[head], entities[tail]), key=lambda one: (one["start"], one["end"]))
            if self.max_distance is None:
                near = bisect_right(starts, first["start"]) == bisect_right(starts, last["start"])
            else:
                between = bisect_right(ends, last["start"]) - bisect_left(begins, first["end"])
                near = between <= self.max_distance
            if near:
                yield head, tail


def check_steps(find_entities: InferenceTask, find_relation: InferenceTask) -> None:
    """Raises ModelError unless the tasks are those of a pipeline."""
    for name, task, step in (("ner", find_entities, ENTITIES), ("relation", find_relation, RELATION)):
        if task.step != step:
            raise ModelError(
                f"pipeline, {name}: the task {task.name} finds {task.step or 'neither entities nor relations'}; needed "
                f"is one that finds {'entities (ner)' if step == ENTITIES else 'a relation (relation_extraction)'}."
            )


def _request(output: Mapping[str, Any], head: int, tail: int) -> dict[str, Any]:
    """The request for the relation of two entities."""
    inputs: dict[str, Any] = {"text": output["text"]}
    for name, number in (("head", head), ("tail", tail)):
        entity = output["entities"][number]
        inputs[name] = [entity["start"], entity["end"]]
        inputs[f"{name}_type"] = entity["label"]
    return {"inputs": inputs}
