"""Sign-up and sign-in with Google or Apple, verified by Supabase."""

import secrets
from dataclasses import dataclass
from typing import Annotated, Literal, cast

from email_validator import EmailNotValidError, validate_email

from freshly.chassis.data.transactions import CurrentDatabase, Session
from freshly.chassis.dependencies import Injected
from freshly.chassis.ports.oauth import OAuthProfile, OAuthVerifier
from freshly.chassis.resources import CurrentPasswords, Resources, resource
from freshly.domains.auth.errors import (
    NoOAuthToken,
    NotRegistered,
    OAuthAccountTaken,
    OAuthEmailTaken,
    OAuthEmailTakenByProvider,
    OAuthWithoutEmail,
    ProviderMismatch,
    UnsupportedProvider,
)
from freshly.domains.auth.models import OAuthAccount
from freshly.domains.auth.repository import OAuthAccountRepository
from freshly.domains.auth.schemas import OAuthTokens, OAuthUserRead
from freshly.domains.auth.service import SignInService
from freshly.domains.auth.signing_up import Door
from freshly.domains.preferences.service import PreferenceService
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.errors import EmailTaken
from freshly.domains.users.models import ActivityKind, User
from freshly.domains.users.schemas import normalized
from freshly.domains.users.service import UserDirectory

Provider = Literal["google", "apple"]
PROVIDERS = ("google", "apple")
DEFAULT_NAME = "Freshly user"
MAX_LENGTH = 255


@dataclass
class OAuthService:
    """Verifies the token before the first statement, so that no connection waits for Supabase."""

    verifier: Annotated[OAuthVerifier, resource(Resources.oauth)]
    passwords: CurrentPasswords
    db: CurrentDatabase
    sign_in: Injected[SignInService]

    async def sign_up(self, token: str | None, door: Door) -> OAuthTokens:
        door.knock()
        profile = await self._verify(token)
        if _address(profile) is None:
            raise OAuthWithoutEmail
        email, provider = str(_address(profile)), _provider(profile)
        hashed = await self.passwords.hash(secrets.token_urlsafe(48))
        async with self.db.write() as session:
            users, accounts = UserDirectory(session), OAuthAccountRepository(session)
            await door.admit(email, session)
            if await accounts.by_subject(profile.subject):
                raise OAuthAccountTaken
            await self._refuse_taken(email, provider, users, accounts)
            name = _username(profile, email)
            user = User(email=email, name=name, hashed_password=hashed, is_verified=True)
            try:
                await users.save(user)
            except EmailTaken as error:
                raise OAuthEmailTaken from error
            await PreferenceService(session).begin(user.id, None)
            account = await accounts.save(
                OAuthAccount(
                    user_id=user.id,
                    email=email,
                    username=name,
                    provider=provider,
                    supabase_user_id=profile.subject,
                )
            )
            await door.welcome(user, session)
            return await self._tokens(user, account, session)

    async def login(self, token: str | None) -> OAuthTokens:
        """Find the account by the provider's user id, because an address can change hands."""
        profile = await self._verify(token)
        email = _address(profile)
        if email is None:
            raise NoOAuthToken
        provider = _provider(profile)
        async with self.db.write() as session:
            users, accounts = UserDirectory(session), OAuthAccountRepository(session)
            account = await accounts.by_subject(profile.subject)
            if account is None:
                user_at_address = await users.by_email(email)
                other = await accounts.of_user(user_at_address.id) if user_at_address else None
                if other is None or other.provider == provider:
                    raise NotRegistered
                await self._record_mismatch(other, provider, session)
                raise ProviderMismatch
            if account.provider != provider:
                await self._record_mismatch(account, provider, session)
                raise ProviderMismatch
            user = await users.get(account.user_id)
            return await self._tokens(user, account, session)

    async def _verify(self, token: str | None) -> OAuthProfile:
        if not token:
            raise NoOAuthToken
        return await self.verifier.verify(token)

    @staticmethod
    async def _refuse_taken(
        email: str, provider: Provider, users: UserDirectory, accounts: OAuthAccountRepository
    ) -> None:
        user = await users.by_email(email)
        if user is None:
            return
        account = await accounts.of_user(user.id)
        if account is not None and account.provider != provider:
            raise OAuthEmailTakenByProvider(provider=account.provider)
        raise OAuthEmailTaken

    async def _record_mismatch(
        self, account: OAuthAccount, provider: Provider, session: Session
    ) -> None:
        log = ActivityLog(session, self.sign_in.client_info)
        await log.record_denied(ActivityKind.SIGN_IN, account.user_id, detail=provider)

    async def _tokens(self, user: User, account: OAuthAccount, session: Session) -> OAuthTokens:
        tokens = await self.sign_in.begin(user, account.provider, session)
        read = OAuthUserRead(
            id=user.id,
            email=user.email,
            username=account.username,
            auth_provider=cast("Provider", account.provider),
        )
        return OAuthTokens(**tokens.model_dump(), user=read)


def _provider(profile: OAuthProfile) -> Provider:
    if profile.provider not in PROVIDERS:
        raise UnsupportedProvider
    return cast("Provider", profile.provider)


def _address(profile: OAuthProfile) -> str | None:
    try:
        checked = validate_email(profile.email or "", check_deliverability=False)
    except EmailNotValidError:
        return None
    return normalized(checked.normalized)[:MAX_LENGTH]


def _username(profile: OAuthProfile, email: str) -> str:
    return (profile.name or email.partition("@")[0] or DEFAULT_NAME)[:MAX_LENGTH]


def bearer_token(authorization: str | None) -> str | None:
    """Return the token in the value of an `Authorization` header."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
