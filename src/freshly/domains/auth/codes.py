"""Six digits by mail: to confirm an address, and to set a new password."""

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
    TooManyTries,
    WrongCode,
    WrongResetCode,
)
from freshly.domains.auth.identity import CurrentTokenSigner
from freshly.domains.auth.jobs import SendCode, SendNotice
from freshly.domains.auth.models import CodePurpose, EmailCode
from freshly.domains.auth.repository import CodeRepository, SignInRepository
from freshly.domains.auth.schemas import SHORTEST_PASSWORD, EmailAndCode, PasswordReset
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind, User
from freshly.domains.users.service import UserDirectory

LIFETIME = timedelta(minutes=emails.CODE_LIFETIME_MINUTES)
MOST_TRIES = 5


@dataclass(frozen=True)
class Kind:
    """One use of codes: how its refusals read."""

    purpose: CodePurpose
    none: type[NoActiveCode | NoActiveResetCode]
    expired: type[CodeExpired | ResetCodeExpired]
    wrong: type[WrongCode | WrongResetCode]


VERIFY = Kind(CodePurpose.VERIFY, NoActiveCode, CodeExpired, WrongCode)
RESET = Kind(CodePurpose.RESET, NoActiveResetCode, ResetCodeExpired, WrongResetCode)
LETTERS: Mapping[CodePurpose, Callable[[str, str], Email]] = {
    CodePurpose.VERIFY: emails.verification,
    CodePurpose.RESET: emails.password_reset,
}


@dataclass
class CodeService:
    """Does the same whether or not there is an account at the address."""

    codes: Injected[CodeRepository]
    users: Injected[UserDirectory]
    jobs: Injected[JobQueue]
    log: Injected[ActivityLog]

    async def ask(self, address: str, kind: Kind) -> None:
        """Has a letter sent, if there is somebody to send it to.

        Within its ten minutes a code stays the same, unless its tries are used up.
        """
        at = await self.codes.now()
        code = await self.codes.of(address, kind.purpose)
        if code is None:
            code = await self.codes.save(
                EmailCode(
                    address=address,
                    purpose=kind.purpose,
                    code=_six_digits(),
                    expires_at=at + LIFETIME,
                )
            )
        elif code.expires_at <= at or code.tries >= MOST_TRIES:
            code.code, code.expires_at, code.tries = _six_digits(), at + LIFETIME, 0
            await self.codes.save(code)
        await self.jobs.enqueue(SendCode(address=address, purpose=kind.purpose))

    async def use(self, given: EmailAndCode, kind: Kind) -> User:
        """Whose code it is. It works once."""
        code = await self.codes.of(given.email, kind.purpose)
        if code is None:
            raise kind.none
        if code.expires_at <= await self.codes.now():
            raise kind.expired
        if code.tries >= MOST_TRIES:
            raise TooManyTries
        user = await self.users.by_email(given.email)
        if not compare_digest(code.code.encode(), given.code.encode()) or user is None:
            code.tries += 1
            await self.codes.save(code)
            if kind is RESET:  # somebody guesses
                await self.log.record_denied(ActivityKind.PASSWORD_RESET, user.id if user else None)
            raise kind.wrong
        await self.codes.delete(code)
        return user

    async def forget(self, address: str) -> None:
        """Delete the codes of an address, and the jobs that would email them."""
        await self.codes.forget(address)
        await self.jobs.delete(SendCode, address=address)


@dataclass
class CodeLetters:
    """For the worker, which sends them."""

    codes: Injected[CodeRepository]
    users: Injected[UserDirectory]

    async def of(self, address: str, purpose: CodePurpose) -> Email | None:
        """None where there is nobody at the address, or no code that still holds."""
        code = await self.codes.of(address, purpose)
        user = await self.users.by_email(address)
        if code is None or user is None or code.expires_at <= await self.codes.now():
            return None
        return LETTERS[purpose](user.email, code.code)


@dataclass
class VerificationService:
    codes: Injected[CodeService]
    users: Injected[UserDirectory]

    async def ask(self, address: str) -> None:
        await self.codes.ask(address, VERIFY)

    async def verify(self, given: EmailAndCode) -> bool:
        user = await self.codes.use(given, VERIFY)
        user.is_verified = True
        return (await self.users.save(user)).is_verified


@dataclass
class PasswordResetService:
    codes: Injected[CodeService]
    users: Injected[UserDirectory]
    sign_ins: Injected[SignInRepository]
    log: Injected[ActivityLog]
    jobs: Injected[JobQueue]
    passwords: CurrentPasswords
    tokens: CurrentTokenSigner

    async def ask(self, address: str) -> None:
        await self.codes.ask(address, RESET)

    async def allow(self, given: EmailAndCode) -> str:
        """A token that allows one change of the password."""
        user = await self.codes.use(given, RESET)
        return self.tokens.reset(user.id, user.hashed_password, await self.sign_ins.now())

    async def reset(self, given: PasswordReset) -> None:
        """Sets the password and ends every sign-in, the thief's included."""
        user_id, fingerprint = self.tokens.read_reset(given.reset_token)
        # Hashed before the first statement: no connection and no lock is held meanwhile.
        hashed = await self.passwords.hash(given.new_password)
        user = await self.users.get(user_id, lock=True)
        if len(given.new_password) < SHORTEST_PASSWORD:
            raise PasswordTooShort
        if not self.tokens.is_of(fingerprint, user.hashed_password):
            raise InvalidResetToken
        user.hashed_password = hashed
        await self.users.save(user)
        await self.sign_ins.revoke_all(user.id)
        await self.log.record(ActivityKind.PASSWORD_RESET, user.id)
        await self.jobs.enqueue(SendNotice(address=user.email, about="password_changed"))


def _six_digits() -> str:
    return str(secrets.randbelow(900_000) + 100_000)
