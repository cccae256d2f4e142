"""Conditions of the lab: each draw is read once, every calibration of it scored, and what is done is kept."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adapters import metrics
from adapters.evaluation import score_of, split_digest
from adapters.files import digest_value
from adapters.lab.asking import Asker, Draw
from adapters.lab.journal import Journal
from adapters.prompting.calibration import Calibration
from adapters.prompting.ensemble import averaged
from adapters.tasks import Example, Prediction

Records = list[dict[str, Any]]


class Conditions:
    """Scores draws by calibrations, those that the journal lacks."""

    def __init__(self, asker: Asker, journal: Journal, scores: Sequence[metrics.Metric],
                 prompts: Mapping[str, Mapping[str, Any]]) -> None:  # fmt: skip
        """Args:
        asker: asks the model.
        journal: has what was done before.
        scores: the metrics, the main one first.
        prompts: each prompt's record by its name.
        """
        self.asker, self.journal, self.metrics, self.prompts = asker, journal, list(scores), prompts
        self.kept: dict[tuple[Draw, str, str], list[Prediction]] = {}
        """Of draws that also answer in an ensemble: what they said, by calibration and data."""
        self.members: set[Draw] = set()
        settings, base, task = asker.settings, asker.found, asker.task
        self.common: dict[str, Any] = {
            "base": [base.digest, base.tokenizer_digest], "task": task.card(), "train": split_digest(asker.train),
            "selection": settings.shot_selection, "precision": asker.precision,
            "bits": [settings.load_in_8bit, settings.load_in_4bit, settings.bnb_4bit_quant_type],
            "encoder": settings.shot_encoder if settings.shot_selection == "nearest" else None,
            "max_new_tokens": settings.max_new_tokens, "metrics": [[one.name, one.version] for one in scores],
        }  # fmt: skip

    def score(
        self, draws: Sequence[Draw], calibrations: Sequence[Calibration], split: str, examples: Sequence[Example]
    ) -> Records:  # fmt: skip
        """A record of each draw by each calibration, in order; the model reads for those that are missing.

        Args:
            draws: what is asked.
            calibrations: by which answers are chosen.
            split: name of the examples' split.
            examples: to score, with gold answers.
        """
        data = split_digest(examples)
        self.members = {member for draw in draws for member in draw.members}
        out, read, begin = [], 0, time.perf_counter()
        known = [[self._key(draw, one, split, data) for one in calibrations] for draw in draws]
        waiting = sum(bool(self.journal.missing(keys)) for keys in known)
        for number, (draw, keys) in enumerate(zip(draws, known, strict=True)):
            missing = set(self.journal.missing(keys))
            wanted = [one for one, key in zip(calibrations, keys, strict=True) if key in missing]
            if wanted:
                self._read(draw, wanted, split, examples, data)
                read += 1
            found = [self.journal.records[key] for key in keys]
            out += found
            if wanted:
                self._say(f"[{number + 1}/{len(draws)}] {split}", found, begin, read, waiting)
        return out

    def _read(
        self, draw: Draw, wanted: Sequence[Calibration], split: str, examples: Sequence[Example], data: str
    ) -> None:  # fmt: skip
        """Ask the model once, and keep the score of each calibration."""
        begin = time.perf_counter()
        for one, predictions in self._answers(draw, wanted, examples, data):
            self.journal.add({
                "key": self._key(draw, one, split, data), "prompt": draw.prompt, "shots": draw.shots,
                "order": draw.order, "members": len(draw.members), "calibration": one.name,
                "split": split, "n": len(examples),
                **self._scores(examples, predictions), "seconds": round(time.perf_counter() - begin, 3),
            })  # fmt: skip

    def _answers(
        self, draw: Draw, wanted: Sequence[Calibration], examples: Sequence[Example], data: str
    ) -> Iterator[tuple[Calibration, list[Prediction]]]:
        """What a draw says by each calibration; members of an ensemble are asked again only after a restart."""
        if not draw.members:
            predictor = self.asker.predictor(draw, wanted)
            for one in wanted:
                found = predictor.predict_by(examples, one)
                if draw in self.members:
                    self.kept[draw, one.name, data] = found
                yield one, found
            return
        for member in draw.members:
            missing = [one for one in wanted if (member, one.name, data) not in self.kept]
            for _ in self._answers(member, missing, examples, data) if missing else ():
                pass
        for one in wanted:
            members = [self.kept[member, one.name, data] for member in draw.members]
            yield one, averaged(self.asker.task, examples, members, self.asker.found.pieces())

    def _scores(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """The main score of each metric (None where nothing could be judged), and what went wrong."""
        found = {metric.name: score_of(metric, examples, predictions) for metric in self.metrics}
        scores = {name: None if math.isnan(value) else value for name, value in found.items()}
        return {
            "score": scores[self.metrics[0].name] or 0.0,
            "scores": scores,
            "unreadable": sum(prediction.unparsed for prediction in predictions),
            "truncated": sum(prediction.truncated for prediction in predictions),
            "shots_dropped": sum(prediction.shots_dropped > 0 for prediction in predictions),
        }

    def _key(self, draw: Draw, calibration: Calibration, split: str, data: str) -> str:
        """Digest of all that the condition's score hangs on."""
        return digest_value({
            **self.common, "prompts": [[self.prompts[asked.prompt], asked.order] for asked in draw.asked],
            "name": draw.prompt, "shots": draw.shots, "order": draw.order, "calibration": calibration.name,
            "split": split, "data": data,
        })  # fmt: skip

    @staticmethod
    def _say(place: str, found: Records, begin: float, read: int, waiting: int) -> None:
        """A line of a draw that is done, with the time left."""
        first = found[0]
        scores = ", ".join(f"{record['calibration']} {100 * record['score']:.1f}" for record in found)
        left = (time.perf_counter() - begin) / read * (waiting - read)
        after = f" ({left / 60:.0f} min left)" if left > 60 else f" ({left:.0f} s left)"
        print(f"{place}, {first['prompt']}, {first['shots']} shots, order {first['order']}: {scores}{after}",
              file=sys.stderr, flush=True)  # fmt: skip
