"""Reads requests from bodies, within the server's bounds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import FailFast, Field, TypeAdapter, ValidationError, create_model

from adapters.serving.http.refusal import Refusal, TooLongError, refusal_of
from adapters.serving.http.schema import ExplainRequest, GenerateRequest, PredictRequest
from adapters.serving.http.settings import Settings
from adapters.serving.http.token_estimate import characters
from adapters.tasks.base.requests import Request


class RequestParser:
    """Parses requests from JSON, within the bounds of the settings."""

    def __init__(self, settings: Settings) -> None:
        """Args: settings: the bounds."""
        self.settings = settings
        listed: Any = Annotated[list[PredictRequest], Field(min_length=1, max_length=settings.max_texts), FailFast()]
        self.many: TypeAdapter[list[PredictRequest]] = TypeAdapter(listed)
        self.one = TypeAdapter(PredictRequest)
        self.explained = TypeAdapter(ExplainRequest)
        most = settings.max_new_tokens
        length = GenerateRequest.model_fields["max_new_tokens"]
        generated = create_model(
            "GenerateRequest",
            __base__=GenerateRequest,
            __doc__=GenerateRequest.__doc__,
            max_new_tokens=(int, Field(min(64, most), ge=1, le=most, description=length.description)),
        )
        self.generated: TypeAdapter[GenerateRequest] = TypeAdapter(generated)

    def parse_list(self, body: bytes) -> list[Request]:
        """The requests in a body. Raises Refusal."""
        try:
            parsed = self.many.validate_json(body)
        except ValidationError as error:
            raise refusal_of(error, "a list of {adapter, inputs, id?}", body, "requests") from None
        return [self._request(one, number) for number, one in enumerate(parsed)]

    def parse_line(self, line: bytes, number: int) -> Request:
        """The request in a line of a stream. Raises Refusal."""
        try:
            return self._request(self.one.validate_json(line), number)
        except ValidationError as error:
            raise refusal_of(error, "{adapter, inputs, id?}", line, "request") from None

    def parse_generate(self, body: bytes) -> GenerateRequest:
        """The text to continue in a body. Raises Refusal."""
        try:
            parsed = self.generated.validate_json(body)
        except ValidationError as error:
            expected = "{adapter, inputs, id?, max_new_tokens?, …}, as /docs documents it"
            raise refusal_of(error, expected, body) from None
        self._check_single(parsed.request().inputs)
        return parsed

    def parse_explain(self, body: bytes) -> ExplainRequest:
        """The answer to explain in a body. Raises Refusal."""
        try:
            parsed = self.explained.validate_json(body)
        except ValidationError as error:
            expected = "{adapter, inputs, method?, target?, steps?}, as /docs documents it"
            raise refusal_of(error, expected, body) from None
        self._check_single(parsed.inputs)
        return parsed

    def _check_single(self, inputs: Any) -> None:
        """Raises Refusal where the one text of a request is too long."""
        try:
            self.check_length(inputs)
        except TooLongError as error:
            found = f"{characters(inputs):,} characters"
            raise Refusal(413, "characters", str(error), expected="a shorter text", found=found) from None

    def _request(self, parsed: PredictRequest, number: int) -> Request:
        """A request; if its text is too long, its inputs are an exception, which the bank turns into its answer."""
        inputs: Any = parsed.inputs
        try:
            self.check_length(inputs)
        except TooLongError as error:
            inputs = error
        return Request(parsed.adapter, inputs, str(number) if parsed.id is None else parsed.id, parsed.task)

    def check_length(self, inputs: Any) -> None:
        """Raises TooLongError for more characters than the server accepts."""
        size, most = characters(inputs), self.settings.max_characters
        if size > most:
            raise TooLongError(
                f"The text of {size:,} characters is too long: the limit is {most:,}. Split it into paragraphs."
            )
