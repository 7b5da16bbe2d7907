"""Who is calling. How that is found out is auth's affair, behind a Protocol."""

from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.database import Units
from freshly.chassis.errors import Unauthenticated


@dataclass(frozen=True)
class Caller:
    user_id: int
    session_id: str
    tier: str


class Identity(Protocol):
    async def identify(self, token: str, session: AsyncSession) -> Caller:
        """Whose token this is. Raises an Unauthenticated when it is nobody's, or not any more."""


async def current_caller(request: Request, units: Units) -> Caller:
    """Read in a unit of work that is over before the endpoint starts."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    identity: Identity = request.state.identity
    async with units.reading() as session:
        caller = await identity.identify(token.strip(), session)
    request.state.user_id = caller.user_id
    return caller


require_caller = Depends(current_caller)
CurrentCaller = Annotated[Caller, require_caller]
