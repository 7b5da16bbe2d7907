"""Error responses in the one shape that all errors have."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from freshly.chassis.errors import AppError, Problem
from freshly.chassis.observability.logging import correlation_id


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    nested: bool = False,
    errors: Sequence[Mapping[str, Any]] | None = None,
    members: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """Return an error response. `members` replace standard members of the body or extend it."""
    body = _body(status, code, detail, nested=nested)
    if errors is not None:
        body["errors"] = errors
    return JSONResponse(
        {**body, **(members or {})},
        status,
        headers=dict(headers or {}),
        media_type="application/problem+json",
    )


def error_to_response(error: AppError) -> JSONResponse:
    """Return the response for the error."""
    return problem(
        error.status,
        error.code,
        error.text,
        headers=error.headers,
        nested=error.nested,
        members=error.members,
    )


def described(error: AppError) -> Problem:
    """Return the body alone, for an error in a stream, whose status is already sent."""
    return Problem(**_body(error.status, error.code, error.text, nested=error.nested))


def internal_error() -> JSONResponse:
    """Return the response for a bug. It tells the correlation id only; the log has the rest."""
    return problem(500, "internal_error", "Internal server error")


def _body(status: int, code: str, detail: str, *, nested: bool) -> dict[str, Any]:
    return {
        "type": f"urn:freshly:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "message": detail,
        "code": code,
        "correlation_id": correlation_id.get(),
        "error": {"error": detail} if nested else detail,
        "status_code": status,
    }
