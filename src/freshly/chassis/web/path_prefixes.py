"""The prefixes before the path of a route: the path of PUBLIC_URL, and `/api/v1`."""

from collections.abc import Container
from urllib.parse import quote

from starlette.types import ASGIApp, Receive, Scope, Send

from freshly.chassis.data.admission import route_group

API = "/api/v1"
SYSTEM_PATHS = {"/", "/health", "/ready", "/metrics", "/docs", "/openapi.json"}


def requested_path(scope: Scope) -> str:
    """Return the path that the client requested, with all prefixes, percent-encoded."""
    return quote(scope["state"]["requested_path"])


class StripPrefixes:
    """Makes `/api/v1/meals/me`, `/meals/me` and `/meals/me/` one route, also below `base`.

    `base` is the path of PUBLIC_URL. A proxy may remove it or pass it on. But if the API has a
    path that begins with the same word (`reserved`), the proxy must remove it.
    """

    def __init__(self, app: ASGIApp, *, base: str, reserved: Container[str]) -> None:
        self.app = app
        self.base = base
        self.may_be_passed_on = bool(base) and route_group(base) not in reserved

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            inner = self._without_base(path)
            scope["state"]["requested_path"] = self.base + inner
            bare = inner.removeprefix(API) if inner.startswith(f"{API}/") else inner
            bare = bare.rstrip("/") or "/"
            if bare in SYSTEM_PATHS and inner.startswith(API):
                bare = inner
            if bare != path:
                scope = {**scope, "path": bare, "raw_path": quote(bare).encode()}
        await self.app(scope, receive, send)

    def _without_base(self, path: str) -> str:
        if self.may_be_passed_on and f"{path}/".startswith(f"{self.base}/"):
            return path[len(self.base) :] or "/"
        return path
