"""Learn an assistant for customer service, or ask one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from adapters.core import arguments, flags
from adapters.core.arguments import POSITIONAL, WHOLE
from adapters.core.errors import SettingsError

HELP = "learn an assistant from past questions and replies, or ask it"
GROUP = "Train and compare"
DESCRIPTION = """Learn an assistant from past questions with intents or replies: it answers, asks back, or hands over.

taskswap customer_service --train_file questions.csv --documents handbook

taskswap customer_service RUN --ask "Where is my card?": the outcome for a question, with its source and its reason.
--session ID --owner NAME: as a turn of a conversation, kept in RUN/sessions.db."""


@dataclass(frozen=True, kw_only=True)
class AskSettings:
    """A question to a finished assistant."""

    run: Annotated[Path, POSITIONAL]
    """Folder of the assistant."""
    ask: Annotated[list[str], WHOLE] = field(default_factory=list)
    """Questions; in a session, its next turns."""
    session: str | None = None
    """Id of a conversation that is begun or continued."""
    owner: str = "me"
    """Whose conversation it is; nobody else can read it."""
    sessions: str | None = None
    """Database of the conversations: an SQLite file, or a URL of SQLAlchemy. Default: sessions.db in RUN."""
    base: str | None = None
    """Base model by its path, where it has moved."""
    device: str = "auto"
    """auto (cuda, mps or cpu), or the name of a device."""
    json: bool = False
    """Print outcomes as JSON, with all numbers behind them."""


def settings() -> type:
    """The class of all flags."""
    from adapters.applications.customer_service.settings import all_settings

    found: type = all_settings()
    return found


def run(argv: Sequence[str]) -> int:
    """Run `taskswap customer_service`."""
    if flags.is_about_a_folder(argv, {"ask"}):
        return _ask(arguments.parse(AskSettings, {}, DESCRIPTION, argv, program="taskswap customer_service"))
    from adapters.applications.customer_service.learning import CustomerService

    service = CustomerService(DESCRIPTION, {}, argv)
    service.read()
    service.learn()
    assistant = service.tune()
    service.save_and_print(assistant, service.evaluate(assistant))
    return 0


def _ask(given: AskSettings) -> int:
    """Print the outcome of each question."""
    from adapters.applications.customer_service.assistant import Assistant
    from adapters.applications.customer_service.settings import SESSIONS
    from adapters.applications.customer_service.store import Store

    if not given.ask:
        raise SettingsError('--ask is missing its question: --ask "Where is my card?"')
    assistant = Assistant.load(given.run, base=given.base, device=given.device)
    store = None if given.session is None else Store(given.sessions or str(given.run / SESSIONS))
    for question in given.ask:
        if store is None:
            outcome = assistant.ask(question)
        else:
            assert given.session is not None
            outcome, session = assistant.respond(store.open(given.session, given.owner), question)
            store.add(session, question, outcome.record())
        if given.json:
            print(json.dumps(outcome.record(), ensure_ascii=False))
        else:
            print(f"{outcome.kind}: {outcome.text}")
            print(f"  {outcome.source + '; ' if outcome.source else ''}{outcome.reason}", file=sys.stderr)
    return 0
