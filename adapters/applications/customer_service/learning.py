"""The verbs of customer service: read what is known, learn two adapters, tune the thresholds, evaluate, save."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from adapters.applications.base.builder import ApplicationBuilder
from adapters.applications.customer_service import documents, reading, templates
from adapters.applications.customer_service.assistant import (
    INTENTS,
    KNOWLEDGE,
    NER,
    RECORD,
    RETRIEVER,
    VECTORS,
    Assistant,
    embedder,
    passage_entries,
)
from adapters.applications.customer_service.baselines import Answers, prompted
from adapters.applications.customer_service.knowledge import IN, Knowledge, Questions, Reply, with_versions
from adapters.applications.customer_service.policy import TWO, Policy
from adapters.applications.customer_service.retriever import Retriever, best_weight, ranks
from adapters.applications.customer_service.settings import (
    ADAPTER,
    AUTO,
    DECIDED,
    FROZEN,
    METHOD,
    PROMPTED,
    SESSIONS,
    TASK,
    all_settings,
    check_installed,
    run_settings,
)
from adapters.core import arguments
from adapters.core.errors import DataError, ModelError, did_you_mean, numbered, verb
from adapters.core.files import digest_value, read_json, write_json, write_text
from adapters.core.settings import lasting
from adapters.data.splits import with_dev, with_limits
from adapters.experiments import run_folder
from adapters.experiments.run import Run
from adapters.serving.bank.bank import AdapterBank

TRAIN, DEV, TEST = "train", "validation", "test"
OURS = (
    "data",
    INTENTS,
    RETRIEVER,
    NER,
    PROMPTED,
    KNOWLEDGE,
    VECTORS,
    RECORD,
    "scores.json",
    "report.html",
    "report.txt",
    SESSIONS,
    DECIDED,
    f"{DECIDED}.lock",
)
"""All that is written into the folder of an assistant."""
MOST_ANSWERS = 5000
"""Answers that the retriever's head names, at most: its training draws from the first ones."""
MIN_TEXTS = 2
LabelledText = tuple[str, str | None]
"""A text and its label."""


class CustomerService(ApplicationBuilder):
    """Builds an assistant: `read`, `learn`, `tune`, then `evaluate` and `save_and_print`."""

    def __init__(self, doc: str | None, defaults: Mapping[str, Any], argv: Sequence[str] | None = None) -> None:
        """Parse the flags. The arguments are those of `ApplicationBuilder`."""
        super().__init__(all_settings(), doc, defaults, argv)
        check_installed()
        self.splits: dict[str, Questions] = {}
        self.knowledge = Knowledge()
        self.slots: dict[str, templates.Slot] = {}
        self.adapters: list[str] = []
        self.choice: dict[str, Any] = {}

    # reading ----------------------------------------------------------------------------------------------------------

    def read(self) -> Knowledge:
        """Read questions, replies, templates and documents.

        Raises:
            DataError: with every fault at `file:line`.
            ModelError, SettingsError: the base cannot generate; the folder is not an assistant's.
        """
        settings = self.settings
        run_folder.check_own(self.folder, (*OURS, f"{SESSIONS}-wal", f"{SESSIONS}-shm"))
        if settings.generate:
            _check_generates(settings.model_name_or_path)
        files = {TRAIN: settings.train_file, DEV: settings.validation_file, TEST: settings.test_file}
        asked: list[tuple[str, reading.QuestionAnswer]] = []
        for name, path in files.items():
            if path is not None:
                found, lines = reading.read(path, settings, f"--{name}_file")
                asked += [(name, one) for one in found]
                self.note(*lines)
        questions, replies, versions = with_versions(one for _, one in asked)
        if versions:
            what = "questions with more than one answer: the last one is given, the others are kept as versions"
            self.note(f"{versions:,} {what}")
        replies, questions = self._templates(replies, questions)
        splits: dict[str, Questions] = {}
        for (name, _), question in zip(asked, questions, strict=True):
            splits.setdefault(name, Questions()).append(question)
        splits = with_limits(with_dev(splits, settings), settings)
        splits[DEV] = self._without_train(splits)
        outside = Questions(one for one in splits[TRAIN] if one.scope != IN)
        splits[DEV] = Questions([*splits[DEV], *outside])
        splits[TRAIN] = Questions(one for one in splits[TRAIN] if one.scope == IN)
        if outside:
            of_train = f"{numbered(len(outside), 'questions')} of train {verb(len(outside), 'are')} out of scope"
            self.note(f"{of_train}, and used as dev: no intent is learned of that")
        self.splits = splits
        self.knowledge = Knowledge(questions=splits[TRAIN], replies=replies, passages=self._documents())
        self._check()
        return self.knowledge

    def _without_train(self, splits: Mapping[str, Questions]) -> Questions:
        """Dev without the questions that train has: they are found, and right, as no new one is, so that thresholds
        would be set too low, and nothing be guaranteed. Those of test are said. Raises DataError where none is left."""
        kept = splits[DEV].without(splits[TRAIN])
        if left := len(splits[DEV]) - len(kept):
            self.note(f"{numbered(left, 'questions')} of dev {verb(left, 'are')} in train, too, and left out of dev")
        if splits[DEV] and not kept:
            raise DataError(
                f"--validation_file {self.settings.validation_file}: train has all of its questions. Give others: "
                "thresholds are set by questions that were not learned."
            )
        if same := len(splits.get(TEST, ())) - len(splits.get(TEST, Questions()).without(splits[TRAIN])):
            self.note(f"{numbered(same, 'questions')} of test {verb(same, 'are')} in train, too, and scored")
        return kept

    def _templates(self, replies: dict[str, Reply], questions: Questions) -> tuple[dict[str, Reply], Questions]:
        """Replies with those of templates, which answer all questions of their intent."""
        path = self.settings.templates_file
        self.slots = templates.read_slots(self.settings.slots_file, self._entity_types())
        known = {question.intent for question in questions if question.intent is not None}
        own = {}
        for intent, versions in templates.read_templates(path).items():
            if intent not in known:
                raise DataError(f"{path}: {intent}: no question has this intent: {did_you_mean(intent, known)}")
            for version in versions:
                templates.check(version, self.slots, f"{path}: {intent}")
            own[intent] = Reply(id=f"template {intent}", versions=versions, intent=intent, where=f"{path}: {intent}")
        changed = Questions(
            replace(one, reply=own[one.intent].id) if one.scope == IN and one.intent in own else one
            for one in questions
        )
        used = {one.reply for one in changed}
        kept = {name: reply for name, reply in replies.items() if name in used}
        return {**kept, **{reply.id: reply for reply in own.values()}}, changed

    def _entity_types(self) -> set[str] | None:
        """The types of the NER adapter; None without one."""
        from adapters.artifacts import artifact
        from adapters.artifacts.published import located

        if self.settings.ner_adapter is None:
            return None
        card = artifact.read_card(located(Path(self.settings.ner_adapter)))
        return {label.partition("-")[2] for label in card["task"]["labels"] if "-" in label}

    def _documents(self) -> tuple[Any, ...]:
        """The passages of the documents; files that cannot be read are named."""
        if self.settings.documents is None:
            return ()
        found, unread = documents.passages(self.settings.documents, self.settings.passage_words)
        files = len({passage.file for passage in found})
        self.note(f"{self.settings.documents}: {len(found):,} passages of {numbered(files, 'documents')}", *unread)
        return tuple(found)

    def _check(self) -> None:
        """Raises DataError where nothing could be learned."""
        knowledge = self.knowledge
        targets = {target for _, target in knowledge.entries()}
        if len(knowledge.intents) < MIN_TEXTS and len(targets) < MIN_TEXTS:
            only = ", ".join([*knowledge.intents, *targets][:1]) or "none"
            raise DataError(
                f"{self.settings.train_file}: there is one intent only ({only}) and there are no replies to choose "
                "from. Give questions of two intents or more, or with different answers."
            )
        if len(knowledge.intents) == 1:
            self.note(f"the only intent is {knowledge.intents[0]}: intents are not learned, replies alone decide")
        if not any(one.scope != IN for one in self.splits[DEV]):
            self.note(
                "dev has no out-of-scope questions: the thresholds guarantee nothing for questions without a reply. "
                f"Add some with the intent {self.settings.out_of_scope_intent}"
            )

    # learning ---------------------------------------------------------------------------------------------------------

    def learn(self) -> None:
        """Train the intent adapter and the retriever's; one that is there, of the same data and settings, is kept."""
        calibrate, _ = self.halves
        train = self.splits[TRAIN]
        if len(self.knowledge.intents) > 1:
            rows: list[LabelledText] = [(one.text, one.intent) for one in train if one.intent is not None]
            dev: list[LabelledText] = [
                (one.text, one.intent) for one in calibrate if one.scope == IN and one.intent is not None
            ]
            self._run(INTENTS, rows, dev)
        if self.settings.retriever != FROZEN:
            rows, dev = self._alike(calibrate)
            if rows:
                self._run(RETRIEVER, rows, dev)
            elif self.settings.retriever == ADAPTER:
                raise DataError("--retriever adapter: no two texts have the same answer. Use --retriever base.")
            else:
                self.note("no two texts have the same answer: the retriever uses the frozen base's embeddings")
        if self.settings.ner_adapter is not None:
            from adapters.artifacts.published import located

            target = self.folder / NER / "artifact"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(located(Path(self.settings.ner_adapter)), target)
            self.adapters.append(NER)

    @cached_property
    def halves(self) -> tuple[Questions, Questions]:
        """Dev, to calibrate and to set thresholds."""
        return self.splits[DEV].halves()

    def _alike(self, calibrate: Questions) -> tuple[list[LabelledText], list[LabelledText]]:
        """(text, answer) of texts to learn from and of dev; none where no two texts have one answer."""
        rows = list(dict.fromkeys(self.knowledge.entries()))
        kept = set(list(dict.fromkeys(target for _, target in rows))[:MOST_ANSWERS])
        counts: dict[str, int] = {}
        for _, target in rows:
            counts[target] = counts.get(target, 0) + 1
        if len(kept) < MIN_TEXTS or max(counts.values(), default=0) < MIN_TEXTS:
            return [], []
        if len(counts) > len(kept):
            self.note(f"the retriever learns from the texts of the first {len(kept):,} of {len(counts):,} answers")
        dev = [(one.text, self.knowledge.target(one)) for one in calibrate]
        chosen: list[LabelledText] = [(text, target) for text, target in rows if target in kept]
        return chosen, [(text, target) for text, target in dev if target in kept]

    def _run(self, name: str, rows: Sequence[LabelledText], dev: Sequence[LabelledText]) -> None:
        """An ordinary run of classification, on files of its own."""
        from adapters.applications.customer_service.contrast import ContrastiveLora

        known = {label for _, label in rows}
        files = {"train_file": rows, "validation_file": [row for row in dev if row[1] in known]}
        given: dict[str, str] = {}
        for split, own in files.items():
            path = self.folder / "data" / f"{name}_{split}.jsonl"
            if own:
                lines = (json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in own)
                write_text(path, "".join(f"{line}\n" for line in lines))
                given[split] = str(path)
        changes: dict[str, Any] = dict.fromkeys(("validation_file", "test_file"))
        if name == RETRIEVER:
            changes["per_device_train_batch_size"] = self.settings.pairs_per_batch
            changes["max_length"] = min(self.settings.pair_tokens, self.settings.max_length)
        settings = run_settings(self.settings, self.folder / name, **{**changes, **given})
        made = digest_value([lasting(arguments.as_dict(settings)), [*map(list, rows)], [*map(list, dev)]])
        mark = self.folder / "data" / f"{name}.json"
        self.adapters.append(name)
        if mark.is_file() and read_json(mark)["made_of"] == made and (self.folder / name / "artifact").is_dir():
            self.note(f"{self.folder / name}: learned before, of the same data and settings")
            return
        mark.unlink(missing_ok=True)
        run = Run(TASK, METHOD, settings)
        task = run.read_task()
        method = ContrastiveLora(settings) if name == RETRIEVER else run.build_method()
        run.save_and_print(run.evaluate(run.fit(task, method)))
        write_json(mark, {"made_of": made})

    # tuning -----------------------------------------------------------------------------------------------------------

    def tune(self) -> Assistant:
        """Choose embeddings and weight on one half of dev, fit the gates to it, and set thresholds on the other."""
        settings, (calibrate, _) = self.settings, self.halves
        entries = [*self.knowledge.entries()]
        asked = [(one.text, target) for one in calibrate if (target := self.knowledge.target(one)) is not None]
        options = {"adapter": [*self.adapters], "base": [name for name in self.adapters if name != RETRIEVER]}
        if RETRIEVER not in self.adapters or settings.retriever == FROZEN:
            del options[ADAPTER]
        elif settings.retriever != AUTO:
            del options[FROZEN]
        best: tuple[float, str, Any, Any] | None = None
        for name, adapters in options.items():
            bank = AdapterBank(settings.model_name_or_path, plugin_dirs=settings.plugin_dir)
            for own in adapters:
                bank.load(own, self.folder / own / "artifact", pin=True)
            index = Retriever.build(entries, embedder(bank, adapters)) if entries else None
            mrr = 0.0
            if index is not None and asked:
                found = ranks(index, [text for text, _ in asked], [target for _, target in asked])
                index.weight = best_weight(found)
                mrr = float(np.mean(1 / found[index.weight]))
                self.choice[name] = {str(weight): float(np.mean(1 / own)) for weight, own in found.items()}
            if best is None or mrr > best[0]:
                best = mrr, name, bank, index
        assert best is not None
        mrr, name, bank, index = best
        if index is not None and asked:
            self.note(
                f"replies are found by the embeddings of the {name} with weight {index.weight} and BM25 with "
                f"{1 - index.weight:.1f}: MRR {mrr:.3f} on the {len(asked):,} questions of dev that calibrate"
            )
        passages = passage_entries(self.knowledge)
        embed, weight = (index.embed, index.weight) if index else (bank.embed, 0.5)
        assistant = Assistant(
            bank=bank,
            knowledge=self.knowledge,
            policy=Policy({}, self.knowledge),
            replies=index,
            passages=Retriever.build(passages, embed, weight) if passages else None,
            slots=self.slots,
            generate=settings.generate,
        )
        halves = [(half, assistant.find([one.text for one in half])) for half in self.halves]
        assistant.policy = Policy.tuned(self.knowledge, halves, settings)
        if self.knowledge.intents:
            intents, matches = assistant.policy.ranking.weights
            self.note(f"answers are ranked by {intents:.2f} × log probability of the intent + {matches:.1f} × match")
        self.note(*_guarantees(assistant.policy, settings))
        return assistant

    # results ----------------------------------------------------------------------------------------------------------

    def evaluate(self, assistant: Assistant) -> dict[str, Any]:
        """Score the assistant and its baselines on test, or on dev's second half where there is no test."""
        from adapters.applications.customer_service.evaluation import evaluate

        split = TEST if TEST in self.splits else DEV
        questions = self.splits[TEST] if TEST in self.splits else self.halves[1]
        if not questions:
            return {}
        others = self._prompted([one.text for one in questions])
        found = evaluate(assistant, questions, others=others, seed=self.settings.seed)
        return {"split": "test" if split == TEST else "dev", **found}

    def _prompted(self, texts: Sequence[str]) -> list[Answers]:
        """What few-shot prompting of another base answers, if one was named and there are intents."""
        name = self.settings.prompted_base
        if name is None or INTENTS not in self.adapters:
            return []
        train, dev = (self.folder / "data" / f"{INTENTS}_{split}_file.jsonl" for split in (TRAIN, DEV))
        files = {"train_file": str(train), "validation_file": str(dev) if dev.is_file() else None, "test_file": None}
        settings = run_settings(self.settings, self.folder / PROMPTED, PROMPTED, model_name_or_path=name, **files)
        return [prompted(self.knowledge, texts, settings)]

    def save_and_print(self, assistant: Assistant, scores: Mapping[str, Any]) -> None:
        """Write the assistant, its scores and its page."""
        from adapters.applications.customer_service.page import page, report

        name = self.settings.model_name_or_path
        record = {
            "base": str(Path(name).resolve()) if Path(name).exists() else name,
            "settings": arguments.as_dict(self.settings),
            "notes": self.notes,
            "embeddings": self.choice,
        }
        assistant.save(self.folder, record)
        write_json(self.folder / "scores.json", dict(scores))
        if scores:
            write_text(self.folder / "report.html", page(scores, self.notes, record))
            shown = report(scores)
            write_text(self.folder / "report.txt", shown)
            print(shown)
        self.note(f'written to {self.folder}/. Try: taskswap customer_service {self.folder} --ask "…"')


def _guarantees(policy: Policy, settings: Any) -> list[str]:
    """The guarantee of each gate's threshold, in words."""
    lines = []
    for name, gate in policy.gates.items():
        asked = name == TWO
        most = f"{100 * (settings.max_wrong_asked if asked else settings.max_wrong):g} %"
        of = ", of what is not answered," if asked else ","
        seen = f"above confidence {gate.threshold:.3f}{of} {gate.wrong:,} of {gate.passed:,} were wrong on dev"
        if gate.promised:
            lines.append(
                f"{name}: {seen}. Guarantee: at most {most} of such questions, at confidence level {settings.promise:g}"
            )
        elif gate.threshold <= 1:
            lines.append(
                f"{name}: {seen}. This is an estimate, without a guarantee that at most {most} are wrong. A "
                f"guarantee takes {gate.needed:,} answers without an error, or more with some, in half of dev"
            )
        else:
            lines.append(f"{name}: none passes, as dev has no confidence above which at most {most} are wrong")
    return lines


def _check_generates(name: str) -> None:
    """Raises ModelError unless a base is causal."""
    from adapters.models.base_model import CAUSAL, open_base

    base = open_base(name)
    if base.kind != CAUSAL:
        raise ModelError(f"--generate: {base.name} is of the kind {base.kind}. Use a {CAUSAL} base (smollm2, gpt2).")
