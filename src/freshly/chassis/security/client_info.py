"""Address, user agent and session of a request, which users see in their list of sessions."""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Annotated

from freshly.chassis.dependencies import Depends, Request
from freshly.chassis.security.caller import Caller

MAX_ADDRESS_LENGTH = 45  # characters: IPv6 with an embedded IPv4 address
MAX_USER_AGENT_LENGTH = 255  # characters
IPV6_BITS = 128


@dataclass(frozen=True)
class ClientInfo:
    """Facts about the client and its request. All are None outside a request, such as in a job."""

    address: str | None = None
    user_agent: str | None = None
    session_id: str | None = None
    proof_token: str | None = None  # `X-Reauth`: proves that the user is at the device


def network_of(host: str | None, prefix: int = 64) -> str:
    """Return the network of a client's address: the address itself, or for IPv6 a network.

    A household is given at least a /64, so its addresses are one client.
    """
    try:
        known = ip_address(host or "-")
    except ValueError:
        return host or "-"
    if not isinstance(known, IPv6Address):
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    shift = IPV6_BITS - prefix
    return f"{IPv6Address(int(known) >> shift << shift)}/{prefix}"


async def current_client_info(request: Request) -> ClientInfo:
    """Return the request's client. Behind trusted proxies the address is the one they report."""
    caller = request.scope.get("state", {}).get("caller")
    return ClientInfo(
        address=_cleaned(request.client.host if request.client else None, MAX_ADDRESS_LENGTH),
        user_agent=_cleaned(request.headers.get("user-agent"), MAX_USER_AGENT_LENGTH),
        session_id=caller.session_id if isinstance(caller, Caller) else None,
        proof_token=request.headers.get("x-reauth"),
    )


def _cleaned(text: str | None, max_length: int) -> str | None:
    """Return the text without control characters, cut to fit its column. None if empty."""
    return "".join(filter(str.isprintable, text))[:max_length] or None if text else None


CurrentClientInfo = Annotated[ClientInfo, Depends(current_client_info)]
