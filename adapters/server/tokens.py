"""Who may ask for answers, and who may load and unload adapters."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import SettingsError
from adapters.server import Refusal, Settings

PREDICT, ADMIN = "TASKSWAP_PREDICT_TOKEN", "TASKSWAP_ADMIN_TOKEN"
LEAST = 8
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, kw_only=True, repr=False)
class Tokens:
    """Bearer tokens; None asks for none. The one for loading also predicts.

    Attributes:
        predict: for answers, and for what is known of adapters.
        admin: for loading and unloading.
        local: only this machine reaches the server, which may then load without any token.
    """

    predict: bytes | None = None
    admin: bytes | None = None
    local: bool = True

    @classmethod
    def of(cls, settings: Settings) -> Tokens:
        """Those in files or in the environment. Raises SettingsError."""
        return cls(
            predict=_token(settings.predict_token_file, "--predict_token_file", PREDICT),
            admin=_token(settings.admin_token_file, "--admin_token_file", ADMIN),
            local=settings.host in LOOPBACK,
        )

    def check_predict(self, authorization: str | None) -> None:
        """Raises Refusal unless a request may ask for answers."""
        if self.predict is not None:
            _check(authorization, [token for token in (self.predict, self.admin) if token is not None])

    def check_admin(self, authorization: str | None, host: str | None) -> None:
        """Raises Refusal unless a request may load and unload.

        Args:
            authorization: the header.
            host: the header. A page of another site that has its name point here is so told from this machine.
        """
        if self.admin is not None:
            _check(authorization, [self.admin])
        elif self.predict is not None or not self.local or _name(host) not in LOOPBACK:
            raise Refusal(
                403, "token", f"Loading over HTTP is off. Start the server with {ADMIN} set, or --admin_token_file.",
                expected="a server that has a token for loading, or that only its own machine reaches",
                found=f"no such token; asked for as {_name(host)[:80] or 'nobody'}",
            )  # fmt: skip


def _check(authorization: str | None, wanted: list[bytes]) -> None:
    """Raises Refusal unless the header bears one of some tokens. Takes as long for a wrong one as for a right one."""
    kind, _, given = (authorization or "").partition(" ")
    sent = given.strip().encode("utf-8", "replace") if kind.lower() == "bearer" else b""
    same = [hmac.compare_digest(sent, token) for token in wanted]  # all of them, whatever the first says
    if not any(same):
        raise Refusal(
            401, "token", "The token is wrong." if sent else "The request bears no token.",
            expected="the header Authorization: Bearer TOKEN", found="another token" if sent else "none",
            headers={"WWW-Authenticate": "Bearer"},
        )  # fmt: skip


def _name(host: str | None) -> str:
    """The host in a header without its port."""
    name, colon, port = (host or "").rpartition(":")
    return (name if colon and port.isdigit() else host or "").strip("[]").lower()


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
    if len(token) < LEAST or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"{where}: must hold a token of at least {LEAST} visible ASCII characters.")
    return token.encode()
