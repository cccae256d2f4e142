"""Bearer tokens: who may send requests, who works with what an application hands over, who loads adapters."""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from adapters.core.errors import SettingsError
from adapters.serving.http.refusal import Refusal
from adapters.serving.http.settings import Settings

PREDICT, ADMIN, STAFF = "TASKSWAP_PREDICT_TOKEN", "TASKSWAP_ADMIN_TOKEN", "TASKSWAP_STAFF_TOKEN"
MIN_CHARACTERS = 8


def generate_token() -> str:
    """A random token (192 bits)."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, kw_only=True, repr=False)
class Tokens:
    """Bearer tokens. The admin token also allows what the others do.

    Attributes:
        predict: for predictions, and for reading the list of adapters; None asks for none.
        admin: for loading and unloading. There always is one: who sends a request from this machine may be a proxy that
            passes on those of others.
        staff: for what an application hands over to people, or is fed; None leaves that to the admin token.
        generated: the admin token was generated at start, and must be shown.
    """

    predict: bytes | None = None
    admin: bytes = field(default_factory=lambda: generate_token().encode())
    staff: bytes | None = None
    generated: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Tokens:
        """The tokens in the settings' files, or in the environment. Raises SettingsError."""
        admin = _token(settings.admin_token_file, "--admin_token_file", ADMIN)
        return cls(
            predict=_token(settings.predict_token_file, "--predict_token_file", PREDICT),
            admin=generate_token().encode() if admin is None else admin,
            staff=_token(settings.staff_token_file, "--staff_token_file", STAFF),
            generated=admin is None,
        )

    def check_predict(self, authorization: str | None) -> None:
        """Raises Refusal unless a request may predict."""
        if self.predict is not None:
            _check(authorization, [self.predict, self.admin])

    def check_admin(self, authorization: str | None) -> None:
        """Raises Refusal unless a request may load and unload."""
        _check(authorization, [self.admin])

    def check_staff(self, authorization: str | None) -> None:
        """Raises Refusal unless a request may read and decide what was handed over, or feed an application."""
        _check(authorization, [self.admin, *([] if self.staff is None else [self.staff])])


def _check(authorization: str | None, wanted: list[bytes]) -> None:
    """Raises Refusal unless the header has one of the tokens. Takes equally long for right and wrong ones."""
    kind, _, given = (authorization or "").partition(" ")
    sent = given.strip().encode("utf-8", "replace") if kind.lower() == "bearer" else b""
    same = [hmac.compare_digest(sent, token) for token in wanted]  # compare all, whatever the first result
    if not any(same):
        raise Refusal(
            401,
            "token",
            "The token is wrong." if sent else "The request has no token.",
            expected="the header Authorization: Bearer TOKEN",
            found="another token" if sent else "none",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _token(file: str | None, flag: str, variable: str) -> bytes | None:
    where = f"{flag} {file}" if file is not None else variable
    if file is not None:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SettingsError(f"{where}: cannot be read ({why}).") from error
    elif variable in os.environ:
        text = os.environ[variable]
    else:
        return None
    token = text.strip()
    if len(token) < MIN_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"{where}: must contain a token of at least {MIN_CHARACTERS} visible ASCII characters.")
    return token.encode()
