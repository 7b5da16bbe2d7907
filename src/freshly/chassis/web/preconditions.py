"""`If-Match`: a write succeeds only if the resource has the ETag that the client names.

The resource of a write is the nearest path at or above its own that has a GET: `PUT
/meal-plans/1/slots/0/dinner` changes `GET /meal-plans/1/slots`. The ETag of that GET is computed
within the write's own transaction, just before its first change. By then the write holds the locks
under which it changes rows.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.util import await_only
from starlette.responses import StreamingResponse
from starlette.routing import BaseRoute
from starlette.types import Message

from freshly.chassis.cache.body import etag_of
from freshly.chassis.data.transactions import (
    ON_TRANSACTION_START,
    TransactionReader,
    request_session,
)
from freshly.chassis.errors import Unavailable
from freshly.chassis.web.etags import PreconditionFailed, is_one_of, with_etag
from freshly.chassis.web.idempotency import with_idempotency

Handler = Callable[[Request], Awaitable[Response]]
OK, CREATED, FIRST_ERROR, FIRST_SERVER_ERROR = 200, 201, 300, 500


class Route(APIRoute):
    """A route of the API. `link_resources` finds its resource when all routes are known."""

    signed_in = False  # only signed-in users may call it

    resource: "Route | None" = None  # the GET of what a write changes
    created: "Route | None" = None  # the GET of what a POST creates
    shows_resource = False  # the response of a write shows the resource, in another form
    returns_resource = False  # ... in the same form as the GET

    @property
    def method(self) -> str:
        assert self.methods is not None
        [method] = self.methods
        return method

    @property
    def sends_etag(self) -> bool:
        """True if the response has an ETag."""
        return self.signed_in and (
            self.method == "GET" or self.shows_resource or self.returns_resource
        )

    def get_route_handler(self) -> Any:
        handler: Handler = super().get_route_handler()
        if self.signed_in:
            handler = self._read(handler) if self.method == "GET" else self._write(handler)
        if self.method != "POST":
            return handler
        one_transaction = _uses_request_session(self.dependant)
        return with_idempotency(
            handler, self.path, signed_in=self.signed_in, one_transaction=one_transaction
        )

    def _read(self, handler: Handler) -> Handler:
        async def read(request: Request) -> Response:
            response = await handler(request)
            if isinstance(response, StreamingResponse):  # its body is not known yet
                return response
            if response.status_code != OK or any(n == b"etag" for n, _ in response.raw_headers):
                return response
            return with_etag(response, request)

        return read

    def _write(self, handler: Handler) -> Handler:
        async def write(request: Request) -> Response:
            wanted = request.headers.get("If-Match") if self.resource else None
            if wanted is None and not self.shows_resource:
                response = await handler(request)
            else:
                response = await self._conditional(request, handler, wanted)
            if self.returns_resource and response.status_code < FIRST_ERROR:
                response.headers["ETag"] = f'"{etag_of(bytes(response.body))}"'
            return response

        return write

    async def _conditional(
        self, request: Request, handler: Handler, wanted: str | None
    ) -> Response:
        work = _ConditionalWrite(self, request, wanted)
        request.scope[ON_TRANSACTION_START] = (
            *request.scope.get(ON_TRANSACTION_START, ()),
            work.begin,
        )
        response = await handler(request)
        await work.end()
        if self.shows_resource:
            tag = await work.tag_after(response)
            if tag is not None:
                response.headers["ETag"] = tag
        return response


class SignedInRoute(Route):
    """A route that only signed-in users may call."""

    signed_in = True


def _uses_request_session(dependant: Dependant) -> bool:
    """Return whether the endpoint works in the one transaction of the request."""
    return dependant.call is request_session or any(
        map(_uses_request_session, dependant.dependencies)
    )


class _ConditionalWrite:
    """A write with a precondition, or whose response needs the ETag of the resource."""

    def __init__(self, route: Route, request: Request, wanted: str | None) -> None:
        self.route = route
        self.request = request
        self.wanted = wanted
        self.session: AsyncSession | None = None

    async def begin(self, session: AsyncSession) -> None:
        self.session = session
        if self.wanted is not None:
            event.listen(session.sync_session, "before_flush", self._before_flush)
            event.listen(session.sync_session, "do_orm_execute", self._before_statement)

    async def end(self) -> None:
        assert self.session is not None, f"{self.route.path} has no transaction"
        await self.session.flush()
        await self._compare()  # in case the write has changed nothing

    def _before_flush(self, *_: Any) -> None:
        if self.wanted is not None:
            await_only(self._compare())

    def _before_statement(self, statement: Any) -> None:
        if self.wanted is not None and not statement.is_select:
            await_only(self._compare())

    async def _compare(self) -> None:
        wanted, self.wanted = self.wanted, None
        if wanted is None:
            return
        tag = await self._tag(self.route.resource, self.request.path_params)
        if not is_one_of(tag, wanted):
            raise PreconditionFailed

    async def tag_after(self, response: Response) -> str | None:
        if response.status_code == CREATED and self.route.created is not None:
            return await self._tag(
                self.route.created, {"id": json.loads(bytes(response.body))["id"]}
            )
        return await self._tag(self.route.resource, self.request.path_params)

    async def _tag(self, resource: Route | None, path_params: dict[str, Any]) -> str | None:
        """Return the ETag that the GET would send now, in this transaction.

        Return None if the GET would refuse. Raises Unavailable if the GET fails, because then the
        transaction is broken.
        """
        assert resource is not None
        assert self.session is not None
        outer = self.request.scope
        scope = {
            **outer,
            "method": "GET",
            "query_string": b"",
            "path_params": path_params,
            "headers": [one for one in outer["headers"] if one[0] != b"if-none-match"],
            "state": {**outer["state"], "reader": TransactionReader(self.session)},
            ON_TRANSACTION_START: (),
        }
        start: Message = {}

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)

        await resource.app(scope, receive, send)
        if start["status"] >= FIRST_SERVER_ERROR:
            raise Unavailable
        tags = [value.decode() for name, value in start["headers"] if name == b"etag"]
        return tags[0] if tags and start["status"] == OK else None


def link_resources(routes: Iterable[BaseRoute]) -> None:
    """Set the resource of each write."""
    own = [route for route in routes if isinstance(route, Route)]
    reads = {route.path: route for route in own if route.method == "GET" and _is_one(route)}
    writes = [route for route in own if route.method != "GET"]
    models = {id(route.response_model) for route in reads.values() if route.response_model}
    forms = set()
    for route in writes:
        route.resource = next(filter(None, map(reads.get, _upwards(route.path))), None)
        route.created = reads.get(f"{route.path.removesuffix('/me')}/{{id}}")
        route.returns_resource = id(route.response_model) in models
        if route.method in ("PATCH", "PUT") and route.resource is not None:
            forms.add((route.resource.path, id(route.response_model)))
    for route in writes:
        shown = route.created if route.status_code == CREATED and route.created else route.resource
        route.shows_resource = (
            shown is not None
            and route.method != "DELETE"
            and not route.returns_resource
            and (shown.path, id(route.response_model)) in forms
        )


def _is_one(route: Route) -> bool:
    """Return whether the route reads one resource, not a list of what a user has."""
    listed = getattr(route.response_model, "__origin__", None) is list
    return route.signed_in and ("{" in route.path or not listed)


def _upwards(path: str) -> Iterable[str]:
    """Yield the path and its parents. `/meals/me/{id}` counts as `/meals/{id}`."""
    path = path.replace("/me/", "/")
    while path:
        yield path
        path = path.rpartition("/")[0]
