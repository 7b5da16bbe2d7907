"""The description of the API: /openapi.json for programs, /docs for people, without a network."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.responses import FileResponse, HTMLResponse

from freshly.chassis.errors import NotFound, Problem
from freshly.chassis.identity import current_caller
from freshly.chassis.injection import is_made_of

ASSETS = Path(__file__).with_name("swagger")
SERVED = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Ctext y='13' font-size='13'%3E%F0%9F%A5%95%3C/text%3E%3C/svg%3E"
)
METHODS = {"get", "post", "put", "patch", "delete"}
PROBLEM_JSON = "application/problem+json"
FIRST_ERROR = 400
FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")
DESCRIPTION = """\
Every call is known under `/api/v1` too. Errors have one shape, `Problem`, as \
`application/problem+json`; besides the ones that an operation names, any may answer 413 (body too \
large), 429 (too many calls) and 503 (busy; see `Retry-After`). Quantities leave as decimal \
strings; numbers and strings are taken. Sign in with `POST /auth/login` and send the access token \
as `Authorization: Bearer ...`."""

router = APIRouter(tags=["system"])


@router.get("/docs", include_in_schema=False)
async def read_docs() -> HTMLResponse:
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Freshly",
        swagger_js_url="/docs/assets/swagger-ui-bundle.js",
        swagger_css_url="/docs/assets/swagger-ui.css",
        swagger_favicon_url=ICON,
    )


@router.get("/docs/assets/{name}", include_in_schema=False)
async def read_asset(name: str) -> Response:
    if name not in SERVED:
        raise NotFound
    headers = {"Cache-Control": "public, max-age=86400"}
    return FileResponse(ASSETS / name, media_type=SERVED[name], headers=headers)


def operation_id(route: APIRoute) -> str:
    """What generated clients call the operation: `pantry_add_item`."""
    tag = str(route.tags[0]) if route.tags else "system"
    return f"{tag.replace(' ', '_')}_{route.name}"


def describe(app: FastAPI, tags: Mapping[str, str], examples: Mapping[str, Any]) -> None:
    """Gives the app its document; `examples` are by the name of the schema of a request body."""
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(_document(app, tags, examples))
        return made

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def _document(app: FastAPI, tags: Mapping[str, str], examples: Mapping[str, Any]) -> dict[str, Any]:
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
    for name, example in examples.items():
        schemas[name]["examples"] = [example]
    closed = set(_signed_in(app))
    for path, method, operation in _operations(document):
        if (path, method) in closed:
            operation["security"] = [{"bearer": []}]
        _describe_errors(operation["responses"])
    return document


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in METHODS:
                yield path, method, operation


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
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        if dependant is not None and _asks(dependant, current_caller):
            for method in route.methods or ():
                yield str(route.path), method.lower()


def _asks(dependant: Any, call: Callable[..., Any]) -> bool:
    return is_made_of(dependant.call, call) or any(
        _asks(one, call) for one in dependant.dependencies
    )
