"""Codes of six digits, sent by email to confirm an address or to reset a password."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hmac import compare_digest

from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.chassis.ports.email import Email
from freshly.chassis.resources import CurrentPasswords, CurrentSettings
from freshly.chassis.security.codes import CurrentCodeSigner, is_link_token, new_seed
from freshly.domains.auth import emails
from freshly.domains.auth.errors import (
    CodeExpired,
    InvalidResetToken,
    NoActiveCode,
    NoActiveResetCode,
    PasswordTooShort,
    ResetCodeExpired,
    TooManyTries,
    WrongCode,
    WrongResetCode,
)
from freshly.domains.auth.identity import CurrentTokenSigner
from freshly.domains.auth.jobs import SendCode, SendNotice
from freshly.domains.auth.links import LinkService, url
from freshly.domains.auth.models import AccountCode, CodePurpose, LinkPurpose
from freshly.domains.auth.repository import AuthSessionRepository, CodeRepository
from freshly.domains.auth.schemas import SHORTEST_PASSWORD, EmailAndCode, PasswordReset
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind, User
from freshly.domains.users.service import UserDirectory

LIFETIME = timedelta(minutes=emails.CODE_LIFETIME_MINUTES)
MAX_ATTEMPTS = 5


@dataclass(frozen=True)
class CodeKind:
    """The purpose of a code, and the errors for codes of this purpose."""

    purpose: CodePurpose
    none: type[NoActiveCode | NoActiveResetCode]
    expired: type[CodeExpired | ResetCodeExpired]
    wrong: type[WrongCode | WrongResetCode]


VERIFY = CodeKind(CodePurpose.VERIFY, NoActiveCode, CodeExpired, WrongCode)
RESET = CodeKind(CodePurpose.RESET, NoActiveResetCode, ResetCodeExpired, WrongResetCode)
EMAILS: Mapping[CodePurpose, tuple[LinkPurpose, Callable[[str, str, str], Email]]] = {
    CodePurpose.VERIFY: (LinkPurpose.VERIFY, emails.verification),
    CodePurpose.RESET: (LinkPurpose.RESET, emails.password_reset),
}


@dataclass
class CodeService:
    """Creates and checks codes. Unknown addresses are treated like known ones."""

    codes: Injected[CodeRepository]
    users: Injected[UserDirectory]
    jobs: Injected[JobQueue]
    log: Injected[ActivityLog]
    signer: CurrentCodeSigner

    async def send(self, address: str, kind: CodeKind) -> None:
        """Enqueue an email with the code. The job sends it only if the address has an account.

        A second request within ten minutes sends the same code, unless its attempts are used up.
        """
        now = await self.codes.now()
        code = await self.codes.of(address, kind.purpose)
        if code is None:
            code = await self.codes.save(
                AccountCode(
                    subject=address,
                    purpose=kind.purpose,
                    seed=new_seed(),
                    expires_at=now + LIFETIME,
                )
            )
        elif code.expires_at <= now or code.tries >= MAX_ATTEMPTS:
            code.seed, code.expires_at, code.tries = new_seed(), now + LIFETIME, 0
            await self.codes.save(code)
        await self.jobs.enqueue(SendCode(address=address, purpose=kind.purpose))

    async def redeem(self, given: EmailAndCode, kind: CodeKind) -> User:
        """Return the user of a correct code, and delete the code. Count a wrong attempt."""
        code = await self.codes.of(given.email, kind.purpose)
        if code is None:
            raise kind.none
        if code.expires_at <= await self.codes.now():
            raise kind.expired
        if code.tries >= MAX_ATTEMPTS:
            raise TooManyTries
        user = await self.users.by_email(given.email)
        right = self.signer.six_digits(code.seed)
        if not compare_digest(right.encode(), given.code.encode()) or user is None:
            code.tries += 1
            await self.codes.save(code)
            if kind is RESET:  # a client may be guessing
                await self.log.record_denied(ActivityKind.PASSWORD_RESET, user.id if user else None)
            raise kind.wrong
        await self.codes.delete(code)
        return user

    async def forget(self, address: str) -> None:
        """Delete the codes of an address, and the jobs that would email them."""
        await self.codes.forget(address)
        await self.jobs.delete(SendCode, address=address)


@dataclass
class CodeEmails:
    """Writes the emails with codes, for the worker."""

    codes: Injected[CodeRepository]
    users: Injected[UserDirectory]
    links: Injected[LinkService]
    signer: CurrentCodeSigner
    settings: CurrentSettings

    async def of(self, address: str, purpose: CodePurpose) -> Email | None:
        """Return None if the address has no account or no valid code. Insert the email's link."""
        code = await self.codes.of(address, purpose)
        user = await self.users.by_email(address)
        if code is None or user is None or code.expires_at <= await self.codes.now():
            return None
        link_purpose, write = EMAILS[purpose]
        token = self.signer.token(await self.links.create(user.id, link_purpose))
        return write(user.email, self.signer.six_digits(code.seed), url(self.settings, token))


@dataclass
class VerificationService:
    codes: Injected[CodeService]
    links: Injected[LinkService]
    users: Injected[UserDirectory]

    async def send_code(self, address: str) -> None:
        await self.codes.send(address, VERIFY)

    async def verify(self, given: EmailAndCode) -> bool:
        """Confirm the address by its code, or by the token of the link in the email."""
        if is_link_token(given.code):
            return await self.verify_by_link(given.code)
        return await self._confirm(await self.codes.redeem(given, VERIFY))

    async def verify_by_link(self, token: str) -> bool:
        user_id = await self.links.use(token, LinkPurpose.VERIFY)
        return await self._confirm(await self.users.get(user_id, lock=True))

    async def _confirm(self, user: User) -> bool:
        user.is_verified = True
        return (await self.users.save(user)).is_verified


@dataclass
class PasswordResetService:
    codes: Injected[CodeService]
    links: Injected[LinkService]
    users: Injected[UserDirectory]
    auth_sessions: Injected[AuthSessionRepository]
    log: Injected[ActivityLog]
    jobs: Injected[JobQueue]
    passwords: CurrentPasswords
    tokens: CurrentTokenSigner

    async def send_code(self, address: str) -> None:
        await self.codes.send(address, RESET)

    async def allow(self, given: EmailAndCode) -> str:
        """Return a token that allows one change of the password.

        The client proves the address by the code, or by the token of the link in the email.
        """
        if is_link_token(given.code):
            user_id = await self.links.use(given.code, LinkPurpose.RESET)
            user = await self.users.get(user_id)
        else:
            user = await self.codes.redeem(given, RESET)
        return self.tokens.reset(user.id, user.hashed_password, await self.auth_sessions.now())

    async def reset(self, given: PasswordReset) -> None:
        """Set the password and end all sessions of the user, those of a thief included."""
        user_id, fingerprint = self.tokens.read_reset(given.reset_token)
        # Hash before the first statement, so that hashing holds no connection and no lock.
        hashed = await self.passwords.hash(given.new_password)
        user = await self.users.get(user_id, lock=True)
        if len(given.new_password) < SHORTEST_PASSWORD:
            raise PasswordTooShort
        if not self.tokens.matches(fingerprint, user.hashed_password):
            raise InvalidResetToken
        await self._set(user, hashed)

    async def reset_by_link(self, token: str, new_password: str) -> None:
        """Set the password by the link in the email. Raise InvalidLink or PasswordTooShort."""
        hashed = await self.passwords.hash(new_password)
        if len(new_password) < SHORTEST_PASSWORD:
            raise PasswordTooShort
        user_id = await self.links.use(token, LinkPurpose.RESET)
        await self._set(await self.users.get(user_id, lock=True), hashed)

    async def _set(self, user: User, hashed: str) -> None:
        user.hashed_password = hashed
        await self.users.save(user)
        await self.links.delete(user.id, LinkPurpose.RESET)
        await self.auth_sessions.revoke_all(user.id)
        await self.log.record(ActivityKind.PASSWORD_RESET, user.id)
        await self.jobs.enqueue(SendNotice(address=user.email, about="password_changed"))
