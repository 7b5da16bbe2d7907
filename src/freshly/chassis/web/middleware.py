"""The middleware. It is pure ASGI, because each BaseHTTPMiddleware costs 90 microseconds."""

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freshly.chassis.cache.body import COMPRESSION
from freshly.chassis.data.admission import route_group
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.web.access_log import AccessLogMiddleware
from freshly.chassis.web.authentication import AuthenticationMiddleware
from freshly.chassis.web.error_responses import internal_error, problem
from freshly.chassis.web.etags import WORTH_COMPRESSING
from freshly.chassis.web.operator_access import FOREIGN_HOST, PROBES
from freshly.chassis.web.own_hosts import own_hosts
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

FORM_OVERHEAD = 100_000  # bytes that a form may add to its file
LARGEST_BODIES = {
    "/chat": LARGEST_PICTURE_BODY,
    "/chat/stream": LARGEST_PICTURE_BODY,
    "/chat/scan-grocery": LARGEST_PICTURE_BODY,
    "/chat/scan-grocery-proxy": LARGEST_SCAN + FORM_OVERHEAD,
    "/storage/avatar/proxy": LARGEST_AVATAR + FORM_OVERHEAD,
    "/files": LARGEST_AVATAR,
}
LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1)(:\d+)?"

HOST = re.compile(r"(?P<name>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::(?P<port>\d{1,5}))?")
LARGEST_PORT = 65_535
LOCAL_HOSTS = {"localhost", "127.0.0.1", "[::1]"}
MAX_KNOWN_HOSTS = 1000


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

    Probes are served under any name, because kubelets, balancers and Prometheus ask by address.

    Links to files name the host of PUBLIC_URL, or without it the host of the request.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Sequence[str], is_local: bool, public_url: str | None
    ) -> None:
        self.app = app
        self.public = urlsplit(public_url or "").hostname
        self.own = frozenset({*hosts, *filter(None, [self.public])})
        self.exact = {*hosts, *(LOCAL_HOSTS if is_local else ())}
        self.suffixes = tuple(host.removeprefix("*") for host in hosts if host.startswith("*."))
        self.is_local = is_local
        self.known: dict[bytes, frozenset[str]] = {}  # accepted before, with the hosts of ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or hosts[0] not in self.known:
                refusal = self._refusal(hosts)
                if refusal is not None and scope["path"] not in PROBES:
                    await refusal(scope, receive, send)
                    return
                if refusal is not None and not _is_address(hosts):
                    scope["state"][FOREIGN_HOST] = True
            own_hosts.set(self.known.get(hosts[0], self.own) if hosts else self.own)
        await self.app(scope, receive, send)

    def _refusal(self, hosts: Sequence[bytes]) -> Response | None:
        name = _name_in(hosts)
        if name is None:
            detail = "A request needs exactly one valid Host header."
            return problem(400, "invalid_host", detail)
        if not self._is_known(name):
            return problem(400, "unknown_host", "This server does not know this host name.")
        if len(self.known) < MAX_KNOWN_HOSTS:
            known = {name.strip("[]")}
            self.known[hosts[0]] = self.own if self.public else self.own | known
        return None

    def _is_known(self, name: str) -> bool:
        if "*" in self.exact or name in self.exact or name.endswith(self.suffixes or ("\0",)):
            return True
        return self.is_local and (_is_ip(name) or name.endswith(".localhost"))


def _is_address(hosts: Sequence[bytes]) -> bool:
    """Return True if the `Host` headers are a single one with an address or `localhost`."""
    name = _name_in(hosts)
    return name is not None and (name in LOCAL_HOSTS or _is_ip(name))


def _name_in(hosts: Sequence[bytes]) -> str | None:
    """Return the name in the `Host` headers, or None unless they are a single valid one."""
    found = HOST.fullmatch(hosts[0].decode("latin-1").lower()) if len(hosts) == 1 else None
    if found is None or int(found["port"] or 0) > LARGEST_PORT:
        return None
    return found["name"]


def _is_ip(name: str) -> bool:
    try:
        return bool(ip_address(name.strip("[]")))
    except ValueError:
        return False


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


def add_probe_middleware(app: FastAPI, settings: Settings) -> None:
    """Put in front of a worker's probes what they need of the middleware."""
    _trust_hosts(app, settings)
    app.add_middleware(AccessLogMiddleware, sends_hsts=False)


def _trust_hosts(app: FastAPI, settings: Settings) -> None:
    app.add_middleware(
        TrustedHosts,
        hosts=[host.lower() for host in settings.allowed_hosts],
        is_local=settings.app_env == "local",
        public_url=settings.public_url,
    )


def add_middleware(
    app: FastAPI,
    settings: Settings,
    group_of: Callable[[str, str, str], str | None],
    template_of: Callable[[Scope], str | None],
) -> None:
    """Put the middleware in front of the routes. The last one added is the outermost."""
    app.add_middleware(BodySizeLimit)
    app.add_middleware(
        RateLimitMiddleware,
        group_of=group_of,
        template_of=template_of,
        enabled=settings.rate_limit_enabled,
    )
    app.add_middleware(AuthenticationMiddleware)
    app.add_middleware(UndeclaredProxyWarning)
    words = {route_group(getattr(route, "path", "")) for route in app.routes}
    reserved = words | {route_group(API)}
    app.add_middleware(StripPrefixes, base=settings.base_path, reserved=reserved)
    app.add_middleware(UnhandledErrorMiddleware)
    app.add_middleware(GZipIfAccepted, minimum_size=WORTH_COMPRESSING, compresslevel=COMPRESSION)
    _trust_hosts(app, settings)
    app.add_middleware(
        CorsIfOrigin,
        allow_origins=settings.cors_origins,
        allow_origin_regex=LOCAL_ORIGIN if settings.app_env == "local" else None,
        allow_credentials=True,
        allow_methods=("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"),
        allow_headers=(
            *("Accept", "Accept-Language", "Content-Language", "Content-Type", "Authorization"),
            *("X-Requested-With", "Origin", "Cache-Control", "Pragma", "Idempotency-Key"),
            *("If-Match", "If-None-Match", "X-Reauth"),
            *("X-Correlation-ID", "X-Request-ID", "traceparent", "tracestate"),
        ),
        expose_headers=(
            *("X-Correlation-ID", "X-Request-ID", "X-Process-Time"),
            *("ETag", "Cache-Control", "Link"),
            *("RateLimit", "RateLimit-Policy", "Retry-After", "Idempotency-Replayed"),
        ),
    )
    app.add_middleware(AccessLogMiddleware, sends_hsts=not settings.is_local)
