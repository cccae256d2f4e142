"""Conditions of the lab: each one is read once and scored by every calibration, and results are kept."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adapters.core.discovery import files_version
from adapters.core.files import digest_value
from adapters.core.progress import say, time_left
from adapters.evaluation.evaluate import score_of, split_digest
from adapters.evaluation.metrics.base.any_metric import AnyMetric
from adapters.experiments.prompt_lab.journal import Journal
from adapters.experiments.prompt_lab.predictors import PredictorFactory, PromptCondition
from adapters.experiments.prompt_lab.summary import shots_in_words
from adapters.prompting.calibration import Calibration
from adapters.prompting.chat_template import template_of
from adapters.prompting.ensemble import averaged
from adapters.tasks.base.example import Example, Prediction

Records = list[dict[str, Any]]


class ConditionScorer:
    """Scores conditions by calibrations where the journal has no score yet."""

    def __init__(
        self,
        predictors: PredictorFactory,
        journal: Journal,
        scores: Sequence[AnyMetric],
        prompts: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Args:
        predictors: prompts the model.
        journal: earlier results.
        scores: the metrics, the main one first.
        prompts: each prompt's record by its name.
        """
        self.predictors, self.journal, self.metrics, self.prompts = predictors, journal, list(scores), prompts
        self.kept: dict[tuple[PromptCondition, str, str], list[Prediction]] = {}
        """Predictions of conditions that are also members of an ensemble, by calibration and data."""
        self.members: set[PromptCondition] = set()
        settings, base, task = predictors.settings, predictors.found, predictors.task
        self.common: dict[str, Any] = {
            "base": [base.digest, base.tokenizer_digest],
            "task": task.card(),
            "code": files_version(settings.plugin_dir, (".py",)),  # prompts are keyed one by one
            "train": split_digest(predictors.train),
            "selection": settings.shot_selection,
            "precision": predictors.precision,
            "bits": [settings.load_in_8bit, settings.load_in_4bit, settings.bnb_4bit_quant_type],
            "chat_template": [settings.apply_chat_template, template_of(base.word_tokenizer)],
            "encoder": settings.shot_encoder if settings.shot_selection == "nearest" else None,
            "max_new_tokens": settings.max_new_tokens,
            "decoding": settings.decoding,
            "metrics": [[one.name, one.version] for one in scores],
        }

    def score(
        self,
        conditions: Sequence[PromptCondition],
        calibrations: Sequence[Calibration],
        split: str,
        examples: Sequence[Example],
    ) -> Records:
        """A record for each condition and calibration, in order; the model runs for the missing ones.

        Args:
            conditions: prompts, shots and seeds.
            calibrations: by which answers are chosen.
            split: name of the examples' split.
            examples: to score, with gold answers.
        """
        data = split_digest(examples)
        self.members = {member for condition in conditions for member in condition.members}
        out, read, begin = [], 0, time.perf_counter()
        known = [[self._key(condition, one, split, data) for one in calibrations] for condition in conditions]
        waiting = sum(bool(self.journal.missing(keys)) for keys in known)
        for number, (condition, keys) in enumerate(zip(conditions, known, strict=True)):
            missing = set(self.journal.missing(keys))
            wanted = [one for one, key in zip(calibrations, keys, strict=True) if key in missing]
            if wanted:
                self._read(condition, wanted, split, examples, data)
                read += 1
            found = [self.journal.records[key] for key in keys]
            out += found
            if wanted:
                self._say(f"[{number + 1}/{len(conditions)}] {split}", found, begin, read, waiting)
        return out

    def _read(
        self,
        condition: PromptCondition,
        wanted: Sequence[Calibration],
        split: str,
        examples: Sequence[Example],
        data: str,
    ) -> None:
        """Prompt the model once, and keep the score of each calibration."""
        begin = time.perf_counter()
        for one, predictions in self._answers(condition, wanted, examples, data):
            self.journal.add(
                {
                    "key": self._key(condition, one, split, data),
                    "prompt": condition.prompt,
                    "shots": condition.shots,
                    "seed": condition.seed,
                    "members": len(condition.members),
                    "calibration": one.name,
                    "split": split,
                    "n": len(examples),
                    **self._scores(examples, predictions),
                    "seconds": round(time.perf_counter() - begin, 3),
                }
            )

    def _answers(
        self, condition: PromptCondition, wanted: Sequence[Calibration], examples: Sequence[Example], data: str
    ) -> Iterator[tuple[Calibration, list[Prediction]]]:
        """Predictions of a condition by each calibration; ensemble members run again only after a restart."""
        if not condition.members:
            predictor = self.predictors.predictor(condition, wanted)
            for one in wanted:
                found = predictor.predict_by(examples, one)
                if condition in self.members:
                    self.kept[condition, one.name, data] = found
                yield one, found
            return
        for member in condition.members:
            missing = [one for one in wanted if (member, one.name, data) not in self.kept]
            for _ in self._answers(member, missing, examples, data) if missing else ():
                pass
        for one in wanted:
            members = [self.kept[member, one.name, data] for member in condition.members]
            yield one, averaged(self.predictors.task, examples, members, self.predictors.found.word_tokenizer)

    def _scores(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """The main score of each metric (None where there is none), and numbers of failures."""
        found = {metric.name: score_of(metric, examples, predictions) for metric in self.metrics}
        scores = {name: None if math.isnan(value) else value for name, value in found.items()}
        return {
            "score": scores[self.metrics[0].name] or 0.0,
            "scores": scores,
            "parse_failures": sum(prediction.parse_failure for prediction in predictions),
            "truncated": sum(prediction.truncated for prediction in predictions),
            "shots_dropped": sum(prediction.shots_dropped > 0 for prediction in predictions),
        }

    def _key(self, condition: PromptCondition, calibration: Calibration, split: str, data: str) -> str:
        """Digest of everything that the condition's score depends on."""
        return digest_value(
            {
                **self.common,
                "prompts": [[self.prompts[single.prompt], single.seed] for single in condition.singles],
                "name": condition.prompt,
                "shots": condition.shots,
                "seed": condition.seed,
                "calibration": calibration.name,
                "split": split,
                "data": data,
            }
        )

    @staticmethod
    def _say(place: str, found: Records, begin: float, read: int, waiting: int) -> None:
        """Print a finished condition, with the time left."""
        first = found[0]
        scores = ", ".join(f"{record['calibration']} {100 * record['score']:.1f}" for record in found)
        left = time_left((time.perf_counter() - begin) / read * (waiting - read))
        say(f"{place}, {first['prompt']}, {shots_in_words(first['shots'])}, seed {first['seed']}: {scores} ({left})")
