"""The middleware. It is pure ASGI, because each BaseHTTPMiddleware costs 90 microseconds."""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from time import perf_counter
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freshly.chassis.cache.body import COMPRESSION
from freshly.chassis.data.admission import route_group
from freshly.chassis.observability.logging import access_line, correlation_id, get_logger
from freshly.chassis.observability.metrics import observe_request
from freshly.chassis.resources import Resources
from freshly.chassis.web.authentication import AuthenticationMiddleware
from freshly.chassis.web.error_responses import internal_error, problem
from freshly.chassis.web.etags import WORTH_COMPRESSING
from freshly.chassis.web.path_prefixes import API, StripPrefixes
from freshly.chassis.web.proxies import UndeclaredProxyWarning
from freshly.chassis.web.rate_limiting import RateLimitMiddleware
from freshly.settings import (
    LARGEST_AVATAR,
    LARGEST_BODY,
    LARGEST_PICTURE_BODY,
    LARGEST_SCAN,
    Settings,
)

logger = get_logger(__name__)

CORRELATION_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
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
FORM_OVERHEAD = 100_000  # bytes that a form may add to its file
LARGEST_BODIES = {
    "/chat": LARGEST_PICTURE_BODY,
    "/chat/stream": LARGEST_PICTURE_BODY,
    "/chat/scan-grocery": LARGEST_PICTURE_BODY,
    "/chat/scan-grocery-proxy": LARGEST_SCAN + FORM_OVERHEAD,
    "/storage/avatar/proxy": LARGEST_AVATAR + FORM_OVERHEAD,
    "/files": LARGEST_AVATAR,
}
# Responses depend on these request headers.
VARY = "Accept-Encoding, Authorization, Origin"
HSTS = "max-age=31536000; includeSubDomains"
LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1)(:\d+)?"

HOST = re.compile(r"(?P<name>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?")
LOCAL_HOSTS = {"localhost", "127.0.0.1", "[::1]"}
MAX_KNOWN_HOSTS = 1000

CLOSING = ((b"connection", b"close"),)


class AccessLogMiddleware:
    """Adds the correlation id, timing and security headers, and logs one line per request."""

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
        request_id = _correlation_id(scope)
        started = perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._headers(scope, message, request_id, started)
            await send(message)

        path = scope["path"]
        token = correlation_id.set(request_id)
        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            seconds = perf_counter() - started
            self._log(scope, path, status, seconds)
            route = scope.get("state", {}).get("route", "-")
            observe_request(scope["method"] if route != "-" else "-", route, status, seconds)
            correlation_id.reset(token)

    def _headers(
        self, scope: Scope, message: Message, request_id: str, started: float
    ) -> list[tuple[bytes, bytes]]:
        state = scope.get("state", {})
        own = [header for header in message.get("headers", ()) if header[0] not in self.replaced]
        names = {name for name, _ in own}
        return [
            *own,
            (b"x-correlation-id", request_id.encode()),
            (b"x-process-time", b"%.6f" % (perf_counter() - started)),
            *(header for header in self.headers if header[0] not in names),
            *state.get("headers", ()),
            *(CLOSING if _is_stopping(state) else ()),
        ]

    @staticmethod
    def _log(scope: Scope, path: str, status: int, seconds: float) -> None:
        facts: dict[str, Any] = {
            "method": scope["method"],
            "path": path,
            "status": status or "aborted",
            "ms": round(seconds * 1000, 2),
            "client": (scope.get("client") or ("-",))[0],
        }
        if user := scope.get("state", {}).get("user_id"):
            facts["user_id"] = user
        access_line(facts)


def _is_stopping(state: Mapping[str, Any]) -> bool:
    resources: Resources | None = state.get("resources")
    return resources is not None and resources.shutdown.requested.is_set()


def _correlation_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-correlation-id":
            given: str = value.decode("latin-1")
            if CORRELATION_ID.fullmatch(given):
                return given
    return secrets.token_hex(4)


def _has(scope: Scope, wanted: bytes, part: bytes = b"") -> bool:
    return any(name == wanted and part in value for name, value in scope.get("headers", ()))


class GZipIfAccepted(GZipMiddleware):
    """Starlette's, skipped if the client accepts no gzip. That saves 20 microseconds."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = scope["type"] == "http" and _has(scope, b"accept-encoding", b"gzip")
        await (super().__call__ if wanted else self.app)(scope, receive, send)


class CorsIfOrigin(CORSMiddleware):
    """Starlette's, skipped for clients that send no `Origin`, such as apps."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = scope["type"] == "http" and _has(scope, b"origin")
        await (super().__call__ if wanted else self.app)(scope, receive, send)


class TrustedHosts:
    """Refuses requests for an unknown host, and those without exactly one valid `Host` header.

    Links in emails are built from it. A page that gives its own name the address of this server
    (DNS rebinding) is refused too. In the local environment, names of this machine and addresses
    are known: a page cannot have an address as its name.
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], is_local: bool) -> None:
        self.app = app
        self.exact = {*hosts, *(LOCAL_HOSTS if is_local else ())}
        self.suffixes = tuple(host.removeprefix("*") for host in hosts if host.startswith("*."))
        self.is_local = is_local
        self.known: set[bytes] = set()  # values that were accepted before

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or hosts[0] not in self.known:
                refusal = self._refusal(hosts)
                if refusal is not None:
                    await refusal(scope, receive, send)
                    return
        await self.app(scope, receive, send)

    def _refusal(self, hosts: Sequence[bytes]) -> Response | None:
        found = HOST.fullmatch(hosts[0].decode("latin-1").lower()) if len(hosts) == 1 else None
        if found is None:
            detail = "A request needs exactly one valid Host header."
            return problem(400, "invalid_host", detail)
        if not self._is_known(found["name"]):
            return problem(400, "unknown_host", "This server does not know this host name.")
        if len(self.known) < MAX_KNOWN_HOSTS:
            self.known.add(hosts[0])
        return None

    def _is_known(self, name: str) -> bool:
        if "*" in self.exact or name in self.exact or name.endswith(self.suffixes or ("\0",)):
            return True
        if not self.is_local:
            return False
        try:
            return bool(ip_address(name.strip("[]")))
        except ValueError:
            return name.endswith(".localhost")


class BodySizeLimit:
    """Answers 413 to a body that is too large, by its announced length or by counting."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        place = "/files" if path.startswith("/files/") else path
        largest = LARGEST_BODIES.get(place, LARGEST_BODY)
        refusal = f"The request is too large. It must not exceed {largest // 1_000_000} MB."
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced[:20]) > largest:
            await problem(413, "content_too_large", refusal)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > largest:
                # FastAPI passes on only this error while it reads the body.
                raise HTTPException(413, refusal)
            return message

        await self.app(scope, counted, send)


class UnhandledErrorMiddleware:
    """Turns a bug into a bare 500 with the correlation id, inside CORS and the other headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_and_record_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, send_and_record_start)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            logger.exception("unhandled error")
            await internal_error()(scope, receive, send)


def add_middleware(
    app: FastAPI, settings: Settings, group_of: Callable[[str, str, str], str | None]
) -> None:
    """Put the middleware in front of the routes. The last one added is the outermost."""
    app.add_middleware(BodySizeLimit)
    app.add_middleware(RateLimitMiddleware, group_of=group_of, enabled=settings.rate_limit_enabled)
    app.add_middleware(AuthenticationMiddleware)
    app.add_middleware(UndeclaredProxyWarning)
    words = {route_group(getattr(route, "path", "")) for route in app.routes}
    reserved = words | {route_group(API)}
    app.add_middleware(StripPrefixes, base=settings.base_path, reserved=reserved)
    app.add_middleware(UnhandledErrorMiddleware)
    app.add_middleware(GZipIfAccepted, minimum_size=WORTH_COMPRESSING, compresslevel=COMPRESSION)
    app.add_middleware(
        TrustedHosts,
        hosts=[host.lower() for host in settings.allowed_hosts],
        is_local=settings.app_env == "local",
    )
    app.add_middleware(
        CorsIfOrigin,
        allow_origins=settings.cors_origins,
        allow_origin_regex=LOCAL_ORIGIN if settings.app_env == "local" else None,
        allow_credentials=True,
        allow_methods=("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"),
        allow_headers=(
            *("Accept", "Accept-Language", "Content-Language", "Content-Type", "Authorization"),
            *("X-Requested-With", "Origin", "Cache-Control", "Pragma", "Idempotency-Key"),
            *("If-Match", "If-None-Match", "X-Correlation-ID", "X-Reauth"),
        ),
        expose_headers=(
            *("X-Correlation-ID", "X-Process-Time", "ETag", "Cache-Control", "Link"),
            *("RateLimit", "RateLimit-Policy", "Retry-After", "Idempotency-Replayed"),
        ),
    )
    app.add_middleware(AccessLogMiddleware, sends_hsts=not settings.is_local)
