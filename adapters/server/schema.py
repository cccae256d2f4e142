"""What goes over the wire, as pydantic models: they check what comes in, and describe all of it in the OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, FailFast, Field, JsonValue, TypeAdapter, ValidationError

from adapters.errors import DataError
from adapters.requests import Request
from adapters.residency import NAME
from adapters.server import Refusal, Settings
from adapters.server.sizes import characters

SHOWN = 80
Id = Annotated[str, Field(pattern=f"^{NAME.pattern}$", description="Of an adapter.", examples=["ner"])]


class TooLongError(DataError):
    """A text of more characters than a server reads."""


class Asked(BaseModel):
    """One thing to answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str | None = Field(None, max_length=256, description="Comes back with the answer. Default: its number.")
    adapter: str | None = Field(description="An adapter's name or alias; null for the base's embedding of a text.")
    inputs: str | dict[str, JsonValue] = Field(description="A text, or an object of the task's columns.")


class Answer(BaseModel):
    """The answer to one request: `output`, or what is wrong with it as `error`."""

    id: str
    adapter: str | None
    generation: int | None = Field(None, description="Of the adapter: 1, and one more with each reload.")
    task: str | None = None
    output: dict[str, Any] | None = Field(None, description="Of the task's own shape.")
    truncated: bool | None = Field(None, description="A part of the text did not reach the model.")
    error: str | None = None


class Folder(BaseModel):
    """An adapter to load."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [
        {"folder": "lora_ner/artifact", "pin": False}]})  # fmt: skip

    folder: str = Field(min_length=1, max_length=4096, description="Of the adapter, relative to --adapter_root.")
    pin: bool = Field(False, description="Never evict it.")
    require_card: bool = Field(False, description="Refuse a plain PEFT folder, of which less can be checked.")
    task: str | None = Field(None, description="Of a plain PEFT folder, where its config does not say.")
    labels: list[str] | None = Field(None, description="Of a plain PEFT folder, in the head's order.")


class Told(BaseModel):
    """What is known of an adapter."""

    name: str
    aliases: list[str]
    generation: int
    task: str
    labels: list[str]
    method: str
    base: str
    folder: str
    resident: bool = Field(description="Held in memory; others come back when they are asked for.")
    pinned: bool
    bytes: int
    scores: Any = Field(None, description="Of its run, with intervals, if its card has some.")
    unchecked: list[str] = Field(description="What could not be checked of a folder without a card.")


class Card(Told):
    """What is known of an adapter, and its artifact's card."""

    card: dict[str, Any]


class BaseModelTold(BaseModel):
    """The base model."""

    name: str
    kind: str


class Adapters(BaseModel):
    """All adapters, by name."""

    format: int = 1
    base: BaseModelTold
    adapters: list[Told]


class Wrong(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(extra="allow")

    error: str = Field(description="What is wrong, and what to do.")
    expected: str
    found: str


class State(BaseModel):
    """How the server is."""

    status: str


EXAMPLE = [
    {"adapter": "ner", "inputs": "Ada Lovelace lived in London."},
    {"id": "review-7", "adapter": "mood", "inputs": {"text": "A joy from the first frame to the last."}},
]
ANSWERED = [
    {"id": "0", "adapter": "ner", "generation": 1, "task": "ner", "truncated": False, "output": {
        "text": "Ada Lovelace lived in London.", "tokens": ["Ada", "Lovelace", "lived", "in", "London", "."],
        "tags": ["B-PER", "I-PER", "O", "O", "B-LOC", "O"], "entities": [
            {"label": "PER", "text": "Ada Lovelace", "start": 0, "end": 12, "words": [0, 2], "score": 0.99},
            {"label": "LOC", "text": "London", "start": 22, "end": 28, "words": [4, 5], "score": 0.99}]}},
    {"id": "review-7", "adapter": "mood", "generation": 1, "task": "classification", "truncated": False, "output": {
        "text": "A joy from the first frame to the last.", "label": "fresh", "score": 0.8185,
        "scores": {"fresh": 0.8185, "rotten": 0.1815}}},
]  # fmt: skip


class Reader:
    """Reads requests out of JSON, within the bounds of a server."""

    def __init__(self, settings: Settings) -> None:
        """Args: the bounds."""
        self.settings = settings
        listed: Any = Annotated[list[Asked], Field(min_length=1, max_length=settings.max_texts), FailFast()]
        self.many: TypeAdapter[list[Asked]] = TypeAdapter(listed)
        self.one = TypeAdapter(Asked)

    def read(self, body: bytes) -> list[Request]:
        """The requests of a body. Raises Refusal."""
        try:
            asked = self.many.validate_json(body)
        except ValidationError as error:
            raise refusal_of(error, "a list of {adapter, inputs, id?}") from None
        return [self._request(one, number) for number, one in enumerate(asked)]

    def line(self, line: bytes, number: int) -> Request:
        """The request of a line of a stream. Raises Refusal."""
        try:
            return self._request(self.one.validate_json(line), number)
        except ValidationError as error:
            raise refusal_of(error, "{adapter, inputs, id?}") from None

    def _request(self, asked: Asked, number: int) -> Request:
        """A request; one whose text is too long has an error in its text's place, as the bank takes it."""
        inputs: Any = asked.inputs
        size, most = characters(inputs), self.settings.max_characters
        if size > most:
            inputs = TooLongError(
                f"The text of {size:,} characters is too long: at most {most:,} are read. Cut it into paragraphs, say."
            )
        return Request(asked.adapter, inputs, str(number) if asked.id is None else asked.id)


def refusal_of(error: ValidationError, wanted: str) -> Refusal:
    """What pydantic found, the first fault of it, as a client is told."""
    first = error.errors(include_url=False, include_context=True)[0]
    if first["type"] == "json_invalid":
        why = str(first["ctx"]["error"])
        return Refusal(400, "json", f"The body is not JSON: {why}.", expected=wanted, found=why)
    found = shown(first["input"])
    if first["type"] == "too_long" and not first["loc"]:
        most, many = first["ctx"]["max_length"], first["ctx"]["actual_length"]
        return Refusal(
            413, "texts", "Too many texts in one request. Send fewer at a time, or use the stream.",
            expected=f"at most {most:,} texts", found=f"{many or 'more'} texts",
        )  # fmt: skip
    where = ".".join(map(str, first["loc"])) or "body"
    return Refusal(422, "shape", f"{where}: {first['msg']}.", expected=wanted, found=found)


def shown(value: Any) -> str:
    """A value as JSON, cut short."""
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
