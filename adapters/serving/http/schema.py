"""Requests and answers as pydantic models, which validate them and describe them in the OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from adapters.models.continuation import Sampling
from adapters.serving.bank.adapter_name import NAME
from adapters.tasks.base.requests import Request

Id = Annotated[str, Field(pattern=f"^{NAME.pattern}$", description="An adapter's name.", examples=["ner"])]


class PredictRequest(BaseModel):
    """A request: one input for one adapter."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str | None = Field(None, max_length=256, description="Copied to the answer. Default: the request's number.")
    adapter: str | None = Field(
        description="An adapter's name or alias; auto for the router's choice; null for the base's embedding of a text."
    )
    inputs: str | dict[str, JsonValue] = Field(description="A text, or an object with the task's columns.")
    task: str | None = Field(None, description="Task for this request, for an adapter that generates its answers.")


class TextInput(BaseModel):
    """A text to continue."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str


class GenerateRequest(BaseModel):
    """A text to continue, and how."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str | None = Field(None, max_length=256, description="Copied to the answer. Default: 0.")
    adapter: str | None = Field(description="Name or alias of an adapter that generates; null for the base alone.")
    inputs: str | TextInput = Field(description="The text.")
    max_new_tokens: int = Field(64, ge=1, description="Most tokens to write.")
    stop: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        [], max_length=8, description="Texts that end the completion; they do not belong to it."
    )
    temperature: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="0 takes the likeliest token; others divide the logits and draw."
    )
    top_p: float = Field(
        1.0, gt=0, le=1, description="Draw among the likeliest tokens that together have this probability."
    )
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="Of the draws: the same seed, the same text. Default: one of the server's."
    )
    stream: bool = Field(False, description="Answer with the parts of the text as they are written.")

    def request(self) -> Request:
        """What the bank is asked."""
        text = self.inputs if isinstance(self.inputs, str) else self.inputs.text
        return Request(self.adapter, text, "0" if self.id is None else self.id)

    def sampling(self) -> Sampling:
        """How the text is written."""
        return Sampling(
            max_new_tokens=self.max_new_tokens,
            stop=tuple(self.stop),
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
        )


class ExplainRequest(BaseModel):
    """An answer to explain."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str | None = Field(None, max_length=256, description="Copied to the answer. Default: 0.")
    adapter: str = Field(description="An adapter's name or alias.")
    inputs: str | dict[str, JsonValue] = Field(description="A text, or an object with the task's columns.")
    method: str | None = Field(
        None, max_length=64, description="integrated_gradients (the default), gradient_input or occlusion."
    )
    target: str | None = Field(
        None,
        max_length=4096,
        description="What is explained: a label, an entity (its text, or its number from 1), a relation, an answer. "
        "Default: what is answered; of several entities the first.",
    )
    steps: int = Field(32, ge=2, le=256, description="Points of the path of integrated gradients.")

    def request(self) -> Request:
        """What the bank is asked."""
        return Request(self.adapter, self.inputs, "0" if self.id is None else self.id)


class ExplainedPart(BaseModel):
    """A word, and what it adds to the score."""

    text: str
    value: float
    column: str = Field(description="The input that it is in.")
    start: int
    end: int
    label: str | None = None


class ExplanationRecord(BaseModel):
    """Why an answer was given."""

    model_config = ConfigDict(extra="allow")

    format: int = 1
    task: str
    model: str = Field(description="The adapter's method.")
    method: str = Field(description="The attribution method.")
    target: str
    output: dict[str, Any] = Field(description="The whole answer.")
    probability: float | None
    score: float = Field(description="Of the target, less the mean of the other answers'.")
    base: float | None = Field(description="The score without any word.")
    complete: bool = Field(description="Whether the values add up to the score less the base.")
    error: float | None = Field(description="How far they do not, relative to it.")
    texts: dict[str, str]
    parts: list[ExplainedPart]
    truncated: bool
    notes: list[str]


class Explained(BaseModel):
    """The answer of `/v1/explain`."""

    id: str
    adapter: str
    version: int
    explanation: ExplanationRecord


class Routed(BaseModel):
    """How sure the router was."""

    confidence: float = Field(description="Share of the adapter that it chose, among the router's.")
    scores: dict[str, float] = Field(description="Shares of the three that fit best.")


class Answer(BaseModel):
    """The answer to one request: an `output`, or an `error`."""

    id: str
    adapter: str | None = Field(description="The one that answered; of a request for auto, the one that was chosen.")
    version: int | None = Field(None, description="Version of the adapter: 1, and one more with each reload.")
    task: str | None = None
    output: dict[str, Any] | None = Field(None, description="Its shape depends on the task.")
    truncated: bool | None = Field(None, description="Part of the text did not reach the model.")
    routed: Routed | None = Field(None, description="Of a request for auto.")
    error: str | None = None


class LoadRequest(BaseModel):
    """An adapter to load."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"folder": "lora_ner/artifact", "pin": False}]}
    )

    folder: str = Field(min_length=1, max_length=4096, description="The adapter's folder, relative to --adapter_root.")
    pin: bool = Field(False, description="Never evict it.")
    require_card: bool = Field(False, description="Refuse a plain PEFT folder, which cannot be fully verified.")
    task: str | None = Field(None, description="Task of a plain PEFT folder whose config does not name it.")
    labels: list[str] | None = Field(None, description="Labels of a plain PEFT folder, in the head's order.")
    multi_label: bool | None = Field(None, description="Whether a text has any number of labels, for a plain folder.")
    pair: bool | None = Field(None, description="Whether an input of a plain PEFT folder is two texts.")
    max_length: int | None = Field(None, ge=1, description="Tokens of a text that a plain PEFT folder reads.")


class AdapterInfo(BaseModel):
    """An adapter of the bank."""

    name: str
    aliases: list[str]
    version: int
    task: str
    labels: list[str]
    method: str
    base: str
    folder: str
    resident: bool = Field(description="In memory; others are read again on demand.")
    pinned: bool
    mixed: bool = Field(True, description="Joins others in a batch; else it answers alone, in batches of its own.")
    bytes: int
    scores: Any = Field(None, description="Scores of its run with intervals, if its card has some.")
    unchecked: list[str] = Field(description="What could not be verified of a folder without a card.")
    followed: str | None = Field(
        None, description="The link, the run's folder, or the one with current.json, that named the folder."
    )
    former: list[int] = Field([], description="Versions that a rollback returns to, the last one first.")
    drift: str | None = Field(
        None, description="Of the last window of answers: drift, no drift, counting, or why there is none to tell."
    )


class Card(AdapterInfo):
    """An adapter of the bank with its artifact's card."""

    card: dict[str, Any]


class BaseModelInfo(BaseModel):
    """The base model."""

    name: str
    kind: str


class Adapters(BaseModel):
    """All adapters, sorted by name."""

    format: int = 1
    base: BaseModelInfo
    adapters: list[AdapterInfo]


class LoadRouterRequest(BaseModel):
    """A router to load."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"folder": "router"}]})

    folder: str = Field(min_length=1, max_length=4096, description="The router's folder, relative to --adapter_root.")


class RouterInfo(BaseModel):
    """A router, which chooses the adapter of each request for auto."""

    kind: str = Field(description="means, mahalanobis or classifier.")
    counts: dict[str, int] = Field(description="The adapters' names, and the number of texts each was learnt from.")
    threshold: float | None = Field(description="The least score of a text that is routed; null routes every text.")
    rate: float | None = Field(description="Share of the dev texts that were below it when it was set.")
    temperature: float = Field(description="By which scores are divided to be shares.")
    bytes: int
    folder: str


class RouterState(BaseModel):
    """The router, or null."""

    format: int = 1
    router: RouterInfo | None


class DriftTest(BaseModel):
    """Whether one property of the answers differs from dev."""

    name: str = Field(description="labels, confidence or unknown (tokens).")
    p: float | None = Field(description="Of a chi-square test; null where the counts are too few.")
    adjusted_p: float | None = Field(description="By Holm's method, for the tests of the window.")
    moved: bool
    what: str = Field(description="The number that is shown; of the labels, the share that moved most.")
    dev: float
    window: float


class DriftWindow(BaseModel):
    """The last complete window."""

    ended: str
    alarm: bool
    tests: list[DriftTest]


class AdapterDrift(BaseModel):
    """What is known of the answers of one version of an adapter."""

    adapter: str
    version: int
    state: str = Field(description="drift, no drift, counting, or no reference in the card.")
    answers: int = Field(description="In the window that is not complete yet.")
    windows: int = Field(description="That are complete.")
    alarms: int
    dev_texts: int | None = Field(description="Dev examples in the card's reference.")
    last: DriftWindow | None


class DriftReport(BaseModel):
    """The answers of all adapters, compared with those on dev."""

    format: int = 1
    window: int = Field(description="Answers in a window; 0 if none are counted.")
    rate: float = Field(description="Share of windows with a false alarm.")
    adapters: list[AdapterDrift]


class ErrorBody(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(extra="allow")

    error: str = Field(description="What is wrong, and what to do.")
    expected: str
    found: str


class State(BaseModel):
    """The server's status."""

    status: str


EXAMPLE = [
    {"adapter": "ner", "inputs": "Ada Lovelace lived in London."},
    {"id": "review-7", "adapter": "mood", "inputs": {"text": "A joy from the first frame to the last."}},
]
EXAMPLE_ANSWERS = [
    {
        "id": "0",
        "adapter": "ner",
        "version": 1,
        "task": "ner",
        "truncated": False,
        "output": {
            "text": "Ada Lovelace lived in London.",
            "tokens": ["Ada", "Lovelace", "lived", "in", "London", "."],
            "tags": ["B-PER", "I-PER", "O", "O", "B-LOC", "O"],
            "entities": [
                {"label": "PER", "text": "Ada Lovelace", "start": 0, "end": 12, "words": [0, 2], "score": 0.99},
                {"label": "LOC", "text": "London", "start": 22, "end": 28, "words": [4, 5], "score": 0.99},
            ],
        },
    },
    {
        "id": "review-7",
        "adapter": "mood",
        "version": 1,
        "task": "classification",
        "truncated": False,
        "output": {
            "text": "A joy from the first frame to the last.",
            "label": "fresh",
            "score": 0.8185,
            "scores": {"fresh": 0.8185, "rotten": 0.1815},
        },
    },
]


EXAMPLE_EXPLAIN: dict[str, Any] = {"adapter": "mood", "inputs": "A joy from the first frame to the last."}
EXAMPLE_TEXT: dict[str, Any] = {"adapter": "poet", "inputs": "Roses are", "max_new_tokens": 32, "stop": ["\n\n"]}
EXAMPLE_STREAM = {**EXAMPLE_TEXT, "temperature": 0.8, "top_p": 0.95, "seed": 1, "stream": True}
EXAMPLE_PARTS = [{"id": "0", "adapter": "poet", "text": part} for part in (" red", ",\nviolets are blue.")]
EXAMPLE_WRITTEN = {
    "id": "0",
    "adapter": "poet",
    "version": 1,
    "task": "text_generation",
    "truncated": False,
    "output": {
        "text": "Roses are",
        "completion": " red,\nviolets are blue.",
        "finish_reason": "stop",
        "prompt_tokens": 3,
        "completion_tokens": 9,
    },
}
