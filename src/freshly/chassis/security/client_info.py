"""Where a call comes from, as far as it can be told; for what people see of their sign-ins."""

from dataclasses import dataclass
from typing import Annotated

from freshly.chassis.dependencies import Depends, Request
from freshly.chassis.security.caller import Caller

LONGEST_ADDRESS = 45  # characters; IPv6 with IPv4 in it
LONGEST_USER_AGENT = 255


@dataclass(frozen=True)
class ClientInfo:
    """Nothing of it is known of what nobody called for, such as a job."""

    address: str | None = None
    user_agent: str | None = None
    session_id: str | None = None


async def current_client_info(request: Request) -> ClientInfo:
    """The address is the client's, behind trusted proxies as they tell it."""
    caller = request.scope.get("state", {}).get("caller")
    return ClientInfo(
        address=_bounded(request.client.host if request.client else None, LONGEST_ADDRESS),
        user_agent=_bounded(request.headers.get("user-agent"), LONGEST_USER_AGENT),
        session_id=caller.session_id if isinstance(caller, Caller) else None,
    )


def _bounded(text: str | None, longest: int) -> str | None:
    """As a column takes it, and a screen: without control characters."""
    return "".join(filter(str.isprintable, text))[:longest] or None if text else None


CurrentClientInfo = Annotated[ClientInfo, Depends(current_client_info)]
