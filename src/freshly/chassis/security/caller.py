"""The caller: the signed-in user of a request. The auth domain implements `Identity`."""

from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import TypeAdapter

from freshly.chassis.cache.invalidation import CacheTopic
from freshly.chassis.data.transactions import Database, Session
from freshly.chassis.dependencies import Depends, Request
from freshly.chassis.errors import AppError, Unauthenticated

# The topic of cached callers. Changes of accounts, sessions, tiers and memberships invalidate it.
IDENTITY = CacheTopic("identity")


@dataclass(frozen=True)
class Caller:
    """The signed-in user. `families` are pairs of family id and role, longest membership first."""

    user_id: int
    session_id: str
    tier: str
    families: tuple[tuple[int, str], ...] = ()
    # An administrator manages accounts, and sees no more of any household than others.
    is_administrator: bool = False


@dataclass(frozen=True)
class TokenClaims:
    """Claims of a token with a valid signature. Its session may have been revoked since."""

    user_id: int
    session_id: str


class Identity(Protocol):
    def claims(self, token: str) -> TokenClaims:
        """Return the token's claims. Raises Unauthenticated if it is not ours or has expired."""

    async def identify(self, claims: TokenClaims, db: Database) -> Caller:
        """Return the caller. Raises Unauthenticated if the session or account is gone."""

    async def caller_of(self, user_id: int, session: Session) -> Caller:
        """Return a caller without a session, for work on a user's behalf, such as a job.

        Raises Unauthenticated if the account is gone.
        """


CALLER: TypeAdapter[Caller] = TypeAdapter(Caller)


async def authenticate(identity: Identity, db: Database, authorization: str) -> Caller:
    """Return the caller for the value of an `Authorization` header.

    Reads the cache, or else the database in a transaction that ends here. Raises Unauthenticated.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    claims = identity.claims(token.strip())

    async def load() -> Caller:
        return await identity.identify(claims, db)

    tags = (IDENTITY.person(claims.user_id),)
    key = f"caller({claims.user_id},{claims.session_id})"
    return await db.cache.read_value(key, tags, CALLER, load)


async def current_caller(request: Request) -> Caller:
    """Return the caller that the authentication middleware found.

    Raises the error that the middleware met, or Unauthenticated if the request has no token.
    """
    result: Caller | Exception | None = request.state.caller
    if isinstance(result, Caller):
        return result
    if isinstance(result, AppError) or result is None:
        raise result or Unauthenticated
    raise result


require_caller = Depends(current_caller)
CurrentCaller = Annotated[Caller, require_caller]
