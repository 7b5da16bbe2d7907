"""Authenticates requests: implements Identity of chassis/security/caller."""

from collections import OrderedDict
from time import time
from typing import Annotated

from freshly.chassis.data.transactions import Database, Session
from freshly.chassis.dependencies import Depends, Request
from freshly.chassis.security.caller import Caller, TokenClaims
from freshly.domains.auth.errors import (
    AccountSuspended,
    InvalidToken,
    TokenRevoked,
    UserGone,
    WrongTokenType,
)
from freshly.domains.auth.repository import AccountStatusReader
from freshly.domains.auth.tokens import TokenSigner
from freshly.domains.users.models import UserStatus

MAX_CACHED_TOKENS = 10_000


async def _token_signer(request: Request) -> TokenSigner:
    identity = request.state.resources.identity
    assert isinstance(identity, TokenIdentity), identity
    return identity.tokens


CurrentTokenSigner = Annotated[TokenSigner, Depends(_token_signer)]


class TokenIdentity:
    def __init__(self, tokens: TokenSigner, account_statuses: AccountStatusReader) -> None:
        self.tokens = tokens
        self.account_statuses = account_statuses
        # A valid signature stays valid until the token expires, so it is verified once.
        self._read: OrderedDict[str, tuple[TokenClaims, float]] = OrderedDict()

    def claims(self, token: str) -> TokenClaims:
        cached = self._read.get(token)
        if cached is not None and cached[1] > time():
            return cached[0]
        try:
            claims = self.tokens.read(token, "access")
        except WrongTokenType as error:
            raise InvalidToken from error
        token_claims = TokenClaims(claims.user_id, claims.session_id)
        self._read[token] = (token_claims, claims.expires)
        if len(self._read) > MAX_CACHED_TOKENS:
            self._read.popitem(last=False)
        return token_claims

    async def identify(self, token_claims: TokenClaims, db: Database) -> Caller:
        status = await self.account_statuses.of(token_claims.user_id, token_claims.session_id, db)
        if status is None:
            raise UserGone
        if not status.signed_in:
            raise TokenRevoked
        if status.status != UserStatus.ACTIVE:
            raise AccountSuspended
        return Caller(
            token_claims.user_id,
            token_claims.session_id,
            status.tier,
            status.families,
            is_administrator=status.is_administrator,
        )

    async def caller_of(self, user_id: int, session: Session) -> Caller:
        status = await self.account_statuses.in_session(user_id, session)
        if status is None:
            raise UserGone
        return Caller(user_id, "", status.tier, status.families)
