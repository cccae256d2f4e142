"""How the server refuses a request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from pydantic import ValidationError

from adapters.core.errors import ArtifactError, BankError, DataError, UnknownAdapterError, UserError

RETRY = "Retry-After"
MAX_SHOWN = 80
"""Characters of what was given that a refusal shows."""
BODY = "body"
"""What a body is called where its own fields are not named."""
MUST_BE = "must be "
_MISFITS = {
    "missing": "is missing",
    "extra_forbidden": "there is no such field",
    "string_type": "must be a text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "too_short": "must have at least {min_length}, has {actual_length}",
    "too_long": "must have at most {max_length}, has more",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
}
"""What is wrong, by pydantic's type of an error; its own words speak of Python's types."""


class TooLongError(DataError):
    """A text with more characters than the server accepts."""


class Refusal(UserError):
    """A request that is not answered, or not completely."""

    def __init__(
        self,
        status: int,
        reason: str,
        error: str,
        *,
        expected: str = "",
        found: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Args:
        status: HTTP status.
        reason: one word, for the count of refusals.
        error: what is wrong, and what to do.
        expected: what would have been right.
        found: what was given.
        headers: of the answer.
        """
        super().__init__(error)
        self.status, self.reason, self.headers = status, reason, dict(headers or {})
        self.body: dict[str, object] = {"error": error, "expected": expected, "found": found}


def busy(reason: str, error: str, seconds: int = 1, found: str = "no room at present") -> Refusal:
    """A refusal after which the client may try again in some seconds."""
    return Refusal(
        503,
        reason,
        error,
        expected=f"the same request again after {seconds} s",
        found=found,
        headers={RETRY: str(seconds)},
    )


def disconnected() -> Refusal:
    """The refusal of a request whose client has hung up: it is counted, and nobody reads it."""
    return Refusal(499, "disconnected", "The client disconnected.")


def of_exports(error: str) -> Refusal:
    """The refusal of what a server of exports cannot do. Args: error: what follows on its name."""
    return Refusal(
        403,
        "runtime",
        f"A server of exports (--runtime onnx) {error}",
        expected="a server with --runtime torch",
        found="one with --runtime onnx",
    )


def unfit(reason: str, error: UserError) -> Refusal:
    """The refusal of a request that an application cannot use, by the error that says why."""
    found = str(error).partition(":")[0][:MAX_SHOWN]
    return Refusal(422, reason, str(error), expected="what the path's documentation says", found=found)


@contextmanager
def named(name: str) -> Iterator[None]:
    """While the bank is asked for an adapter that a client named. Raises Refusal where none is called so."""
    try:
        yield
    except UnknownAdapterError as error:
        raise Refusal(404, "adapter", str(error), expected="the name of an adapter", found=shown(name)) from None


def check_content_type(headers: Mapping[str, str], expected: str) -> None:
    """Raises Refusal for another content type: without CORS a page of another site can only send simple ones."""
    found = headers.get("content-type", "")
    if found.partition(";")[0].strip().lower() != expected:
        raise Refusal(
            415,
            "type",
            f"The Content-Type must be {expected}: with curl, -H 'Content-Type: {expected}'.",
            expected=expected,
            found=shown(found),
        )


ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""A valid request id; any other is not copied to logs and headers."""


def refusal_of(error: ValidationError, expected: str, body: bytes, name: str = BODY) -> Refusal:
    """The refusal for pydantic's first error.

    Args:
        error: of the body.
        expected: what would have been right.
        body: JSON.
        name: of the body as a whole.
    """
    errors = error.errors(include_url=False, include_context=True)
    first = errors[0]
    if first["type"] == "json_invalid":
        why = str(first["ctx"]["error"])
        return Refusal(400, "json", f"The body is not JSON: {why}.", expected=expected, found=why)
    found = shown(first["input"])
    if first["type"] == "too_long" and not first["loc"]:
        most, many = first["ctx"]["max_length"], first["ctx"]["actual_length"]
        return Refusal(
            413,
            "texts",
            "Too many texts in one request. Send fewer at a time, or use the stream.",
            expected=f"at most {most:,} texts",
            found=f"{many or 'more'} texts",
        )
    try:
        value = json.loads(body)  # which knows NaN, as pydantic does
    except (ValueError, RecursionError):
        value = None
    return Refusal(422, "shape", misfit(errors, value, name), expected=expected, found=found)


def misfit(errors: Sequence[Mapping[str, Any]], value: Any, name: str = BODY) -> str:
    """What is wrong with the first field that pydantic faults: `requests[0].inputs: must be a text or an object.`

    Args:
        errors: of `ValidationError.errors()`, at least one; those of one field with several types, one for each type,
            are of one place, or of places below it.
        value: what was validated.
        name: of it as a whole.
    """
    places = [_place(error, value) for error in errors]
    at = max((place for place in places if place[: len(places[0])] == places[0]), key=len)
    texts = dict.fromkeys(_fault(error) for error, place in zip(errors, places, strict=True) if place == at)
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:MAX_SHOWN]}" for part in at)
    where = shown.removeprefix(".") if at and isinstance(at[0], str) else name + shown
    first, *others = texts
    kinds = [text.removeprefix(MUST_BE) for text in others if text.startswith(MUST_BE) and first.startswith(MUST_BE)]
    return f"{where}: {' or '.join([first, *kinds])}."


def _place(error: Mapping[str, Any], value: Any) -> tuple[int | str, ...]:
    """Where a field is in a value, without the names of types by which pydantic tells the branches of a union apart."""
    kept: list[int | str] = []
    parts: Sequence[int | str] = error["loc"]
    for at, part in enumerate(parts):
        lacks = error["type"] == "missing" and at == len(parts) - 1
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) and part < len(value) else None
        elif isinstance(value, Mapping) and part in value:
            value = value[part]
        elif not lacks:
            continue
        kept.append(part)
    return tuple(kept)


def _fault(error: Mapping[str, Any]) -> str:
    """What is wrong, in words that follow the place."""
    known = _MISFITS.get(error["type"])
    return known.format(**error.get("ctx", {})) if known else str(error["msg"][:1].lower() + error["msg"][1:])


def unanswered(
    answers: Sequence[Mapping[str, Any]], errors: Sequence[UserError], inputs: Any, expected: str
) -> Refusal:
    """The refusal if no request could be answered; its status follows from their errors.

    Args:
        answers: with the errors' messages.
        errors: of all of them.
        inputs: of the first.
        expected: inputs that could be answered.
    """
    first = str(answers[0]["error"])
    if all(isinstance(error, UnknownAdapterError) for error in errors):
        names = ", ".join(sorted({shown(answer["adapter"]) for answer in answers}))
        return Refusal(404, "adapter", first, expected="the name of an adapter", found=names[:200])
    if all(isinstance(error, (ArtifactError, BankError)) for error in errors):
        return busy("adapter_gone", first)
    if all(isinstance(error, TooLongError) for error in errors):
        return Refusal(413, "characters", first, expected="shorter texts", found="too long ones")
    return Refusal(422, "inputs", first, expected=expected, found=shown(inputs))


def shown(value: Any) -> str:
    """A value as JSON, truncated."""
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
