"""Recommendations with their reasons over HTTP, events and new items, which take effect at once, and a page to try it.

All that reads or changes the recommender goes through one batcher of one thread, in the order in which it came: so an
event that was acknowledged is in every later answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi import Path as InPath
from fastapi import Request as HttpRequest
from pydantic import BaseModel, ConfigDict, Field

from adapters.applications.base.serving import AnswerQueue, refusal
from adapters.applications.recommendation.catalogue import Item
from adapters.applications.recommendation.recommender import MOST, Recommender, Request, saved_record
from adapters.applications.recommendation.store import Event
from adapters.core.errors import UserError
from adapters.data.times import seconds_since_1970
from adapters.serving.bank.bank import AdapterBank
from adapters.serving.http.batcher import Answers
from adapters.serving.http.openapi import refusals
from adapters.serving.http.refusal import Refusal
from adapters.serving.http.service import Service
from adapters.serving.http.token_router import token_router
from adapters.tasks.base.requests import Request as BankRequest

AHEAD_SECONDS = 86_400.0
"""Tolerated clock skew of an event's time: recent popularity is as of the last one."""
AT_ONCE = 1000
"""Maximum number of events or items in a request."""
FOUND = 10
Id = Annotated[str, Field(min_length=1, max_length=200)]


class Filters(BaseModel):
    """Which items may be recommended."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tags: list[str] = Field([], max_length=100, description="An item must have one of them.")
    without_tags: list[str] = Field([], max_length=100, description="An item must have none of them.")
    max_price: float | None = Field(None, ge=0, description="Items without a price are then left out.")


class RecommendBody(BaseModel):
    """A request for recommendations."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user: Id | None = Field(None, description="A user whose events are known.", examples=["17"])
    history: list[Id] = Field([], max_length=1000, description="Ids of liked items, the oldest first.")
    wishes: str | None = Field(None, max_length=4000, description="A sentence of what is wanted.")
    candidates: list[Id] | None = Field(None, max_length=100_000, description="Ids to choose from. Default: all.")
    filters: Filters | None = Field(None, description="Which items may be recommended. Default: all.")
    number: int = Field(10, ge=1, le=MOST, description="Items wanted.")
    diversity: float = Field(0.0, ge=0, le=1, description="From 0, the best ones, to 1, the most different ones.")
    keep_seen: bool = Field(False, description="Also recommend what the user has seen.")

    def request(self) -> Request:
        """As the recommender takes it."""
        given = {**self.model_dump(exclude={"filters"}), **(self.filters.model_dump() if self.filters else {})}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
        }
        return Request(**values)


class EventBody(BaseModel):
    """An event of a user."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user: Id
    item: Id
    time: float | str | None = Field(None, description="ISO 8601, or seconds since 1970. Default: now.")
    kind: str | None = Field(None, max_length=200, description="As in the training events.")
    rating: float | None = Field(None, allow_inf_nan=False, description="As in the training events.")
    liked: bool | None = Field(None, description="Default: by --signal_kinds and --min_rating, as in training.")


class EventsBody(BaseModel):
    """Events, stored together or not at all."""

    model_config = ConfigDict(extra="forbid", strict=True)

    events: list[EventBody] = Field(min_length=1, max_length=AT_ONCE)


class ItemBody(BaseModel):
    """A new item."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Id
    title: str = Field("", max_length=200)
    text: str = Field("", max_length=20_000, description="All that is read, the title not included.")
    tags: list[str] = Field([], max_length=100)
    price: float | None = Field(None, ge=0, allow_inf_nan=False)
    published: float | str | None = Field(None, description="ISO 8601, or seconds since 1970.")


class ItemsBody(BaseModel):
    """New items, stored together or not at all."""

    model_config = ConfigDict(extra="forbid", strict=True)

    items: list[ItemBody] = Field(min_length=1, max_length=AT_ONCE)


@dataclass(frozen=True, kw_only=True)
class Work(BankRequest):
    """Something to do with the recommender."""

    do: Callable[[Recommender], dict[str, Any]]


def application(folder: Path, database: str | None = None) -> RecommendationSite:
    """The application of a recommender's folder, whose events are in a file of its own there: `database` is not used.

    Raises ArtifactError.
    """
    record = saved_record(folder)
    settings = record["settings"]
    kinds = settings["signal_kinds"], record.get("kinds", ())
    return RecommendationSite(folder, record["base"], *kinds, min_rating=settings.get("min_rating"))


class RecommendationSite:
    """A recommender on a server's bank; an `Application` of `serving/http`."""

    name = "recommendation"
    page: Path | None = Path(__file__).with_name("pages")
    queue: AnswerQueue[Work]
    """Made with the routes, which a server asks for before it opens an application."""

    def __init__(
        self,
        folder: Path,
        base: str,
        signal_kinds: Sequence[str] = (),
        kinds: Sequence[str] = (),
        *,
        min_rating: float | None = None,
    ) -> None:
        """Args:
        folder: of the recommender.
        base: of its item tower.
        signal_kinds: kinds of events that are likes, none where all are.
        kinds: of the training events, none where they are not known.
        min_rating: the least rating of a like; None where ratings do not decide.
        """
        self.folder, self.base, self.signal_kinds, self.kinds = folder, base, signal_kinds, kinds
        self.min_rating = min_rating
        self.recommender: Recommender | None = None

    def open(self, bank: AdapterBank) -> None:
        """Load the recommender. Raises UserError."""
        self.use(Recommender.load(self.folder.resolve(), bank))

    def use(self, recommender: Recommender) -> None:
        """Answer with a recommender from now on."""
        self.recommender = recommender
        self.queue.start()

    def close(self) -> None:
        """Finish pending work, and close the events' file."""
        self.queue.close()
        if self.recommender is not None:
            self.recommender.store.close()

    def answer(self, given: Sequence[Work]) -> Answers:
        """Answers to works, done one after another."""
        assert self.recommender is not None
        answers: list[dict[str, Any]] = []
        faults: dict[int, UserError] = {}
        for number, work in enumerate(given):
            try:
                answers.append(work.do(self.recommender))
            except UserError as error:
                answers.append({})
                faults[number] = error
        return answers, faults

    def event(self, body: EventBody) -> Event:
        """An event as the recommender takes it. Raises Refusal."""
        now = time.time()
        at = _seconds(body.time, "time", now)
        if at > now + AHEAD_SECONDS:
            raise Refusal(422, "time", "The event is in the future.", expected="a time until now", found=str(body.time))
        liked = self._liked(body) if body.liked is None else body.liked
        return Event(user=body.user, item=body.item, time=at, liked=liked)

    def _liked(self, body: EventBody) -> bool:
        """Whether an event is a like, as in training. Raises Refusal where that cannot be known."""
        known = [*self.signal_kinds, *self.kinds]
        if self.signal_kinds and (body.kind is None or (self.kinds and body.kind not in known)):
            wanted = f"liked, or a kind of the training: {', '.join(dict.fromkeys(known))}"[:300]
            raise Refusal(422, "kind", "kind: it does not say whether the event is a like.", expected=wanted,
                          found=str(body.kind)[:80])  # fmt: skip
        if self.signal_kinds and body.kind not in self.signal_kinds:
            return False
        if self.min_rating is not None and body.rating is None:
            wanted = f"liked, or a rating; from {self.min_rating:g} on it is a like"
            raise Refusal(422, "rating", "rating: there is none.", expected=wanted, found="neither")
        return self.min_rating is None or body.rating is None or body.rating >= self.min_rating

    def routes(self, service: Service) -> list[APIRouter]:
        """Recommendations, events and users; new items, which are the staff's."""
        router = token_router(service.tokens.check_predict, prefix="/v1/recommend")
        staff = token_router(service.tokens.check_staff, prefix="/v1/recommend")
        queue = self.queue = AnswerQueue(service, self.answer, _refusal)

        async def done(request: HttpRequest, text: str, do: Callable[[Recommender], dict[str, Any]]) -> Response:
            """The answer of some work. Raises Refusal."""
            service.ready_bank()
            return await queue.respond(request, Work(None, text, "0", do=do))

        usual = refusals(400, 401, 408, 413, 422, 503, 504)

        @router.post("", summary="Recommend items", responses=usual)
        async def recommend(body: RecommendBody, request: HttpRequest) -> Response:
            """The best items for a user, a history or wishes: `{items: [{id, title, score, why}], basis, note?}`. `why`
            has the items of the history that each is nearest to."""
            wanted = body.request()
            return await done(request, body.wishes or "", lambda recommender: recommender.recommend(wanted))

        @router.post("/events", summary="Add events of users", responses=usual)
        async def events(given: EventsBody, request: HttpRequest) -> Response:
            """They are on disk, and in every later answer, when it returns."""
            taken = [self.event(one) for one in given.events]

            def take(recommender: Recommender) -> dict[str, Any]:
                recommender.take(taken)
                return {"events": len(taken)}

            return await done(request, "", take)

        @router.get("/items", summary="Search items by words", responses=usual)
        async def search(request: HttpRequest, words: Annotated[str, Query(min_length=1, max_length=200)]) -> Response:
            """The items whose texts have most of the words, at most 10."""
            return await done(request, words, lambda recommender: {"items": recommender.search(words, FOUND)})

        @staff.post(
            "/items",
            summary="Add new items",
            responses=refusals(400, 401, 403, 408, 413, 422, 503, 504),
        )
        async def items(given: ItemsBody, request: HttpRequest) -> Response:
            """They can be recommended from their texts when it returns. It needs the token of the staff."""
            new = [_item(one) for one in given.items]

            def add(recommender: Recommender) -> dict[str, Any]:
                recommender.add_items(new)
                return {"items": len(new)}

            return await done(request, "", add)

        # Of an id with slashes, which the server has decoded by then, all of the path is the id.
        @router.delete("/users/{user:path}", summary="Forget a user", responses=usual)
        async def forget(user: Annotated[str, InPath(min_length=1, max_length=200)], request: HttpRequest) -> Response:
            """All events of the user are deleted, those from before the training as well."""
            return await done(request, "", lambda recommender: {"deleted": recommender.forget(user)})

        return [router, staff]


def _refusal(error: UserError) -> Refusal:
    """The refusal for the error of some work."""
    return refusal(error, application="recommendation", stored="events", request="request")


def _item(given: ItemBody) -> Item:
    """An item as the recommender takes it. Raises Refusal."""
    published = None if given.published is None else _seconds(given.published, "published", 0.0)
    text = " ".join(f"{given.title} {given.text}".split())
    item = Item(id=given.id, text=text, title=given.title, price=given.price, published=published)
    return replace(item, tags=tuple(dict.fromkeys(given.tags)))


def _seconds(value: float | str | None, name: str, default: float) -> float:
    """A time in seconds. Raises Refusal."""
    if value is None:
        return default
    try:
        return seconds_since_1970(value, UTC)
    except ValueError as error:
        expected = "ISO 8601, or seconds since 1970"
        raise Refusal(422, name, f"{name}: {error}", expected=expected, found=str(value)[:80]) from None
