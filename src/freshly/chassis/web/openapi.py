"""The OpenAPI document: what FastAPI derives from the routes, and what only Freshly knows.

FastAPI does not see headers that no endpoint takes (Idempotency-Key, If-Match, ETag), nor the one
shape of all error responses.
"""

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
FASTAPI_SCHEMAS = ("HTTPValidationError", "ValidationError")  # replaced by Problem
# Generated clients contain the names of schemas. A class that is renamed keeps its name there.
NAMES_OF_CLIENTS = {"ActivityKind": "Happened"}
DESCRIPTION = """\
All paths but those of the system also work under `/api/v1`.

**Sign in** with `POST /auth/login` and send the access token as `Authorization: Bearer ...`.

**Errors** have one shape, `Problem`, with the media type `application/problem+json`. Besides the \
errors that an operation lists, any operation can return 413 (body too large), 429 (too many \
requests) and 503 (busy; wait for the seconds in `Retry-After`).

**Quotas**: a write that stores more than a user or a family may store returns 403 with the code \
`quota_exceeded`, and names the `quota` and its `limit`. `GET /users/me/usage` tells what is used.

**Quantities** are decimal strings in responses. Requests may send strings or numbers.

**Concurrent changes**: a resource that you can read has an `ETag`; a write with `If-Match` \
succeeds only if the resource has not changed.

**Retries**: you can send a POST with an `Idempotency-Key` again. It runs once; a retry gets the \
first response, with `Idempotency-Replayed: true`."""
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A key of your choice. Within 24 hours, a retry with the same key gets the "
    "first response.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-~]+$"},
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` that you have. The response is 304 if it is still current.",
    "schema": {"type": "string"},
}
KEY_REFUSED = "The Idempotency-Key is malformed, or was used for another request"
ETAG = {"ETag": {"description": "The version of the resource.", "schema": {"type": "string"}}}
NOT_MODIFIED = {"description": "Unchanged since the ETag in `If-None-Match`", "headers": ETAG}


def operation_id(route: APIRoute) -> str:
    """Return the name of the operation in generated clients, such as `pantry_add_item`."""
    tag = str(route.tags[0]) if route.tags else "system"
    return f"{tag.replace(' ', '_')}_{route.name}"


def describe(app: FastAPI, tags: Mapping[str, str], base_path: str) -> None:
    """Make `app.openapi()` return our document.

    `tags` maps each tag to its description, `base_path` is the path of PUBLIC_URL.
    """
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(_document(app, tags, base_path))
        return made

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def _document(app: FastAPI, tags: Mapping[str, str], base_path: str) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=DESCRIPTION,
        routes=app.routes,
        servers=[{"url": base_path or "/"}],
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
    for name in FASTAPI_SCHEMAS:
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
    """Add the headers that FastAPI does not see, because no endpoint takes them."""
    parameters, responses = operation.setdefault("parameters", []), operation["responses"]
    if route.method == "POST":
        parameters.append(KEY)
        responses.setdefault("422", {"description": KEY_REFUSED})
    if route.resource is not None:
        about = f"The `ETag` of `GET {route.resource.path}`, or `*` for any version."
        one = {"name": "If-Match", "in": "header", "required": False, "description": about}
        parameters.append({**one, "schema": {"type": "string"}})
        refused = f"{PreconditionFailed.detail} (`{PreconditionFailed.code}`)"
        responses["412"] = {"description": refused}
    if route.sends_etag:
        done = next(code for code in responses if code.startswith("2"))
        responses[done]["headers"] = {**responses[done].get("headers", {}), **ETAG}
        if route.method == "GET":
            parameters.append(IF_NONE_MATCH)
            responses["304"] = NOT_MODIFIED
    if not parameters:
        del operation["parameters"]


def _describe_errors(responses: dict[str, Any]) -> None:
    """Give all error responses the shape of Problem, FastAPI's own and the default included."""
    responses["default"] = {"description": "Any other error"}
    for status, response in responses.items():
        if status != "default" and int(status) < FIRST_ERROR:
            continue
        if status == "422" and "Validation" in str(response.get("description")):
            response["description"] = "The request is not valid (`validation_error`)"
        response["content"] = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _signed_in(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        if isinstance(route, Route) and route.signed_in:
            yield route.path_format, route.method.lower()
