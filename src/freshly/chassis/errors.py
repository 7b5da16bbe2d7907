"""The errors of the application, and the body of an error response.

Domains raise subclasses of AppError that they declare in their `errors.py`. `web/error_handlers`
turns them into responses. Each error response, also one of FastAPI itself, is an
`application/problem+json` document (RFC 9457) with four more members that the existing app reads:
`error`, `message`, `status_code` and `correlation_id`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, Field

# The type of the validation error of an id that fits no column. Such an id is a 404.
OUT_OF_RANGE_ID = "id_out_of_range"


class AppError(Exception):
    """An error that a client can be told about.

    `detail` is a sentence for a person. It may have placeholders, such as "Only {left} left.",
    which the keyword arguments of the constructor fill in.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    detail: ClassVar[str]
    headers: Mapping[str, str] = {}
    # Members of the body that replace the standard ones or are added to them.
    members: Mapping[str, Any] | None = None
    # The existing app reads `error.error` in responses about meals and shares.
    nested: ClassVar[bool] = False
    # Commit the transaction although the request failed, for errors that leave a trace:
    # a replayed refresh token ends its session, a wrong code counts as an attempt.
    commit_on_error: ClassVar[bool] = False

    def __init__(self, **facts: object) -> None:
        self.text = self.detail.format(**facts)
        super().__init__(self.text)


class BadRequest(AppError):
    status = 400


class Unauthenticated(AppError):
    status, code, detail = 401, "not_authenticated", "Not authenticated"
    headers = {"WWW-Authenticate": "Bearer"}


class Forbidden(AppError):
    status, code, detail = 403, "forbidden", "Insufficient permissions"


class NotFound(AppError):
    status, code, detail = 404, "not_found", "This was not found. It may have been deleted."


class Conflict(AppError):
    status, code = 409, "conflict"
    detail = "This was changed by another request at the same time. Please try again."


class JsonExpected(AppError):
    status, code = 415, "json_expected"
    detail = "Please send the body as JSON, with the header Content-Type: application/json."


class Unprocessable(AppError):
    status = 422


class Unavailable(AppError):
    status, code = 503, "unavailable"
    detail = "The service is busy right now. Please try again in a moment."
    headers = {"Retry-After": "2"}


class BadGateway(AppError):
    status = 502


class FieldError(BaseModel):
    loc: list[str | int] = Field(examples=[["body", "quantity"]])
    msg: str = Field(examples=["Quantity must be at least 0."])
    type: str = Field(examples=["greater_than_equal"])


class Problem(BaseModel):
    """The body of every error response."""

    type: str = Field(examples=["urn:freshly:problem:not_found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["Not found"])
    message: str = Field(description="The same as `detail`.")
    code: str = Field(examples=["not_found"], description="A stable name, for programs.")
    correlation_id: str = Field(examples=["4bf92f3577b34da6a3ce929d0e0e4736"])
    error: str | dict[str, Any] = Field(description="As `detail`; an object where documented.")
    status_code: int = Field(examples=[404])
    errors: list[FieldError] | None = Field(default=None, description="On 422 only.")


def problems(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses=` of a route that may answer with these errors."""
    texts: dict[int, list[str]] = {}
    for error in errors:
        texts.setdefault(error.status, []).append(f"{error.detail} (`{error.code}`)")
    return {
        status: {"model": Problem, "description": "; ".join(details)}
        for status, details in sorted(texts.items())
    }
