"""Codes of six digits, sent by email to confirm an address or to reset a password."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hmac import compare_digest

from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.chassis.ports.email import Email
from freshly.chassis.resources import CurrentPasswords
from freshly.domains.auth import emails
from freshly.domains.auth.errors import (
    CodeExpired,
    InvalidResetToken,
    NoActiveCode,
    NoActiveResetCode,
    PasswordTooShort,
    ResetCodeExpired,
    TooManyAttempts,
    WrongCode,
    WrongResetCode,
)
from freshly.domains.auth.identity import CurrentTokenSigner
from freshly.domains.auth.jobs import SendCode, SendNotice
from freshly.domains.auth.models import CodePurpose, EmailCode
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
EMAILS: Mapping[CodePurpose, Callable[[str, str], Email]] = {
    CodePurpose.VERIFY: emails.verification,
    CodePurpose.RESET: emails.password_reset,
}


@dataclass
class CodeService:
    """Creates and checks codes. Unknown addresses are treated like known ones."""

    codes: Injected[CodeRepository]
    users: Injected[UserDirectory]
    jobs: Injected[JobQueue]
    log: Injected[ActivityLog]

    async def send(self, address: str, kind: CodeKind) -> None:
        """Enqueue an email with the code. The job sends it only if the address has an account.

        A second request within ten minutes sends the same code, unless its attempts are used up.
        """
        now = await self.codes.now()
        code = await self.codes.of(address, kind.purpose)
        if code is None:
            code = await self.codes.save(
                EmailCode(
                    address=address,
                    purpose=kind.purpose,
                    code=_six_digits(),
                    expires_at=now + LIFETIME,
                )
            )
        elif code.expires_at <= now or code.tries >= MAX_ATTEMPTS:
            code.code, code.expires_at, code.tries = _six_digits(), now + LIFETIME, 0
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
            raise TooManyAttempts
        user = await self.users.by_email(given.email)
        if not compare_digest(code.code.encode(), given.code.encode()) or user is None:
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

    async def of(self, address: str, purpose: CodePurpose) -> Email | None:
        """Return None if the address has no account or no valid code."""
        code = await self.codes.of(address, purpose)
        user = await self.users.by_email(address)
        if code is None or user is None or code.expires_at <= await self.codes.now():
            return None
        return EMAILS[purpose](user.email, code.code)


@dataclass
class VerificationService:
    codes: Injected[CodeService]
    users: Injected[UserDirectory]

    async def send_code(self, address: str) -> None:
        await self.codes.send(address, VERIFY)

    async def verify(self, given: EmailAndCode) -> bool:
        user = await self.codes.redeem(given, VERIFY)
        user.is_verified = True
        return (await self.users.save(user)).is_verified


@dataclass
class PasswordResetService:
    codes: Injected[CodeService]
    users: Injected[UserDirectory]
    auth_sessions: Injected[AuthSessionRepository]
    log: Injected[ActivityLog]
    jobs: Injected[JobQueue]
    passwords: CurrentPasswords
    tokens: CurrentTokenSigner

    async def send_code(self, address: str) -> None:
        await self.codes.send(address, RESET)

    async def allow(self, given: EmailAndCode) -> str:
        """Return a token that allows one change of the password."""
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
        user.hashed_password = hashed
        await self.users.save(user)
        await self.auth_sessions.revoke_all(user.id)
        await self.log.record(ActivityKind.PASSWORD_RESET, user.id)
        await self.jobs.enqueue(SendNotice(address=user.email, about="password_changed"))


def _six_digits() -> str:
    return str(secrets.randbelow(900_000) + 100_000)
