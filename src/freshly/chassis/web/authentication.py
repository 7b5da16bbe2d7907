"""Authentication of requests, ahead of rate limits and endpoints."""

from starlette.types import ASGIApp, Receive, Scope, Send

from freshly.chassis.data.admission import route_group
from freshly.chassis.data.transactions import request_database
from freshly.chassis.observability.request_facts import request_facts
from freshly.chassis.resources import Resources
from freshly.chassis.security.caller import Caller, authenticate


class AuthenticationMiddleware:
    """Puts the caller into `state["caller"]`, or the error that kept it from being known.

    It runs before the body is read, so a request with an unreadable body, or for a path that does
    not exist, is counted against its user too. An endpoint that needs a user raises the error.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            state = scope["state"]
            state["route_group"] = route_group(scope["path"])
            state["caller"] = await _caller(scope, state["resources"])
            if (facts := request_facts.get()) is not None:
                facts.cache = None  # the log tells the cache of the response, not of the caller
        await self.app(scope, receive, send)


async def _caller(scope: Scope, resources: Resources) -> Caller | Exception | None:
    """Return the caller, None without an `Authorization` header, or why there is no caller."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            try:
                text = value.decode("latin-1")
                db = request_database(scope["state"])
                return await authenticate(resources.identity, db, text)
            except Exception as error:  # noqa: BLE001 - `current_caller` raises it
                return error
    return None
