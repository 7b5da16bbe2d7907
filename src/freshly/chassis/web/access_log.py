"""The outermost middleware: the correlation id, security headers, and a log line per request."""

import re
import secrets
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freshly.chassis.observability.logging import access_line, correlation_id
from freshly.chassis.observability.metrics import observe_request
from freshly.chassis.observability.request_facts import RequestFacts, request_facts
from freshly.chassis.observability.tracing import tracing
from freshly.chassis.resources import Resources
from freshly.chassis.security.caller import Caller
from freshly.chassis.web.operator_access import PROBES

REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
ID_BYTES = 16  # ids of 4 bytes collide after some 65,000 requests
# Sent with every response that does not say something else itself.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "0",  # browsers' own filters did harm, and are gone
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",
    "Cache-Control": "no-store",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "geolocation=(), microphone=(), camera=()",
}
# Responses depend on these request headers.
VARY = "Accept-Encoding, Authorization, Origin"
HSTS = "max-age=31536000; includeSubDomains"
CLOSING = ((b"connection", b"close"),)


class RequestIds:
    """The ids of a request: the client's own, or new ones.

    The correlation id is `X-Correlation-ID`, else `X-Request-ID`, else the id of the trace that the
    request belongs to, else a new one. Only a client's valid `X-Request-ID` is sent back.
    """

    __slots__ = ("correlation", "request", "trace")

    def __init__(self, scope: Scope, trace_id: str | None = None) -> None:
        """`trace_id` is that of the span, if requests are traced."""
        given = self.request = None
        self.trace = trace_id
        for name, value in scope["headers"]:
            if name == b"x-correlation-id":
                given = _valid_id(value)
            elif name == b"x-request-id":
                self.request = _valid_id(value)
            elif (
                name == b"traceparent"
                and trace_id is None
                and (found := TRACEPARENT.fullmatch(value.decode("latin-1")))
            ):
                self.trace = found[1]
        self.correlation: str = given or self.request or self.trace or secrets.token_hex(ID_BYTES)


def _valid_id(value: bytes) -> str | None:
    text = value.decode("latin-1")
    return text if REQUEST_ID.fullmatch(text) else None


class AccessLogMiddleware:
    """Adds the ids, timing and security headers, and logs one line per request.

    Probes that succeed are not logged: they would be most of the log.
    """

    def __init__(self, app: ASGIApp, *, sends_hsts: bool) -> None:
        self.app = app
        headers = {**SECURITY_HEADERS, "Vary": VARY}
        if sends_hsts:
            headers["Strict-Transport-Security"] = HSTS
        # Encoded once, because they are added to every response.
        self.headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self.replaced = {b"vary"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        span = None if path in PROBES else tracing.request(scope["method"], scope["headers"])
        ids = RequestIds(scope, span.trace_id if span is not None else None)
        started = perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._headers(scope, message, ids, started)
            await send(message)

        facts = RequestFacts()
        id_token, facts_token = correlation_id.set(ids.correlation), request_facts.set(facts)
        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            seconds = perf_counter() - started
            state = scope.get("state", {})
            route = state.get("route", "-")
            if path not in PROBES:
                line: dict[str, Any] = {
                    "method": scope["method"],
                    "path": path,
                    "route": route,
                    "status": status or "aborted",
                    "ms": round(seconds * 1000, 2),
                    "client": (scope.get("client") or ("-",))[0],
                    "sql": facts.statements,
                }
                _add_facts(line, state, ids, facts)
                access_line(line)
                if span is not None:
                    span.end(route, status, line)
            observe_request(scope["method"] if route != "-" else "-", route, status, seconds)
            request_facts.reset(facts_token)
            correlation_id.reset(id_token)

    def _headers(
        self, scope: Scope, message: Message, ids: RequestIds, started: float
    ) -> list[tuple[bytes, bytes]]:
        state = scope.get("state", {})
        own = [header for header in message.get("headers", ()) if header[0] not in self.replaced]
        names = {name for name, _ in own}
        return [
            *own,
            (b"x-correlation-id", ids.correlation.encode()),
            *(((b"x-request-id", ids.request.encode()),) if ids.request else ()),
            (b"x-process-time", b"%.6f" % (perf_counter() - started)),
            *(header for header in self.headers if header[0] not in names),
            *state.get("headers", ()),
            *(CLOSING if _is_stopping(state) else ()),
        ]


def _add_facts(
    line: dict[str, Any], state: Mapping[str, Any], ids: RequestIds, facts: RequestFacts
) -> None:
    if facts.cache is not None:
        line["cache"] = facts.cache
    if ids.trace is not None:
        line["trace_id"] = ids.trace
    caller = state.get("caller")
    if caller.__class__ is Caller:
        line["user_id"] = caller.user_id
        if caller.families:
            line["family_id"] = _family(caller, state.get("path_params"))


def _family(caller: Caller, path_params: Mapping[str, Any] | None) -> int:
    """Return the caller's family in the path, or else the one that the caller joined first."""
    named = str(path_params.get("family_id", "")) if path_params else ""
    own = [family_id for family_id, _ in caller.families]
    return next((family_id for family_id in own if str(family_id) == named), own[0])


def _is_stopping(state: Mapping[str, Any]) -> bool:
    resources: Resources | None = state.get("resources")
    return resources is not None and resources.shutdown.requested.is_set()
