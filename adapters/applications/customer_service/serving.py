"""Customer service over HTTP: conversations, a chat page, and the staff's inbox, on a server's bank.

Who has a customer's key (`X-Customer-Key`, a secret that the customer's browser or the company's own server makes up)
is that customer. Only the key's hash is stored, and a conversation's id is an id among those of one customer: whoever
has another key finds nothing, and does not learn whether there is something.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from adapters.applications.base.serving import AnswerQueue, refusal
from adapters.applications.customer_service.assistant import Assistant, Outcome, saved_record
from adapters.applications.customer_service.conversation import Session
from adapters.applications.customer_service.inbox import Inbox
from adapters.applications.customer_service.policy import MAIN
from adapters.applications.customer_service.settings import DECIDED, SESSIONS
from adapters.applications.customer_service.store import ConflictError, Store
from adapters.core.errors import DataError, SessionError, UserError
from adapters.serving.bank.bank import AdapterBank
from adapters.serving.http.answers import without_paths
from adapters.serving.http.application import EVENTS, PRIVATE, event, private
from adapters.serving.http.batcher import Answers
from adapters.serving.http.openapi import refusals
from adapters.serving.http.refusal import Refusal
from adapters.serving.http.service import Service
from adapters.serving.http.token_router import token_router
from adapters.tasks.base.requests import Request as BankRequest

_KEY = re.compile(r"[!-~]{16,200}")
BEAT_SECONDS = 5.0
"""Between two `typing` events, which keep proxies from closing the connection."""
SHOWN = 20
"""Entries of the inbox in one answer."""
Name = Annotated[str, InPath(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Chosen by the customer.")]
Key = Annotated[str, Header(alias="X-Customer-Key", description="The customer's secret: 16 characters or more.")]


def owner_of(key: str) -> str:
    """The id of the customer who has a key: a hash of it."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


async def customer(key: Key = "") -> str:
    """Whose request it is: the hash of the key. Raises Refusal."""
    if not _KEY.fullmatch(key):
        raise Refusal(
            401,
            "customer",
            "The request has no customer's key: a secret that is made up once for each customer, and kept.",
            expected="the header X-Customer-Key with 16 to 200 visible ASCII characters",
            found=f"{len(key)} characters" if key else "none",
        )
    return owner_of(key)


Owner = Annotated[str, Depends(customer)]


class MessageBody(BaseModel):
    """A message of a customer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(min_length=1, description="What the customer writes.", examples=["Where is my card?"])


class InboxQuery(BaseModel):
    """A page of the inbox."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(0, ge=0, lt=2**31, description="Id after which to begin.")


class DecisionBody(BaseModel):
    """The right answer to a question: an intent, a reply, a new answer, or none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: str | None = Field(None, max_length=4000, description="The question to learn. Default: as it was asked.")
    intent: str | None = Field(None, description="One of the known intents.")
    reply: str | None = Field(None, description="Id of a known reply.")
    answer: str | None = Field(None, max_length=4000, description="A new reply, which the customer also reads.")
    out_of_scope: bool = Field(False, description="It must not be answered.")
    owner: str | None = Field(None, description="Of the question, as the inbox showed it; 409 if it is another one.")
    session: str | None = Field(None, description="The same.")
    number: int | None = Field(None, description="The same.")


@dataclass(frozen=True, kw_only=True)
class MessageRequest(BankRequest):
    """A message in a customer's conversation."""

    owner: str
    conversation: str


def application(folder: Path, database: str | None = None) -> CustomerServiceSite:
    """The application of an assistant's folder. Raises ArtifactError."""
    return CustomerServiceSite(folder, saved_record(folder)["base"], database)


class CustomerServiceSite:
    """An assistant on a server's bank; an `Application` of `serving/http`."""

    name = "customer_service"
    page: Path | None = Path(__file__).with_name("pages")
    queue: AnswerQueue[MessageRequest]
    """Made with the routes, which a server asks for before it opens an application."""

    def __init__(self, folder: Path, base: str, database: str | None = None) -> None:
        """Args: the assistant's folder; its base; where conversations are kept. Default: a file in the folder."""
        self.folder, self.base, self.database = folder, base, database
        self.inbox: Inbox | None = None

    def open(self, bank: AdapterBank) -> None:
        """Load the assistant's adapters, and open the conversations. Raises UserError."""
        self.use(Assistant.load(self.folder.resolve(), bank))

    def use(self, assistant: Assistant) -> None:
        """Answer with an assistant from now on."""
        self.inbox = Inbox(Store(self.database or str(self.folder / SESSIONS)), assistant, self.folder / DECIDED)
        self.queue.start()

    def close(self) -> None:
        """Answer what waits, and close the database."""
        self.queue.close()
        if self.inbox is not None:
            self.inbox.store.close()

    # answers ----------------------------------------------------------------------------------------------------------

    def answer(self, messages: Sequence[MessageRequest]) -> Answers:
        """Answers to messages of any conversations: a batch of their next messages, then one of those after, …"""
        answers: list[dict[str, Any]] = [{} for _ in messages]
        faults: dict[int, UserError] = {}
        left = dict(enumerate(messages))
        while left:
            first: dict[str, int] = {}
            for number, message in left.items():
                first.setdefault(message.conversation, number)
            for number in first.values():
                del left[number]
            self._answer({number: messages[number] for number in first.values()}, answers, faults)
        return answers, faults

    def _answer(
        self, messages: dict[int, MessageRequest], answers: list[dict[str, Any]], faults: dict[int, UserError]
    ) -> None:
        """Answer a message of each conversation, and write the turns; fills answers and faults."""
        assert self.inbox is not None
        store, assistant = self.inbox.store, self.inbox.assistant
        sessions: dict[int, Session] = {}
        opened = store.open_all([(message.conversation, message.owner) for message in messages.values()])
        for number, session in zip(messages, opened, strict=True):
            if isinstance(session, SessionError):
                faults[number] = session
            else:
                sessions[number] = session
        asked = [(session, str(messages[number].inputs)) for number, session in sessions.items()]
        done: dict[int, tuple[Outcome, Session]] = {}
        for number, result in zip(sessions, assistant.respond_together(asked), strict=True):
            if isinstance(result, UserError):
                faults[number] = result
            else:
                done[number] = result
        turns = {
            number: (after, str(messages[number].inputs), outcome.record()) for number, (outcome, after) in done.items()
        }
        for (number, (after, _, outcome)), failed in zip(turns.items(), store.add_all([*turns.values()]), strict=True):
            if failed is not None:
                faults[number] = failed
            else:
                answers[number] = {"number": after.turns, **self.public(outcome)}

    def public(self, outcome: dict[str, Any]) -> dict[str, Any]:
        """The part of an outcome that a customer sees: without reason, numbers and folders."""
        assert self.inbox is not None
        seen = {name: outcome[name] for name in ("kind", "text", "intent", "slot")}
        choices = [self.inbox.assistant.policy.label(choice) for choice in outcome["choices"]]
        confidence = outcome["numbers"].get(f"confidence of {MAIN}")
        return {**seen, "source": without_paths(outcome["source"]), "confidence": confidence, "choices": choices}

    # routes -----------------------------------------------------------------------------------------------------------

    def routes(self, service: Service) -> list[APIRouter]:
        """What customers do with their own conversations, and what the staff does with all of them."""
        self.queue = AnswerQueue(service, self.answer, _refusal)
        return [self._conversations(service), self._inbox(service)]

    def _conversations(self, service: Service) -> APIRouter:
        router = token_router(service.tokens.check_predict, prefix="/v1")

        @router.post(
            "/conversations/{id}",
            summary="Send a message in a conversation",
            responses={
                200: {"description": "The answer; of `Accept: text/event-stream`, events.", "content": {EVENTS: {}}},
                **refusals(400, 401, 408, 409, 413, 422, 503, 504),
            },
        )
        async def say(id: Name, owner: Owner, body: MessageBody, request: Request) -> Response:
            """Begins or continues the conversation. The turn is on disk before it is answered. As events:
            `typing` at once and every few seconds, then `answer`, or `error` with what is wrong."""
            service.ready_bank()
            most = service.settings.max_characters
            if len(body.text) > most:
                what = f"{len(body.text):,} characters"
                raise Refusal(413, "text", "The message is too long.", expected=f"at most {most:,}", found=what)
            message = MessageRequest(None, body.text, "0", owner=owner, conversation=f"{owner}/{id}")
            if EVENTS not in request.headers.get("accept", ""):
                return await self.queue.respond(request, message)
            work = asyncio.create_task(self.queue.answer(message, self.queue.begin(request, message)))
            return StreamingResponse(_events(work, service), media_type=EVENTS, headers=PRIVATE)

        @router.get(
            "/conversations/{id}",
            summary="Read one's own conversation",
            responses=refusals(401, 422, 503),
        )
        async def history(id: Name, owner: Owner) -> Response:
            """Its turns, in order, with later replies of the staff; none where the customer has no such
            conversation."""
            turns = await self._in_thread(service, lambda inbox: inbox.store.history(f"{owner}/{id}", owner))
            return private([self._turn(turn) for turn in turns])

        @router.delete("/customers/me", summary="Delete all of one's own data", responses=refusals(401, 422, 503))
        async def forget_me(owner: Owner) -> Response:
            """Conversations, their entries in the inbox, and the decisions about these."""
            return private(await self._forgotten(service, owner))

        return router

    def _inbox(self, service: Service) -> APIRouter:
        router = token_router(service.tokens.check_staff, prefix="/v1")

        @router.get(
            "/inbox",
            summary="List the questions handed over",
            responses=refusals(401, 403, 422, 503),
        )
        async def inbox(query: Annotated[InboxQuery, Query()]) -> Response:
            """The open ones, the oldest first, at most 20 at a time; each with the best intents and replies."""
            found = await self._in_thread(service, lambda inbox: inbox.items(query.after, SHOWN))
            items = [{**item, "session": _of_customer(item["session"])} for item in found["items"]]
            return private({**found, "items": items})

        @router.put(
            "/inbox/{id}",
            summary="Decide a question",
            responses=refusals(400, 401, 403, 404, 409, 422, 503),
        )
        async def decide(id: Annotated[int, InPath(ge=1, lt=2**31)], body: DecisionBody) -> Response:
            """Closes its entry in the inbox, and adds a row to the file that the next training reads. With `owner`,
            `session` and `number` it is sure to be the question that was shown."""
            chosen: dict[str, Any] = body.model_dump(include={"question", "intent", "reply", "answer"})
            shown = body.model_dump(include={"owner", "session", "number"}, exclude_none=True)

            def work(inbox: Inbox) -> Any:
                try:
                    item = inbox.store.item(id)
                except SessionError as error:
                    raise Refusal(404, "inbox", str(error), expected="a number of the inbox", found=str(id)) from None
                own = {**item, "session": _of_customer(item["session"])}
                if other := [name for name, value in shown.items() if own[name] != value]:
                    what = f"Number {id} of the inbox is another question by now. Read the inbox again."
                    raise Refusal(409, "inbox", what, expected=f"its {other[0]}", found=f"{shown[other[0]]}"[:80])
                try:
                    return inbox.decide(item, outside=body.out_of_scope, **chosen)
                except ConflictError as error:
                    raise Refusal(409, "inbox", str(error), expected="a question", found="deleted") from None

            return private(await self._in_thread(service, work))

        @router.delete(
            "/customers/{owner}", summary="Delete all of a customer's data", responses=refusals(401, 403, 422, 503)
        )
        async def forget(owner: Annotated[str, InPath(pattern="^[0-9a-f]{32}$")]) -> Response:
            """As customers do it themselves, by the id that the inbox shows."""
            return private(await self._forgotten(service, owner))

        return router

    async def _forgotten(self, service: Service, owner: str) -> dict[str, int]:
        """Delete a customer's data; returns how many conversations there were. Raises Refusal."""
        return {"deleted": await self._in_thread(service, lambda inbox: inbox.forget(owner))}

    def _turn(self, turn: dict[str, Any]) -> dict[str, Any]:
        """A turn as its customer sees it."""
        written = (turn["decision"] or {}).get("answer")
        seen = {name: turn[name] for name in ("number", "at", "asked")}
        return {**seen, **self.public(turn["outcome"]), "staff": written}

    async def _in_thread(self, service: Service, work: Callable[[Inbox], Any]) -> Any:
        """What some work with the inbox returns. Raises Refusal."""
        service.ready_bank()
        assert self.inbox is not None
        try:
            return await asyncio.get_running_loop().run_in_executor(None, work, self.inbox)
        except (SessionError, DataError) as error:
            raise _refusal(error) from None


def _of_customer(conversation: str) -> str:
    """The id of a conversation as its customer knows it."""
    return conversation.partition("/")[2]


def _refusal(error: UserError) -> Refusal:
    """The refusal for the error of a message or a decision."""
    if isinstance(error, ConflictError):
        return Refusal(409, "turn", str(error), expected="one message at a time", found="two")
    return refusal(error, application="customer service", stored="sessions", request="message")


async def _events(work: asyncio.Task[dict[str, Any]], service: Service) -> AsyncIterator[bytes]:
    """Server-sent events: `typing` while it works, then `answer` or `error`."""
    try:
        while True:
            yield event("typing", b"{}")
            await asyncio.wait([work], timeout=BEAT_SECONDS)
            if work.done():
                break
        try:
            yield event("answer", orjson.dumps(work.result()))
        except Refusal as refused:
            service.metrics.count_refusal(refused)
            yield event("error", orjson.dumps(refused.body))
        except Exception:
            logging.getLogger("adapters.serving").exception("a message could not be answered")
            yield event("error", orjson.dumps({"error": "Internal error; the server's log has details."}))
    finally:
        work.cancel()
