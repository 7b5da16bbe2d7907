"""Access of the operator, who sees in `/metrics` and `/ready` what no stranger may see."""

from hmac import compare_digest
from ipaddress import ip_address

from fastapi import Request

from freshly.chassis.web.proxies import forwarded_for
from freshly.settings import Settings

# What kubelets, balancers and Prometheus ask, often and by address.
PROBES = frozenset({"/health", "/ready", "/metrics"})
# The key of the request's state for a `Host` that is the name of no known host.
FOREIGN_HOST = "foreign_host"


def is_operator(request: Request) -> bool:
    """Return True for the token, or without METRICS_TOKEN for a client on this machine.

    A proxy on this machine has the address of this machine too, so its requests do not count. Nor
    does a browser here whose page has given its own name the address of this machine.
    """
    settings: Settings = request.state.resources.settings
    if settings.metrics_token is not None:
        expected = f"Bearer {settings.metrics_token.get_secret_value()}".encode()
        return compare_digest(request.headers.get("Authorization", "").encode(), expected)
    if forwarded_for(request.scope) is not None or FOREIGN_HOST in request.scope["state"]:
        return False
    try:
        return ip_address(request.client.host if request.client else "").is_loopback
    except ValueError:
        return False
