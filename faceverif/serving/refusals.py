"""Why a request gets no answer: a status and one JSON form for all errors."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

# In the order of the pages; each error has one of these words, which do not change between versions.
Code = Literal[
    "invalid_request",
    "not_found",
    "not_allowed",
    "not_a_photo",
    "photo_too_large",
    "no_face",
    "several_faces",
    "no_embedding",
    "body_too_large",
    "body_too_slow",
    "too_many_requests",
    "busy",
    "internal",
]


class ErrorDetail(BaseModel):
    """What is wrong."""

    code: Code = Field(description="One word for programs.")
    field: str | None = Field(description="The part of the request that is wrong, where it is one part.")
    message: str = Field(description="One sentence for people, with what to do.")


class ErrorAnswer(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


class Refusal(Exception):
    """A request that gets an error as its answer.

    Args:
        status: of HTTP.
        code: one word.
        message: a sentence, with what to do.
        field: of the request.
        retry_s: seconds after which the same request may succeed.
    """

    def __init__(
        self, status: int, code: Code, message: str, *, field: str | None = None, retry_s: float | None = None
    ) -> None:
        self.status, self.code, self.message, self.field, self.retry_s = status, code, message, field, retry_s
        super().__init__(message)

    def response(self) -> JSONResponse:
        """The answer to the client."""
        detail = ErrorDetail(code=self.code, field=self.field, message=self.message)
        headers = {} if self.retry_s is None else {"Retry-After": str(max(1, math.ceil(self.retry_s)))}
        return JSONResponse(ErrorAnswer(error=detail).model_dump(), self.status, headers)


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a path, for its OpenAPI page."""
    return {status: {"model": ErrorAnswer, "description": _MEANINGS[status]} for status in statuses}


_MEANINGS = {
    408: "The body arrived too slowly.",
    413: "The body or a photo is too large.",
    415: "What was sent is not a photo that can be read.",
    422: "The request is incomplete, or a photo shows no face or several, or gets no embedding.",
    429: "This address sends too many requests.",
    503: "Too many requests are waiting.",
}
