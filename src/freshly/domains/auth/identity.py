"""Auth's side of `chassis.identity`."""

from dataclasses import dataclass

from freshly.chassis.database import Session
from freshly.chassis.identity import Caller
from freshly.domains.auth.errors import InvalidToken, TokenRevoked, UserGone, WrongTokenType
from freshly.domains.auth.repository import SignInRepository
from freshly.domains.auth.tokens import TokenSigner


@dataclass(frozen=True)
class TokenIdentity:
    tokens: TokenSigner

    async def identify(self, token: str, session: Session) -> Caller:
        try:
            claims = self.tokens.read(token, "access")
        except WrongTokenType as error:
            raise InvalidToken from error
        standing = await SignInRepository(session).standing(claims.user_id, claims.sign_in_id)
        if standing is None:
            raise UserGone
        tier, stands = standing
        if not stands:
            raise TokenRevoked
        return Caller(user_id=claims.user_id, session_id=claims.sign_in_id, tier=tier)
