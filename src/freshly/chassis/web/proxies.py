"""Proxies in front of the server, which name the client in a header."""

from starlette.types import ASGIApp, Receive, Scope, Send

from freshly.chassis.observability.logging import get_logger

logger = get_logger(__name__)

FORWARDING_HEADERS = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})


def forwarded_for(scope: Scope) -> str | None:
    """Return the value of a header in which a proxy names its client, or None."""
    for name, value in scope["headers"]:
        if name in FORWARDING_HEADERS:
            return str(value.decode("latin-1"))
    return None


class UndeclaredProxyWarning:
    """Warns once about a proxy that TRUSTED_PROXIES does not name.

    All clients behind it have its address, so they share the rate limits of one client.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.has_warned and scope["type"] == "http":
            self._check(scope)
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        named = forwarded_for(scope)
        peer = (scope.get("client") or ("-",))[0]
        # For a trusted proxy, uvicorn has replaced the peer's address by the named one.
        if named is not None and str(peer) not in named:
            self.has_warned = True
            logger.warning(
                "a proxy that TRUSTED_PROXIES does not name sends requests, or a client pretends to"
                " be one; all clients behind it share the rate limits of one",
                peer=peer,
            )
