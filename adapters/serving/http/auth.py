"""Bearer tokens: who may send requests, who works with what an application hands over, who loads adapters."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from adapters.core.errors import SettingsError
from adapters.serving.http.refusal import Refusal
from adapters.serving.http.settings import Settings

PREDICT, ADMIN, STAFF = "TASKSWAP_PREDICT_TOKEN", "TASKSWAP_ADMIN_TOKEN", "TASKSWAP_STAFF_TOKEN"
MIN_CHARACTERS = 8
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, kw_only=True, repr=False)
class Tokens:
    """Bearer tokens; None requires none. The admin token also allows what the others do.

    Attributes:
        predict: for predictions, and for reading the list of adapters.
        admin: for loading and unloading.
        staff: for what an application hands over to people.
        local: the server listens on this machine only, and may then load without a token.
    """

    predict: bytes | None = None
    admin: bytes | None = None
    staff: bytes | None = None
    local: bool = True

    @classmethod
    def of(cls, settings: Settings) -> Tokens:
        """The tokens in the settings' files, or in the environment. Raises SettingsError."""
        return cls(
            predict=_token(settings.predict_token_file, "--predict_token_file", PREDICT),
            admin=_token(settings.admin_token_file, "--admin_token_file", ADMIN),
            staff=_token(settings.staff_token_file, "--staff_token_file", STAFF),
            local=settings.host in LOOPBACK,
        )

    def check_predict(self, authorization: str | None) -> None:
        """Raises Refusal unless a request may predict."""
        if self.predict is not None:
            _check(authorization, [token for token in (self.predict, self.admin) if token is not None])

    def check_admin(self, authorization: str | None, host: str | None) -> None:
        """Raises Refusal unless a request may load and unload.

        Args:
            authorization: the header.
            host: the header, which differs if the page of another site has its own name resolve to this machine.
        """
        self._check_role([self.admin], authorization, host, "Loading over HTTP", ADMIN)

    def check_staff(self, authorization: str | None, host: str | None) -> None:
        """Raises Refusal unless a request may read and decide what was handed over. Args: as of `check_admin`."""
        self._check_role([self.staff, self.admin], authorization, host, "Work of the staff", STAFF)

    def _check_role(
        self, wanted: list[bytes | None], authorization: str | None, host: str | None, what: str, variable: str
    ) -> None:
        """Raises Refusal unless the header has one of the tokens; without any, only this machine may."""
        tokens = [token for token in wanted if token is not None]
        if tokens:
            _check(authorization, tokens)
        elif self.predict is not None or not self.local or _name(host) not in LOOPBACK:
            role = variable.split("_")[1].lower()
            raise Refusal(
                403,
                "token",
                f"{what} is off. Start the server with {variable} set, or --{role}_token_file.",
                expected=f"a server with a token of the role {role}, or one that listens on its own machine only",
                found=f"no {role} token; a request for host {_name(host)[:80] or '(none)'}",
            )


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


def _name(host: str | None) -> str:
    """A header's host without its port."""
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
    if len(token) < MIN_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"{where}: must contain a token of at least {MIN_CHARACTERS} visible ASCII characters.")
    return token.encode()
