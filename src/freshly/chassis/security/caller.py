"""Who is calling. How that is found out is auth's affair, behind a Protocol."""

from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import TypeAdapter

from freshly.chassis.cache.invalidation import CacheTopic
from freshly.chassis.data.transactions import Database, Session
from freshly.chassis.dependencies import Depends, Request
from freshly.chassis.errors import AppError, Unauthenticated

# What is known of a person: that they are there, their sign-ins, their tier and their families.
IDENTITY = CacheTopic("identity")


@dataclass(frozen=True)
class Caller:
    user_id: int
    session_id: str
    tier: str
    # Family ids, each with the role there; the longest membership first.
    families: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class TokenClaims:
    """What a token says, and its signature proves; not whether it still holds."""

    user_id: int
    session_id: str


class Identity(Protocol):
    def claims(self, token: str) -> TokenClaims:
        """Raises an Unauthenticated when the token is not one of ours, or not any more."""

    async def identify(self, claimed: TokenClaims, db: Database) -> Caller:
        """Raises an Unauthenticated when it holds no more."""

    async def person(self, user_id: int, session: Session) -> Caller:
        """Somebody for whom something is done while they are away, without a sign-in.

        Raises an Unauthenticated when they have gone.
        """


CALLER: TypeAdapter[Caller] = TypeAdapter(Caller)


async def authenticate(identity: Identity, db: Database, authorization: str) -> Caller:
    """Who is calling, by the value of the header `Authorization`. Raises an Unauthenticated.

    Found out by a read that is over before the endpoint starts.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    claimed = identity.claims(token.strip())

    async def load() -> Caller:
        return await identity.identify(claimed, db)

    tags = (IDENTITY.person(claimed.user_id),)
    key = f"caller({claimed.user_id},{claimed.session_id})"
    return await db.cache.read_value(key, tags, CALLER, load)


async def current_caller(request: Request) -> Caller:
    """Whoever was found at the door, where the limits are (`rate_limit`), or why nobody was."""
    found: Caller | Exception | None = request.state.caller
    if isinstance(found, Caller):
        return found
    if isinstance(found, AppError) or found is None:
        raise found or Unauthenticated
    raise found


require_caller = Depends(current_caller)
CurrentCaller = Annotated[Caller, require_caller]
