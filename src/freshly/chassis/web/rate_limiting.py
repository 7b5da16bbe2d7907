"""Rate limits for requests."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from freshly.chassis.errors import AppError, Unavailable
from freshly.chassis.rate_limits.policy import FREE, Limiter, RateLimited, RateLimitResult
from freshly.chassis.resources import Resources
from freshly.chassis.security.caller import Caller
from freshly.chassis.security.client_info import network_of
from freshly.chassis.web.error_responses import error_to_response
from freshly.chassis.web.operator_access import PROBES

IPV6_SHARES = {64: 1, 56: 4, 48: 16}


class RateLimitMiddleware:
    """Counts each request against its user or its client address, and refuses too many with 429."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        group_of: Callable[[str, str, str], str | None],
        template_of: Callable[[Scope], str | None],
        enabled: bool,
    ) -> None:
        self.app = app
        self.template_of = template_of
        self.group_of = group_of
        self.enabled = enabled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state, path = scope["state"], scope["path"]
        if self.enabled and path not in PROBES:
            result = await self._count(scope, state["caller"], state["resources"].limiter)
            if result is not None:
                state["headers"] = result.headers()
                if not result.allowed:
                    state["route"] = self.template_of(scope) or "-"
                    await error_to_response(RateLimited(result))(scope, receive, send)
                    return
        try:
            await self.app(scope, receive, send)
        finally:
            if (route := scope.get("route")) is not None:
                state["route"], state["path_params"] = route.path, scope.get("path_params")
            elif "endpoint" in scope:  # a route of Starlette, such as /openapi.json
                state["route"] = self.template_of(scope) or "-"

    async def _count(
        self, scope: Scope, caller: Caller | Exception | None, limiter: Limiter
    ) -> RateLimitResult | None:
        """Return None for a signed-in user's call that is never refused.

        Return None too if authentication failed for a reason that is not the client's. The
        endpoint then answers with that reason.
        """
        name = self.group_of(scope["method"], scope["path"], scope["state"]["route_group"])
        if name is None:
            if isinstance(caller, Caller):
                return None
            name = "anonymous"
        group = limiter.groups[name]
        if "user" in group.per and not isinstance(caller, Caller):
            if not isinstance(caller, AppError | None) or isinstance(caller, Unavailable):
                return None
            name, group = "anonymous", limiter.groups["anonymous"]
        subjects: dict[str, int] = {}
        for per in group.per:
            if per == "user" and isinstance(caller, Caller):
                subjects[f"u{caller.user_id}"] = 1
            else:
                subjects |= client_networks(scope)
        tier = caller.tier if isinstance(caller, Caller) else FREE
        return await limiter.hit(name, tier, subjects)


@dataclass
class CallLimits:
    """Limits that count something in the body, such as an email address."""

    request: Request

    @property
    def networks(self) -> Mapping[str, int]:
        """Return the client's networks as subjects."""
        return client_networks(self.request.scope)

    async def count(self, group: str, subjects: Mapping[str, int]) -> None:
        """Count one call. The numbers say how many times the limit a subject may use.

        Raise RateLimited.
        """
        result = await self._hit(group, subjects)
        if result is not None and not result.allowed:
            raise RateLimited(result)

    async def allows(self, group: str, subjects: Mapping[str, int]) -> bool:
        """Count one call. Return False if it is one too many."""
        result = await self._hit(group, subjects)
        return result is None or result.allowed

    async def _hit(self, group: str, subjects: Mapping[str, int]) -> RateLimitResult | None:
        resources: Resources = self.request.state.resources
        if not resources.settings.rate_limit_enabled:
            return None
        return await resources.limiter.hit(group, FREE, subjects)

    async def give_back(self, group: str, subjects: Iterable[str]) -> None:
        """Take back a call that was counted, for limits that count only failures."""
        resources: Resources = self.request.state.resources
        if resources.settings.rate_limit_enabled:
            await resources.limiter.give_back(group, FREE, list(subjects))


def client_networks(scope: Scope) -> dict[str, int]:
    """Return the client's networks, and how many times the limit each of them may use.

    Behind trusted proxies the server has put the client's address there. A customer may have an
    IPv6 /64, /56 or /48, so all three are counted. The larger ones may belong to several customers
    and have larger limits.
    """
    host = str((scope.get("client") or ("-",))[0])
    network = network_of(host)
    if not network.endswith("/64"):
        return {network: 1}
    return {network_of(host, prefix): share for prefix, share in IPV6_SHARES.items()}
