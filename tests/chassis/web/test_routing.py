"""Flat routes have every option of the routes that FastAPI made."""

import inspect

from fastapi import APIRouter

from freshly.chassis.web.routing import COPIED

GIVEN_BY_ADD_ROUTES = {"self", "path", "endpoint", "route_class_override"}
# For request bodies that FastAPI parses itself. The middleware of the chassis limits all bodies.
DEFAULTS_ONLY = {"form_limits", "strict_content_type", "max_body_size"}


def test_each_option_of_a_fastapi_route_is_copied_or_left_out_on_purpose():
    options = inspect.signature(APIRouter.add_api_route).parameters.keys()

    assert options == {*COPIED, *GIVEN_BY_ADD_ROUTES, *DEFAULTS_ONLY}
