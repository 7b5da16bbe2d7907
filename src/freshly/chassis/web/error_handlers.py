"""The handlers that turn exceptions into error responses."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as ConnectionPoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from freshly.chassis.errors import (
    OUT_OF_RANGE_ID,
    AppError,
    Conflict,
    JsonExpected,
    NotFound,
    Unavailable,
)
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.resilience.client_disconnect import ClientDisconnected
from freshly.chassis.web.error_responses import error_to_response, internal_error, problem
from freshly.chassis.web.pages import not_found_page, prefers_html
from freshly.chassis.web.validation_messages import sentence

logger = get_logger(__name__)

MAX_ERRORS_IN_DETAIL = 3
# Sentences for the texts of FastAPI and Starlette. The existing app shows what it receives.
FRAMEWORK_TEXTS = {
    "Not Found": "There is nothing at this address.",
    "There was an error parsing the body": "The request body could not be read.",
}
# The status that proxies log when the client has closed the connection. No client receives it.
CLIENT_CLOSED_REQUEST = 499
# Classes of SQLSTATE that a retry can cure: connection exception, transaction rollback,
# insufficient resources, object not in prerequisite state, operator intervention.
TRANSIENT_SQLSTATE_CLASSES = {"08", "40", "53", "55", "57"}
# The server is a standby until it is promoted.
READ_ONLY_TRANSACTION = "25006"
TRANSIENT_SQLITE_ERRORS = (
    "database is locked",
    "database or disk is full",
    "disk I/O error",
    "attempt to write a readonly database",
)


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(AppError, _on_app_error)
    app.add_exception_handler(ClientDisconnected, _on_client_disconnect)
    app.add_exception_handler(HTTPException, _on_framework_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(IntegrityError, _on_constraint_violation)
    app.add_exception_handler(StaleDataError, _on_constraint_violation)
    for cause in (DBAPIError, ConnectionPoolTimeout, ConnectionError, TimeoutError):
        app.add_exception_handler(cause, _on_database_error)


async def error_response(request: Request, error: AppError | RequestValidationError) -> Response:
    """Return the response that the handlers give for this error."""
    handler = _on_app_error if isinstance(error, AppError) else _on_validation_error
    return await handler(request, error)


async def _on_app_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AppError)
    return error_to_response(error)


async def _on_client_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _on_framework_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND and prefers_html(request):
        return not_found_page(request)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return _method_not_allowed(_methods(request)[0])
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    text = str(error.detail)
    return problem(status, code, FRAMEWORK_TEXTS.get(text, text), headers=error.headers)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    methods, is_literal = _methods(request)
    if is_literal and request.method not in methods:
        # DELETE /meals/me also matches /meals/{id}, but "me" is not an id.
        return _method_not_allowed(methods)
    if any(isinstance(e.get("input"), bytes) for e in error.errors()):
        # FastAPI parses a body only if its header says JSON. `curl -d` says that it is a form.
        return error_to_response(JsonExpected())
    found = [_field_error(e) for e in error.errors()]
    if found and all(e["type"] == OUT_OF_RANGE_ID for e in found):
        return error_to_response(NotFound())
    sentences = [e["msg"] for e in found[:MAX_ERRORS_IN_DETAIL]]
    more = len(found) - len(sentences)
    if more:
        sentences.append(
            "There is 1 more error." if more == 1 else f"There are {more} more errors."
        )
    return problem(422, "validation_error", " ".join(sentences), errors=found)


def _field_error(error: Mapping[str, Any]) -> dict[str, Any]:
    location = [_encodable(part) for part in error["loc"]]
    message = sentence({**error, "loc": location})
    return {"loc": location, "msg": message, "type": error["type"]}


def _encodable(part: str | int) -> str | int:
    """Replace lone surrogates: a key of the client's JSON may have them, UTF-8 cannot."""
    return part.encode("utf-8", "replace").decode() if isinstance(part, str) else part


async def _on_constraint_violation(_request: Request, error: Exception) -> JSONResponse:
    """Answer 409: another request changed the rows, and no repository expected that."""
    logger.warning("constraint broken", exc_info=error)
    return error_to_response(Conflict())


async def _on_database_error(_request: Request, error: Exception) -> JSONResponse:
    logger.error("database error", exc_info=error)
    return error_to_response(Unavailable()) if _is_transient(error) else internal_error()


def _is_transient(error: Exception) -> bool:
    """Return True if a retry can succeed.

    No connection, a lock, a deadlock, a timeout or a full disk can pass; an SQL error cannot.
    """
    if not isinstance(error, DBAPIError):
        return True
    text = str(error.orig)
    if error.connection_invalidated or any(known in text for known in TRANSIENT_SQLITE_ERRORS):
        return True
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return state[:2] in TRANSIENT_SQLSTATE_CLASSES or state == READ_ONLY_TRANSACTION


def _method_not_allowed(methods: set[str]) -> JSONResponse:
    allow = {"Allow": ", ".join(sorted(methods))}
    text = "This address does not accept this method."
    return problem(405, "method_not_allowed", text, headers=allow)


def _methods(request: Request) -> tuple[set[str], bool]:
    """Return the methods of the request's path, and True if a route has exactly this path.

    Such a literal route (`/meals/me`) hides routes whose parameters match it too (`/meals/{id}`).
    """
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
