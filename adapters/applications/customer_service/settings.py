"""The settings of customer service, and those of the two runs that it makes of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from adapters.core import discovery
from adapters.core.arguments import UNUSED
from adapters.core.environment import require_libraries
from adapters.core.launcher import require_one_process
from adapters.core.settings import CommonSettings, join, require

TASK, METHOD, PROMPTED = "classification", "lora", "few_shot"
LIBRARIES = ("bm25s", "pypdf", "sqlalchemy")
ADAPTER, FROZEN, AUTO = "adapter", "base", "auto"
SESSIONS, DECIDED = "sessions.db", "decided.jsonl"
"""In an assistant's folder: conversations, and the staff's decisions, which are training data of the next run."""


@dataclass(frozen=True, kw_only=True)
class CustomerServiceSettings:
    """Past questions with their intents and replies, and when an assistant may answer."""

    dataset_name: Annotated[str | None, UNUSED] = None
    question_column_name: str | None = None
    """Column of the question. Default: question, query, utterance, instruction, message, text."""
    intent_column_name: str | None = None
    """Column of the question's intent. Default: intent, label."""
    answer_column_name: str | None = None
    """Column of the reply. Default: answer, reply, response."""
    scope_column_name: str | None = None
    """Column of a question's scope: in, near, far or out. Default: scope."""
    out_of_scope_intent: str = "oos"
    """Intent of out-of-scope questions, which must not be answered. They set and test the thresholds, and train no
    intent."""
    templates_file: str | None = None
    """.toml, .yaml or .json with the reply of each intent, which may have slots: "Your order {order_number} is …"."""
    slots_file: str | None = None
    """.toml, .yaml or .json with, for each slot, a pattern or an entity type, and how to ask for it."""
    ner_adapter: str | None = None
    """Artifact of the task ner on the same base, whose entities fill slots."""
    documents: str | None = None
    """Folder of Markdown, text, HTML and PDF files, which are searched where no reply answers the question."""
    passage_words: int = 120
    """Maximum number of words of a passage of a document."""
    retriever: str = AUTO
    """Embeddings by which replies are found: adapter (contrastively trained), base (frozen), or auto (whichever ranks
    dev better)."""
    learning_rate: float = 2e-3
    """Peak learning rate of both adapters: twice that of lora, as the questions are short and steps are few."""
    pairs_per_batch: int = 32
    """Number of text pairs in a training batch of the retriever. The texts of the other pairs are the negatives."""
    pair_tokens: int = 64
    """Maximum number of tokens of each text of a pair in training. In service, all of a text is read."""
    max_wrong: float = 0.05
    """Maximum share of wrong answers among the answers given."""
    max_wrong_asked: float = 0.2
    """Maximum share of the questions asked back in which neither choice is right."""
    promise: float = 0.95
    """Confidence level (1 − δ) of the guarantee on --max_wrong, over the draw of dev."""
    generate: bool = False
    """Generate answers from the documents' passages instead of quoting one. Needs a causal base."""
    prompted_base: str | None = None
    """Causal base whose few-shot classification of intents is a further baseline. Slow with many intents. Default:
    none."""
    validation_split_percentage: int = 20
    """Percentage of the training questions used as dev if there is no dev file: half to calibrate, half to set the
    thresholds."""
    output_dir: str = "runs/customer_service"
    """Folder of the assistant."""

    def check(self) -> None:
        """Check all values before anything is read. Raises SettingsError that names the flag."""
        super().check()  # type: ignore[misc]
        require(0 < self.max_wrong < 1, "max_wrong", self.max_wrong, "between 0 and 1")
        require(0 < self.max_wrong_asked < 1, "max_wrong_asked", self.max_wrong_asked, "between 0 and 1")
        require(0 < self.promise < 1, "promise", self.promise, "between 0 and 1")
        known = (AUTO, ADAPTER, FROZEN)
        require(self.retriever in known, "retriever", self.retriever, " or ".join(known))
        require(self.pairs_per_batch >= 2, "pairs_per_batch", self.pairs_per_batch, "at least 2")
        require(self.passage_words >= 20, "passage_words", self.passage_words, "at least 20")
        given = getattr(self, "train_file", None)
        require(given is not None, "train_file", given, "a file of past questions with their intents or answers")
        require_one_process("both adapters are small")
        require(not getattr(self, "dry_run", False), "dry_run", True, "left out: an assistant has no estimate")


def check_installed() -> None:
    """Raises SettingsError where a library of the extra is missing."""
    require_libraries("customer service", LIBRARIES, "customer-service")


def all_settings() -> Any:
    """The class of all flags."""
    return join(CommonSettings, discovery.load("methods", METHOD).Settings, CustomerServiceSettings)


def run_settings(settings: Any, folder: Path, method: str = METHOD, **changes: Any) -> Any:
    """The settings of an ordinary run on files that were written for it: those that were given, but for its data."""
    from adapters.training.checkpoint import LATEST

    kind = join(CommonSettings, discovery.load("tasks", TASK).Settings, discovery.load("methods", method).Settings)
    columns: dict[str, Any] = {
        "text_column_name": "text",
        "label_column_name": "label",
        "column_names": [],
        "dataset_format": None,
    }
    own = {field.name for field in fields(kind)} - {"document_column_name"}
    given = {field.name: getattr(settings, field.name) for field in fields(settings) if field.name in own}
    limits = dict.fromkeys(("max_train_samples", "max_eval_samples", "max_predict_samples", "train_draw"))
    data = {"dataset_name": None, "output_dir": str(folder), "encoding": "utf-8"}
    resumed = LATEST if (folder / "checkpoints").is_dir() else None  # continues a run that was stopped
    again = {"resume_from_checkpoint": resumed, "overwrite_output_dir": True}
    found = kind(**{**given, **limits, **columns, **data, **again, **changes})
    found.check()
    return found
