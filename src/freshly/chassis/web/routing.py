"""The routes of all routers, and a short way to the one that is asked for."""

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter, params
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from freshly.chassis.data.admission import route_group
from freshly.chassis.dependencies import asks_for, without_framework
from freshly.chassis.web.preconditions import Route

COPIED = (
    *("response_model", "status_code", "tags", "summary", "description", "response_description"),
    *("deprecated", "methods", "operation_id", "response_model_include", "response_model_exclude"),
    *("response_model_by_alias", "response_model_exclude_unset", "response_model_exclude_defaults"),
    *("response_model_exclude_none", "include_in_schema", "response_class", "name", "callbacks"),
    *("openapi_extra", "generate_unique_id_function", "dependencies", "responses"),
)


def add_routes(
    to: APIRouter,
    router: APIRouter,
    *,
    dependencies: Sequence[params.Depends] = (),
    responses: dict[int | str, dict[str, Any]] | None = None,
) -> None:
    """The routes of a router, as they are, to another one.

    The framework's `include_router` keeps routers within routers, and looks through all of them,
    level by level, for each request: with ours that takes longer than a cached answer.
    """
    for route in router.routes:
        assert isinstance(route, APIRoute), route
        options = {name: getattr(route, name) for name in COPIED}
        # What the endpoint asks for by itself need not be asked for twice.
        added = [one for one in dependencies if not asks_for(route.endpoint, one.dependency)]
        options["dependencies"] = [*added, *options["dependencies"]]
        options["responses"] = {**(responses or {}), **options["responses"]}
        to.add_api_route(route.path, route.endpoint, route_class_override=Route, **options)
        direct = without_framework(route.endpoint)
        if direct is not None and route.methods == {"GET"} and not options["dependencies"]:
            made = to.routes[-1]
            assert isinstance(made, APIRoute), made
            made.app = direct


class BySection:
    """Looks for a route only among those whose path begins with the same word."""

    def __init__(self, routes: Iterable[BaseRoute], otherwise: ASGIApp) -> None:
        self.otherwise = otherwise
        sections: dict[str, list[BaseRoute]] = {}
        for route in routes:
            sections.setdefault(route_group(getattr(route, "path", "/")), []).append(route)
        self.sections = {
            name: APIRouter(routes=found, redirect_slashes=False)
            for name, found in sections.items()
            if "{" not in name
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        section = self.sections.get(route_group(scope["path"])) if scope["type"] == "http" else None
        await (section.app if section else self.otherwise)(scope, receive, send)
