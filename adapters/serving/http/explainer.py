"""`POST /v1/explain`: why an adapter answers as it does, one explanation at a time and behind a limit of its own.

An explanation takes as long as some hundred answers, so that it waits neither in the queue of the answers nor in their
threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from adapters.artifacts.explaining.base.attribution import Options
from adapters.core.errors import UserError
from adapters.serving.http.refusal import Refusal, busy, disconnected, of_exports, unanswered
from adapters.serving.http.schema import ExplainRequest
from adapters.serving.http.settings import Settings
from adapters.tasks.base.explained import words_of

if TYPE_CHECKING:
    from adapters.serving.bank.served_bank import ServedBank

EXPECTED = "an adapter's name, inputs of its task, and a method and target that suit them"
END_SECONDS = 1.0
"""Seconds that a server waits at its end for the pass of a model that is being computed."""


class _LeftError(Exception):
    """Nobody waits for an explanation any more."""


@dataclass(kw_only=True, eq=False)
class _Asked:
    """An explanation that a client waits for.

    Attributes:
        bank: has the adapter.
        given: the request.
        found: the answer.
        left: set when the client waits no longer.
    """

    bank: ServedBank
    given: ExplainRequest
    found: Future[dict[str, Any]] = field(default_factory=Future)
    left: threading.Event = field(default_factory=threading.Event)

    def proceed(self) -> None:
        """Called before each pass of the model. Raises _LeftError."""
        if self.left.is_set():
            raise _LeftError


class Explainer:
    """Explains answers in a thread of its own, as long as a client waits for them."""

    def __init__(self, settings: Settings, shown: Callable[[str], str]) -> None:
        """Args:
        settings: bounds.
        shown: an error's message as clients may see it.
        """
        self.settings, self.shown = settings, shown
        self.asked: SimpleQueue[_Asked | None] = SimpleQueue()
        self.waiting: set[_Asked] = set()
        self.thread = threading.Thread(target=self._work, name="explaining", daemon=True)

    def start(self) -> None:
        """Start to explain."""
        self.thread.start()

    def close(self) -> None:
        """End the thread, and what it computes: the requests have ended. Blocks for a second at most: the process may
        end while a pass of the model is still being computed."""
        for asked in [*self.waiting]:
            asked.left.set()
        self.asked.put(None)
        if self.thread.is_alive():
            self.thread.join(END_SECONDS)

    async def answer(
        self, bank: ServedBank, given: ExplainRequest, seconds: float, gone: asyncio.Future[Any]
    ) -> Mapping[str, Any]:
        """`{id, adapter, version, explanation}`.

        Args:
            bank: has the adapter.
            given: the request.
            seconds: time limit.
            gone: done when the client has disconnected.

        Raises:
            Refusal: explanations are off or the bank has none, there is no room, the text is too long, the time is
                over, the client has disconnected, or the answer cannot be explained.
        """
        if not bank.explains:
            raise of_exports("does not explain answers. Explain the artifact that was exported: taskswap explain.")
        self._check(given)
        asked = _Asked(bank=bank, given=given)
        self.waiting.add(asked)
        self.asked.put(asked)
        answer = asyncio.wrap_future(asked.found)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
        except TimeoutError:
            raise Refusal(
                504,
                "timeout",
                "The explanation took too long. Explain a shorter text, or with fewer steps.",
                expected=f"an explanation within {seconds:g} s",
                found="none",
            ) from None
        except UserError as error:
            message = {"error": self.shown(str(error)), "adapter": given.adapter}
            raise unanswered([message], [error], given.inputs, EXPECTED) from None
        finally:
            asked.left.set()
            answer.cancel()
            if asked.found.cancel():  # it was not begun: its room is free at once
                self.waiting.discard(asked)
        raise disconnected()

    def _check(self, given: ExplainRequest) -> None:
        """Raises Refusal."""
        most = self.settings.max_explanations
        if not most:
            raise Refusal(
                403,
                "explanations",
                "Explanations are off on this server.",
                expected="a server with --max_explanations of 1 or more",
                found="--max_explanations 0",
            )
        if len(self.waiting) >= most:
            raise busy("explanations", f"{most} explanations are waiting or being computed.")
        texts = {"text": given.inputs} if isinstance(given.inputs, str) else given.inputs
        words = len(words_of({name: text for name, text in texts.items() if isinstance(text, str)}))
        words += sum(len(text) for text in texts.values() if isinstance(text, list))
        if words > self.settings.max_explained_words:
            raise Refusal(
                413,
                "words",
                "The text is too long to be explained here. Use taskswap explain, or a part of the text.",
                expected=f"at most {self.settings.max_explained_words:,} words",
                found=f"{words:,} words",
            )

    # in the thread ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (asked := self.asked.get()) is not None:
            if asked.found.set_running_or_notify_cancel():
                try:
                    asked.found.set_result(self._explained(asked))
                except BaseException as error:  # the client's route answers it
                    asked.found.set_exception(error)
            self.waiting.discard(asked)

    def _explained(self, asked: _Asked) -> dict[str, Any]:
        given, request = asked.given, asked.given.request()
        version, found = asked.bank.explain(
            request,
            method=given.method,
            target=given.target,
            options=Options(steps=given.steps),
            proceed=asked.proceed,
        )
        return {"id": request.id, "adapter": given.adapter, "version": version, "explanation": found.record()}
