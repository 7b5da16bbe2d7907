"""Auth's side of `chassis.identity`."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import time

from freshly.chassis.database import Session
from freshly.chassis.identity import Caller, Claimed
from freshly.domains.auth.errors import InvalidToken, TokenRevoked, UserGone, WrongTokenType
from freshly.domains.auth.repository import SignInRepository
from freshly.domains.auth.tokens import TokenSigner

MOST_TOKENS = 10_000
# Families are a domain above this one, which says at start how to ask it.
FamiliesOf = Callable[[int, Session], Awaitable[tuple[tuple[int, str], ...]]]


class TokenIdentity:
    def __init__(self, tokens: TokenSigner, families_of: FamiliesOf) -> None:
        self.tokens = tokens
        self.families_of = families_of
        # A signature that was right stays right, until the token expires: it is checked once.
        self._read: OrderedDict[str, tuple[Claimed, float]] = OrderedDict()

    def claims(self, token: str) -> Claimed:
        known = self._read.get(token)
        if known is not None and known[1] > time():
            return known[0]
        try:
            claims = self.tokens.read(token, "access")
        except WrongTokenType as error:
            raise InvalidToken from error
        claimed = Claimed(claims.user_id, claims.sign_in_id)
        self._read[token] = (claimed, claims.expires)
        if len(self._read) > MOST_TOKENS:
            self._read.popitem(last=False)
        return claimed

    async def identify(self, claimed: Claimed, session: Session) -> Caller:
        sign_ins = SignInRepository(session)
        standing = await sign_ins.standing(claimed.user_id, claimed.session_id)
        if standing is None:
            raise UserGone
        tier, stands = standing
        if not stands:
            raise TokenRevoked
        families = await self.families_of(claimed.user_id, session)
        return Caller(claimed.user_id, claimed.session_id, tier, families)

    async def person(self, user_id: int, session: Session) -> Caller:
        standing = await SignInRepository(session).standing(user_id, "")
        if standing is None:
            raise UserGone
        families = await self.families_of(user_id, session)
        return Caller(user_id, "", standing[0], families)
