"""`POST /v1/explain`: why an adapter answers as it does, one explanation at a time and behind a limit of its own.

An explanation takes as long as some hundred answers, so that it waits neither in the queue of the answers nor in their
threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from adapters.artifacts.explaining.base.attribution import Options
from adapters.core.errors import UserError
from adapters.serving.http.refusal import Refusal, busy, of_exports, unanswered
from adapters.serving.http.schema import ExplainRequest
from adapters.serving.http.settings import Settings
from adapters.tasks.base.explained import words_of

if TYPE_CHECKING:
    from adapters.serving.bank.served_bank import ServedBank

EXPECTED = "an adapter's name, inputs of its task, and a method and target that suit them"


class Explainer:
    """Explains answers in a thread of its own."""

    def __init__(self, settings: Settings, shown: Callable[[str], str]) -> None:
        """Args:
        settings: bounds.
        shown: an error's message as clients may see it.
        """
        self.settings, self.shown = settings, shown
        self.thread = ThreadPoolExecutor(1, "explaining")
        self.waiting: set[Future[Any]] = set()

    def close(self) -> None:
        """Finish the explanation that is being computed. Blocks."""
        self.thread.shutdown(cancel_futures=True)

    async def answer(self, bank: ServedBank, given: ExplainRequest, seconds: float) -> Mapping[str, Any]:
        """`{id, adapter, version, explanation}`.

        Args:
            bank: has the adapter.
            given: the request.
            seconds: time limit.

        Raises:
            Refusal: explanations are off or the bank has none, there is no room, the text is too long, the time is
                over, or the answer cannot be explained.
        """
        if not bank.explains:
            raise of_exports("does not explain answers. Explain the artifact that was exported: taskswap explain.")
        self._check(given)
        work = self.thread.submit(self._explain, bank, given)
        self.waiting.add(work)
        work.add_done_callback(self.waiting.discard)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), seconds)
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

    def _explain(self, bank: ServedBank, given: ExplainRequest) -> dict[str, Any]:
        """In the thread."""
        request = given.request()
        version, found = bank.explain(
            request, method=given.method, target=given.target, options=Options(steps=given.steps)
        )
        return {"id": request.id, "adapter": given.adapter, "version": version, "explanation": found.record()}
