"""`If-Match`: a write succeeds only if the resource has the ETag that the client names.

The resource of a write is the nearest path at or above its own that has a GET: `PUT
/meal-plans/1/slots/0/dinner` changes `GET /meal-plans/1/slots`. The ETag of that GET is computed
within the write's own transaction, just before its first change. At that point the write has
already locked its rows, so the ETag cannot change. A check before the transaction would let two
writes with one ETag both pass.
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
OK, CREATED, FIRST_NON_SUCCESS, FIRST_SERVER_ERROR = 200, 201, 300, 500


class Route(APIRoute):
    """A route of the API. `link_resources` finds its resource when all routes are known."""

    signed_in = False  # only signed-in users may call it

    resource: "Route | None" = None  # the GET of what a write changes
    created: "Route | None" = None  # the GET of what a POST creates
    shows_resource = False  # the response of a write is another representation than the GET's
    returns_resource = False  # the response of a write is the same representation as the GET's

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
            if_match = request.headers.get("If-Match") if self.resource else None
            if if_match is None and not self.shows_resource:
                response = await handler(request)
            else:
                response = await self._conditional(request, handler, if_match)
            if self.returns_resource and response.status_code < FIRST_NON_SUCCESS:
                response.headers["ETag"] = f'"{etag_of(bytes(response.body))}"'
            return response

        return write

    async def _conditional(
        self, request: Request, handler: Handler, if_match: str | None
    ) -> Response:
        write = _ConditionalWrite(self, request, if_match)
        request.scope[ON_TRANSACTION_START] = (
            *request.scope.get(ON_TRANSACTION_START, ()),
            write.begin,
        )
        response = await handler(request)
        await write.end()
        if self.shows_resource:
            etag = await write.etag_after(response)
            if etag is not None:
                response.headers["ETag"] = etag
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

    def __init__(self, route: Route, request: Request, if_match: str | None) -> None:
        self.route = route
        self.request = request
        self.if_match = if_match  # None once it was compared
        self.session: AsyncSession | None = None

    async def begin(self, session: AsyncSession) -> None:
        self.session = session
        if self.if_match is not None:
            event.listen(session.sync_session, "before_flush", self._before_flush)
            event.listen(session.sync_session, "do_orm_execute", self._before_statement)

    async def end(self) -> None:
        assert self.session is not None, f"{self.route.path} has no transaction"
        await self.session.flush()
        await self._compare()  # in case the write has changed nothing

    def _before_flush(self, *_: Any) -> None:
        if self.if_match is not None:
            await_only(self._compare())

    def _before_statement(self, statement: Any) -> None:
        if self.if_match is not None and not statement.is_select:
            await_only(self._compare())

    async def _compare(self) -> None:
        if_match, self.if_match = self.if_match, None
        if if_match is None:
            return
        etag = await self._current_etag(self.route.resource, self.request.path_params)
        if not is_one_of(etag, if_match):
            raise PreconditionFailed

    async def etag_after(self, response: Response) -> str | None:
        if response.status_code == CREATED and self.route.created is not None:
            created_id = json.loads(bytes(response.body))["id"]
            return await self._current_etag(self.route.created, {"id": created_id})
        return await self._current_etag(self.route.resource, self.request.path_params)

    async def _current_etag(
        self, resource: Route | None, path_params: dict[str, Any]
    ) -> str | None:
        """Return the ETag that the GET would send now, in this transaction.

        Return None if the GET does not answer 200. Raise Unavailable if it fails, because then the
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
            "headers": [header for header in outer["headers"] if header[0] != b"if-none-match"],
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
        etags = [value.decode() for name, value in start["headers"] if name == b"etag"]
        return etags[0] if etags and start["status"] == OK else None


def link_resources(routes: Iterable[BaseRoute]) -> None:
    """Find the GETs that belong to each write, and whether its response shows what they show.

    `PATCH /meals/{id}` answers the same model as `GET /meals/{id}`, so it returns the resource.
    `PATCH /families/{id}` answers another model. So it shows the resource, and so does each other
    write of that resource with the model of its PATCH.
    """
    own = [route for route in routes if isinstance(route, Route)]
    reads = {route.path: route for route in own if _can_be_resource(route)}
    writes = [route for route in own if route.method != "GET"]
    models = {id(route.response_model) for route in reads.values() if route.response_model}
    representations = set()
    for route in writes:
        route.resource = next(filter(None, map(reads.get, _upwards(route.path))), None)
        route.created = reads.get(f"{route.path.removesuffix('/me')}/{{id}}")
        route.returns_resource = id(route.response_model) in models
        if route.method in ("PATCH", "PUT") and route.resource is not None:
            representations.add((route.resource.path, id(route.response_model)))
    for route in writes:
        shown = route.created if route.status_code == CREATED and route.created else route.resource
        route.shows_resource = (
            shown is not None
            and route.method != "DELETE"
            and not route.returns_resource
            and (shown.path, id(route.response_model)) in representations
        )


def _can_be_resource(route: Route) -> bool:
    """Return whether an If-Match can refer to the route.

    That is any signed-in GET, except a list without a parameter in its path.
    """
    is_list = getattr(route.response_model, "__origin__", None) is list
    return route.method == "GET" and route.signed_in and ("{" in route.path or not is_list)


def _upwards(path: str) -> Iterable[str]:
    """Yield the path and its parents. `/meals/me/{id}` counts as `/meals/{id}`."""
    path = path.replace("/me/", "/")
    while path:
        yield path
        path = path.rpartition("/")[0]
