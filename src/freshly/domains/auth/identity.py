"""Auth's side of `chassis.identity`."""

from collections import OrderedDict
from time import time
from typing import Annotated

from freshly.chassis.data.transactions import Database, Session
from freshly.chassis.dependencies import Depends, Request
from freshly.chassis.security.caller import Caller, TokenClaims
from freshly.domains.auth.errors import InvalidToken, TokenRevoked, UserGone, WrongTokenType
from freshly.domains.auth.repository import StandingRepository
from freshly.domains.auth.tokens import TokenSigner

MOST_TOKENS = 10_000


async def _token_signer(request: Request) -> TokenSigner:
    identity = request.state.resources.identity
    assert isinstance(identity, TokenIdentity), identity
    return identity.tokens


CurrentTokenSigner = Annotated[TokenSigner, Depends(_token_signer)]


class TokenIdentity:
    def __init__(self, tokens: TokenSigner, standings: StandingRepository) -> None:
        self.tokens = tokens
        self.standings = standings
        # A signature that was right stays right, until the token expires: it is checked once.
        self._read: OrderedDict[str, tuple[TokenClaims, float]] = OrderedDict()

    def claims(self, token: str) -> TokenClaims:
        known = self._read.get(token)
        if known is not None and known[1] > time():
            return known[0]
        try:
            claims = self.tokens.read(token, "access")
        except WrongTokenType as error:
            raise InvalidToken from error
        claimed = TokenClaims(claims.user_id, claims.sign_in_id)
        self._read[token] = (claimed, claims.expires)
        if len(self._read) > MOST_TOKENS:
            self._read.popitem(last=False)
        return claimed

    async def identify(self, claimed: TokenClaims, db: Database) -> Caller:
        standing = await self.standings.of(claimed.user_id, claimed.session_id, db)
        if standing is None:
            raise UserGone
        if not standing.signed_in:
            raise TokenRevoked
        return Caller(claimed.user_id, claimed.session_id, standing.tier, standing.families)

    async def person(self, user_id: int, session: Session) -> Caller:
        standing = await self.standings.in_session(user_id, session)
        if standing is None:
            raise UserGone
        return Caller(user_id, "", standing.tier, standing.families)
