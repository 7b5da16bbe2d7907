"""Rate limits for requests."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from freshly.chassis.data.admission import lane, route_group, waited
from freshly.chassis.errors import AppError, Unavailable, answer
from freshly.chassis.rate_limits.policy import FREE, Limiter, RateLimited, Verdict
from freshly.chassis.security.caller import Caller
from freshly.chassis.web.authentication import _caller
from freshly.settings import Settings

UNCOUNTED = {"/health", "/ready", "/metrics"}


class AtTheDoor:
    """Finds out who is calling, and whether not too often, ahead of everything else.

    So a body that cannot be read counts too, and so does a path that does not exist.
    """

    def __init__(self, app: ASGIApp, *, group_of: Callable[[str, str], str], enabled: bool) -> None:
        self.app = app
        self.group_of = group_of
        self.enabled = enabled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state, path = scope["state"], scope["path"]
        lane.set(route_group(path))
        waited.set(0.0)
        caller = state["caller"] = await _caller(scope)
        if isinstance(caller, Caller):
            state["user_id"] = caller.user_id
        if self.enabled and path not in UNCOUNTED:
            verdict = await self._count(scope, caller, state["limiter"])
            if verdict is not None:
                state["headers"] = verdict.headers()
                if not verdict.allowed:
                    await answer(RateLimited(verdict))(scope, receive, send)
                    return
        try:
            await self.app(scope, receive, send)
        finally:
            if (route := scope.get("route")) is not None:
                state["route"] = route.path

    async def _count(
        self, scope: Scope, caller: Caller | Exception | None, limiter: Limiter
    ) -> Verdict | None:
        """None while nobody can tell who is calling, which the endpoint will say."""
        name = self.group_of(scope["method"], scope["path"])
        group = limiter.groups[name]
        if "user" in group.per and not isinstance(caller, Caller):
            if not isinstance(caller, AppError | None) or isinstance(caller, Unavailable):
                return None
            name, group = "anonymous", limiter.groups["anonymous"]
        subjects = [
            f"u{caller.user_id}" if per == "user" and isinstance(caller, Caller) else address(scope)
            for per in group.per
        ]
        return await limiter.hit(
            name, caller.tier if isinstance(caller, Caller) else FREE, subjects
        )


@dataclass
class CallLimits:
    """For what is counted by something in the body, such as an e-mail address."""

    request: Request

    async def count(self, group: str, subject: str) -> None:
        """Raises RateLimited."""
        settings: Settings = self.request.state.settings
        if settings.rate_limit_enabled:
            limiter: Limiter = self.request.state.limiter
            verdict = await limiter.hit(group, FREE, [subject])
            if not verdict.allowed:
                raise RateLimited(verdict)


def address(scope: Scope) -> str:
    """The client's, behind trusted proxies as they tell it (the server sees to that).

    Of IPv6 the network: a household is given 2^64 addresses.
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
