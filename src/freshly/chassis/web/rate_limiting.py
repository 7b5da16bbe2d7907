"""Rate limits for requests."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from freshly.chassis.errors import AppError, Unavailable
from freshly.chassis.rate_limits.policy import FREE, Limiter, RateLimited, RateLimitResult
from freshly.chassis.resources import Resources
from freshly.chassis.security.caller import Caller
from freshly.chassis.web.error_responses import error_to_response

UNCOUNTED = {"/health", "/ready", "/metrics"}


class RateLimitMiddleware:
    """Counts each request against its user or its client address, and refuses too many with 429."""

    def __init__(
        self, app: ASGIApp, *, group_of: Callable[[str, str, str], str], enabled: bool
    ) -> None:
        self.app = app
        self.group_of = group_of
        self.enabled = enabled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state, path = scope["state"], scope["path"]
        if self.enabled and path not in UNCOUNTED:
            result = await self._count(scope, state["caller"], state["resources"].limiter)
            if result is not None:
                state["headers"] = result.headers()
                if not result.allowed:
                    await error_to_response(RateLimited(result))(scope, receive, send)
                    return
        try:
            await self.app(scope, receive, send)
        finally:
            if (route := scope.get("route")) is not None:
                state["route"] = route.path

    async def _count(
        self, scope: Scope, caller: Caller | Exception | None, limiter: Limiter
    ) -> RateLimitResult | None:
        """Return None if authentication failed for a reason that is not the client's.

        The endpoint then answers with that reason.
        """
        name = self.group_of(scope["method"], scope["path"], scope["state"]["route_group"])
        group = limiter.groups[name]
        if "user" in group.per and not isinstance(caller, Caller):
            if not isinstance(caller, AppError | None) or isinstance(caller, Unavailable):
                return None
            name, group = "anonymous", limiter.groups["anonymous"]
        subjects = [
            f"u{caller.user_id}"
            if per == "user" and isinstance(caller, Caller)
            else client_address(scope)
            for per in group.per
        ]
        tier = caller.tier if isinstance(caller, Caller) else FREE
        return await limiter.hit(name, tier, subjects)


@dataclass
class CallLimits:
    """Limits that count something in the body, such as an email address."""

    request: Request

    async def count(self, group: str, subject: str) -> None:
        """Count one call. Raises RateLimited."""
        resources: Resources = self.request.state.resources
        if resources.settings.rate_limit_enabled:
            result = await resources.limiter.hit(group, FREE, [subject])
            if not result.allowed:
                raise RateLimited(result)

    async def give_back(self, group: str, subject: str) -> None:
        """Take back a call that was counted, for limits that count only failures."""
        resources: Resources = self.request.state.resources
        if resources.settings.rate_limit_enabled:
            await resources.limiter.give_back(group, FREE, [subject])

    @property
    def network(self) -> str:
        """Return the client's address, as the limits by address count it."""
        return client_address(self.request.scope)


def client_address(scope: Scope) -> str:
    """Return the client's address; behind trusted proxies the server has put it there.

    For IPv6 return the /64 network, because a household is given 2^64 addresses.
    """
    host = (scope.get("client") or ("-",))[0]
    try:
        known = ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(known, IPv6Address):
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return f"{IPv6Address(int(known) >> 64 << 64)}/64"
    return host if isinstance(host, str) else "-"
