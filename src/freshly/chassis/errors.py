"""What can go wrong, in one shape.

Domains raise subclasses of AppError that they declare in their `errors.py`. Every error answer,
the framework's own included, is `application/problem+json` (RFC 9457) with the members that the
existing app reads besides: `error`, `message`, `status_code`, `correlation_id`.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from freshly.chassis.observability.logging import correlation_id, get_logger
from freshly.chassis.resilience.client_disconnect import ClientDisconnected

logger = get_logger(__name__)

OUT_OF_RANGE_ID = "id_out_of_range"
MOST_ERRORS_TOLD = 3
CLIENT_LEFT = 499  # as proxies have it; nobody reads the answer
# Of PostgreSQL's errors: connection, rollback, resources, not in this state, operator.
PASSING_CLASSES = {"08", "40", "53", "55", "57"}
READ_ONLY = "25006"  # it is a standby, until it is told otherwise
PASSING_OF_SQLITE = (
    "database is locked",
    "database or disk is full",
    "disk I/O error",
    "attempt to write a readonly database",
)


class AppError(Exception):
    """One thing that can go wrong. `detail` may have fields: `"Only {left} {unit} left."`."""

    status: ClassVar[int]
    code: ClassVar[str]
    detail: ClassVar[str]
    headers: Mapping[str, str] = {}
    members: Mapping[str, Any] | None = None  # of the body, in place of the standard ones
    # The existing app reads `error.error` of meals and shares.
    nested: ClassVar[bool] = False
    # A refusal that is itself a fact (a replayed token, a wrong code) keeps what it wrote.
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
    status, code, detail = 404, "not_found", "Not found"


class Conflict(AppError):
    status, code, detail = 409, "conflict", "Somebody else changed this just now. Try again."


class Unprocessable(AppError):
    status = 422


class Unavailable(AppError):
    status, code = 503, "unavailable"
    detail = "The service is busy or its database is away. Try again in a moment."
    headers = {"Retry-After": "2"}


class BadGateway(AppError):
    status = 502


class FieldError(BaseModel):
    loc: list[str | int] = Field(examples=[["body", "quantity"]])
    msg: str = Field(examples=["Input should be greater than or equal to 0"])
    type: str = Field(examples=["greater_than_equal"])


class Problem(BaseModel):
    """Every error answer."""

    type: str = Field(examples=["urn:freshly:problem:not_found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["Not found"])
    message: str = Field(description="The same as `detail`.")
    code: str = Field(examples=["not_found"], description="Stable; for programs.")
    correlation_id: str = Field(examples=["9f86d081"])
    error: str | dict[str, Any] = Field(description="As `detail`; an object where documented.")
    status_code: int = Field(examples=[404])
    errors: list[FieldError] | None = Field(default=None, description="On 422 only.")


def problems(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may answer these errors."""
    texts: dict[int, list[str]] = {}
    for error in errors:
        texts.setdefault(error.status, []).append(f"{error.detail} (`{error.code}`)")
    return {
        status: {"model": Problem, "description": "; ".join(details)}
        for status, details in sorted(texts.items())
    }


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
    """One error answer; `members` are extension members, or replace standard ones."""
    body = _body(status, code, detail, nested=nested)
    if errors is not None:
        body["errors"] = errors
    return JSONResponse(
        {**body, **(members or {})},
        status,
        headers=dict(headers or {}),
        media_type="application/problem+json",
    )


def described(error: AppError) -> Problem:
    """The body of an error answer, for where there is no answer of its own: in a stream."""
    return Problem(**_body(error.status, error.code, error.text, nested=error.nested))


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


def answer(error: AppError) -> JSONResponse:
    return problem(
        error.status,
        error.code,
        error.text,
        headers=error.headers,
        nested=error.nested,
        members=error.members,
    )


def internal_error() -> JSONResponse:
    """What a caller learns of a bug: the correlation id. The rest is in the log."""
    return problem(500, "internal_error", "Internal server error")


async def _on_app_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AppError)
    return answer(error)


async def _on_client_left(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


async def _on_framework_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return _method_not_allowed(_methods(request)[0])
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    return problem(status, code, str(error.detail), headers=error.headers)


def _method_not_allowed(methods: set[str]) -> JSONResponse:
    allow = {"Allow": ", ".join(sorted(methods))}
    return problem(405, "method_not_allowed", "Method Not Allowed", headers=allow)


def _methods(request: Request) -> tuple[set[str], bool]:
    """What is known at this path, and whether by a route of exactly these words."""
    path = request.scope["path"]
    literal: set[str] = set()
    matching: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        template = route.path or ""
        if template == path:
            literal |= set(route.methods or ())
        elif compile_path(template)[0].match(path):
            matching |= set(route.methods or ())
    return literal or matching, bool(literal)


async def _on_bad_input(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    methods, literally = _methods(request)
    if literally and request.method not in methods:
        # DELETE /meals/me is not about a meal whose id is "me".
        return _method_not_allowed(methods)
    found = [
        {"loc": [_sendable(part) for part in e["loc"]], "msg": e["msg"], "type": e["type"]}
        for e in error.errors()
    ]
    if found and all(e["type"] == OUT_OF_RANGE_ID for e in found):
        return answer(NotFound())
    told = [_sentence(e["loc"], e["msg"]) for e in found[:MOST_ERRORS_TOLD]]
    if len(found) > MOST_ERRORS_TOLD:
        told.append(f"and {len(found) - MOST_ERRORS_TOLD} more")
    return problem(422, "validation_error", "; ".join(told), errors=found)


def _sendable(part: str | int) -> str | int:
    """A key of the caller's JSON may hold half a surrogate pair, which UTF-8 cannot carry."""
    return part.encode("utf-8", "replace").decode() if isinstance(part, str) else part


def _sentence(location: Sequence[str | int], message: str) -> str:
    place = ".".join(str(part) for part in location[1:])
    text = message.removeprefix("Value error, ")
    return f"{place}: {text}" if place else text


async def _on_broken_constraint(_request: Request, error: Exception) -> JSONResponse:
    """A rule of the database that no repository foresaw, such as a row that went meanwhile."""
    logger.warning("constraint broken", exc_info=error)
    return answer(Conflict())


async def _on_database_error(_request: Request, error: Exception) -> JSONResponse:
    logger.error("database error", exc_info=error)
    return answer(Unavailable()) if _is_passing(error) else internal_error()


def _is_passing(error: Exception) -> bool:
    """Does trying again later help: no connection, a lock, a deadlock, a time limit, no room?"""
    if not isinstance(error, DBAPIError):
        return True
    if error.connection_invalidated or any(text in str(error.orig) for text in PASSING_OF_SQLITE):
        return True
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return state[:2] in PASSING_CLASSES or state == READ_ONLY


async def refusal(request: Request, error: AppError | RequestValidationError) -> JSONResponse:
    """The answer that the error becomes."""
    handler = _on_app_error if isinstance(error, AppError) else _on_bad_input
    return await handler(request, error)


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(AppError, _on_app_error)
    app.add_exception_handler(ClientDisconnected, _on_client_left)
    app.add_exception_handler(HTTPException, _on_framework_error)
    app.add_exception_handler(RequestValidationError, _on_bad_input)
    app.add_exception_handler(IntegrityError, _on_broken_constraint)
    app.add_exception_handler(StaleDataError, _on_broken_constraint)
    for cause in (DBAPIError, NoConnectionLeft, ConnectionError, TimeoutError):
        app.add_exception_handler(cause, _on_database_error)
