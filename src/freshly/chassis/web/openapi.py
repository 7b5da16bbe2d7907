"""The OpenAPI document: what FastAPI derives from the routes, and what only Freshly knows."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from freshly.chassis.errors import Problem
from freshly.chassis.web.etags import PreconditionFailed
from freshly.chassis.web.preconditions import Route

METHODS = {"get", "post", "put", "patch", "delete"}
PROBLEM_JSON = "application/problem+json"
FIRST_ERROR = 400
FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")
# Generated clients contain the names of schemas. A class that is renamed keeps its name there.
NAMES_OF_CLIENTS = {"ActivityKind": "Happened"}
DESCRIPTION = """\
Every call is known under `/api/v1` too. Errors have one shape, `Problem`, as \
`application/problem+json`; besides the ones that an operation names, any may answer 413 (body too \
large), 429 (too many calls) and 503 (busy; see `Retry-After`). Quantities leave as decimal \
strings; numbers and strings are taken. Sign in with `POST /auth/login` and send the access token \
as `Authorization: Bearer ...`. What can be read has an `ETag`; a write that says `If-Match` is \
done only while that is how things are. A POST with an `Idempotency-Key` can be sent again: the \
first answer comes again, with `Idempotency-Replayed: true`."""
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Sent again with it within 24 hours, the same request is answered the same.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-~]+$"},
}
KEY_REFUSED = "Idempotency-Key: cannot be one, or was sent with another request"
ETAG = {"ETag": {"description": "Names this state.", "schema": {"type": "string"}}}
NOT_MODIFIED = {"description": "It is as `If-None-Match` has it", "headers": ETAG}


def operation_id(route: APIRoute) -> str:
    """What generated clients call the operation: `pantry_add_item`."""
    tag = str(route.tags[0]) if route.tags else "system"
    return f"{tag.replace(' ', '_')}_{route.name}"


def describe(app: FastAPI, tags: Mapping[str, str]) -> None:
    """Make `app.openapi()` return our document; `tags` maps each tag to its description."""
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(_document(app, tags))
        return made

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def _document(app: FastAPI, tags: Mapping[str, str]) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": about} for name, about in tags.items()],
    )
    components = document["components"]
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    schemas = components["schemas"]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    for name in FRAMEWORKS_OWN:
        schemas.pop(name, None)
    closed = set(_signed_in(app))
    routes = [route for route in app.routes if isinstance(route, Route)]
    ours = {(route.path_format, route.method.lower()): route for route in routes}
    for path, method, operation in _operations(document):
        if (path, method) in closed:
            operation["security"] = [{"bearer": []}]
        if (path, method) in ours:
            _describe_headers(ours[path, method], operation)
        _describe_errors(operation["responses"])
    return _with_names_of_clients(document)


def _with_names_of_clients(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with the names of NAMES_OF_CLIENTS as keys, titles and references."""
    schemas = document["components"]["schemas"]
    for ours, theirs in NAMES_OF_CLIENTS.items():
        schemas[theirs] = {**schemas.pop(ours), "title": theirs}
    document["components"]["schemas"] = dict(sorted(schemas.items()))

    text = json.dumps(document)
    for ours, theirs in NAMES_OF_CLIENTS.items():
        text = text.replace(f'"#/components/schemas/{ours}"', f'"#/components/schemas/{theirs}"')
    result: dict[str, Any] = json.loads(text)
    return result


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in METHODS:
                yield path, method, operation


def _describe_headers(route: Route, operation: dict[str, Any]) -> None:
    """Those that the framework does not see, because no endpoint asks for them."""
    parameters, responses = operation.setdefault("parameters", []), operation["responses"]
    if route.method == "POST":
        parameters.append(KEY)
        responses.setdefault("422", {"description": KEY_REFUSED})
    if route.resource is not None:
        about = f"An `ETag` of `GET {route.resource.path}`; or `*` for any."
        one = {"name": "If-Match", "in": "header", "required": False, "description": about}
        parameters.append({**one, "schema": {"type": "string"}})
        refused = f"{PreconditionFailed.detail} (`{PreconditionFailed.code}`)"
        responses["412"] = {"description": refused}
    if route.sends_etag:
        done = next(code for code in responses if code.startswith("2"))
        responses[done]["headers"] = {**responses[done].get("headers", {}), **ETAG}
        if route.method == "GET":
            responses["304"] = NOT_MODIFIED
    if not parameters:
        del operation["parameters"]


def _describe_errors(responses: dict[str, Any]) -> None:
    """One shape for all, the framework's own and those that any operation may give included."""
    responses["default"] = {"description": "Any other error"}
    for status, response in responses.items():
        if status != "default" and int(status) < FIRST_ERROR:
            continue
        if status == "422" and "Validation" in str(response.get("description")):
            response["description"] = "What was sent makes no sense (`validation_error`)"
        response["content"] = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _signed_in(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        if isinstance(route, Route) and route.signed_in:
            yield route.path_format, route.method.lower()
