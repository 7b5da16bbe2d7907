"""Codes of six digits, sent by email to confirm an address or to reset a password."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hmac import compare_digest

from freshly.chassis.data.transactions import DbSession
from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.chassis.ports.email import Email
from freshly.chassis.resources import CurrentPasswords, CurrentSettings
from freshly.chassis.security.codes import CurrentCodeSigner, is_link_token, new_seed
from freshly.domains.auth import emails
from freshly.domains.auth.attempts import AccountAttempts, subject_of_address
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
from freshly.domains.auth.links import LinkService, url
from freshly.domains.auth.models import AccountCode, CodePurpose, LinkPurpose
from freshly.domains.auth.password_rules import check_password
from freshly.domains.auth.repository import (
    AuthSessionRepository,
    CodeRepository,
    OAuthAccountRepository,
)
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


REAUTHENTICATE = CodeKind(CodePurpose.REAUTHENTICATE, NoActiveCode, CodeExpired, WrongCode)
EMAIL_CHANGE = CodeKind(CodePurpose.EMAIL_CHANGE, NoActiveCode, CodeExpired, WrongCode)
VERIFY = CodeKind(CodePurpose.VERIFY, NoActiveCode, CodeExpired, WrongCode)
RESET = CodeKind(CodePurpose.RESET, NoActiveResetCode, ResetCodeExpired, WrongResetCode)
EMAILS: Mapping[CodePurpose, Callable[[str, str], Email]] = {
    CodePurpose.EMAIL_CHANGE: emails.email_change,
    CodePurpose.REAUTHENTICATE: emails.reauthentication,
}
EMAILS_WITH_LINK: Mapping[CodePurpose, tuple[LinkPurpose, Callable[[str, str, str], Email]]] = {
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
        """Enqueue an email with the code. The job sends it only if the address has an account."""
        subject = subject_of_address(address, await self.users.by_email(address))
        await prepare_code(self.codes, subject, kind.purpose)
        await self.jobs.enqueue(SendCode(address=subject, purpose=kind.purpose))

    async def send_to_user(self, user: User, kind: CodeKind, address: str) -> None:
        """Enqueue an email with a code that only this signed-in user can redeem."""
        await prepare_code(self.codes, subject_of(user.id), kind.purpose)
        job = SendCode(address=address, purpose=kind.purpose, user_id=user.id)
        await self.jobs.enqueue(job)

    async def redeem(self, given: EmailAndCode, kind: CodeKind, *, known: bool) -> User:
        """Return the user of a correct code, and delete the code. Count a wrong attempt.

        `known` says whether the user has signed in from the client's network before.
        """
        user = await self.users.by_email(given.email)
        code = await self._open(subject_of_address(given.email, user), kind, known=known)
        await self._check(code, given.code, kind, user, known=known)
        assert user is not None, "a right code belongs to a user"
        return user

    async def redeem_of_user(self, given: str, kind: CodeKind, user: User) -> None:
        """Delete the code of a signed-in user if it is right. Count a wrong attempt."""
        code = await self._open(subject_of(user.id), kind, known=True)
        await self._check(code, given, kind, user, known=True)

    async def _open(self, subject: str, kind: CodeKind, *, known: bool) -> AccountCode:
        code = await self.codes.of(subject, kind.purpose)
        if code is None:
            raise kind.none
        if code.expires_at <= await self.codes.now():
            raise kind.expired
        if (code.known_tries if known else code.tries) >= MAX_ATTEMPTS:
            raise TooManyAttempts
        return code

    async def _check(
        self, code: AccountCode, given: str, kind: CodeKind, user: User | None, *, known: bool
    ) -> None:
        right = self.signer.six_digits(code.seed)
        if compare_digest(right.encode(), given.encode()) and user is not None:
            await self.codes.delete(code)
            return
        if known:
            code.known_tries += 1
        else:
            code.tries += 1
        await self.codes.save(code)
        if kind is RESET:  # a client may be guessing
            await self.log.record_denied(ActivityKind.PASSWORD_RESET, user.id if user else None)
        raise kind.wrong

    async def forget(self, address: str, user_id: int) -> None:
        """Delete the codes of a user and their address, and the jobs that would email them."""
        await self.codes.forget(address)
        await self.codes.forget(subject_of(user_id))
        await self.jobs.delete(SendCode, address=address)


def subject_of(user_id: int) -> str:
    """Return the subject of the codes of a signed-in user. No email address is the same text."""
    return f"user:{user_id}"


async def prepare_code(codes: CodeRepository, subject: str, purpose: CodePurpose) -> None:
    """Insert a code, or renew one that has expired.

    A second request within ten minutes keeps the code, because a stranger may have made it: the
    code that the user holds stays good. It gets new attempts, which AccountAttempts limits.
    """
    now = await codes.now()
    code = await codes.of(subject, purpose)
    if code is None:
        expires_at = now + LIFETIME
        await codes.save(
            AccountCode(subject=subject, purpose=purpose, seed=new_seed(), expires_at=expires_at)
        )
        return
    has_expired = code.expires_at <= now
    if has_expired:
        code.seed, code.expires_at = new_seed(), now + LIFETIME
    if has_expired or max(code.tries, code.known_tries) >= MAX_ATTEMPTS:
        code.tries = code.known_tries = 0
        await codes.save(code)


@dataclass
class CodeEmails:
    """Writes the emails with codes, for the worker."""

    codes: Injected[CodeRepository]
    users: Injected[UserDirectory]
    links: Injected[LinkService]
    signer: CurrentCodeSigner
    settings: CurrentSettings

    async def of(self, job: SendCode) -> Email | None:
        """Return None if the address has no account or no valid code. Insert the email's link."""
        subject = job.address if job.user_id is None else subject_of(job.user_id)
        code = await self.codes.of(subject, job.purpose)
        user = await self._user(job)
        if code is None or user is None or code.expires_at <= await self.codes.now():
            return None
        if job.purpose in EMAILS:
            return EMAILS[job.purpose](job.address, self.signer.six_digits(code.seed))
        link_purpose, write = EMAILS_WITH_LINK[job.purpose]
        token = self.signer.token(await self.links.create(user.id, link_purpose))
        return write(user.email, self.signer.six_digits(code.seed), url(self.settings, token))

    async def _user(self, job: SendCode) -> User | None:
        """Return the user, if the address is still the one that the code is for."""
        if job.user_id is None:
            return await self.users.by_email(job.address)
        user = await self.users.by_id(job.user_id)
        if user is None:
            return None
        is_change = job.purpose is CodePurpose.EMAIL_CHANGE
        wanted = user.pending_email if is_change else user.email
        return user if wanted == job.address else None


@dataclass
class GuardedCodes:
    """Codes within the limits of each account."""

    codes: Injected[CodeService]
    users: Injected[UserDirectory]
    attempts: Injected[AccountAttempts]
    session: DbSession

    async def send(self, address: str, kind: CodeKind) -> None:
        """Send an email with the code, at most one a minute. The client learns no difference."""
        user = await self.users.by_email(address)
        known = await self.attempts.is_known(user, self.session)
        subject = self.attempts.subject(address, user, known=known)
        if await self.attempts.allows_email(subject, kind.purpose):
            await self.codes.send(address, kind)

    async def redeem(self, given: EmailAndCode, kind: CodeKind) -> User:
        """Return the user of a correct code. Raise RateLimited after too many attempts."""
        found = await self.users.by_email(given.email)
        known = await self.attempts.is_known(found, self.session)
        subject = self.attempts.subject(given.email, found, known=known)
        await self.attempts.count(subject)
        user = await self.codes.redeem(given, kind, known=known)
        await self.attempts.succeeded(subject)
        return user

    async def send_to_user(self, user: User, kind: CodeKind, address: str) -> None:
        """Send a signed-in user an email with a code, within the same limits."""
        if await self.attempts.allows_email(subject_of(user.id), kind.purpose):
            await self.codes.send_to_user(user, kind, address)


@dataclass
class VerificationService:
    codes: Injected[GuardedCodes]
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
    codes: Injected[GuardedCodes]
    links: Injected[LinkService]
    users: Injected[UserDirectory]
    auth_sessions: Injected[AuthSessionRepository]
    oauth_accounts: Injected[OAuthAccountRepository]
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
        return self.tokens.reset(user.id, _state(user), await self.auth_sessions.now())

    async def reset(self, given: PasswordReset) -> None:
        """Set the password and end all sessions of the user, those of a thief included.

        Unlink Google and Apple: another person may have had this account before the user proved
        that the address is theirs.
        """
        user_id, fingerprint = self.tokens.read_reset(given.reset_token)
        # Hash before the first statement, so that hashing holds no connection and no lock.
        hashed = await self.passwords.hash(given.new_password)
        user = await self.users.get(user_id, lock=True)
        if len(given.new_password) < SHORTEST_PASSWORD:
            raise PasswordTooShort
        if not self.tokens.matches(fingerprint, _state(user)):
            raise InvalidResetToken
        check_password(given.new_password, user.email, user.name)
        await self._set(user, hashed)

    async def reset_by_link(self, token: str, new_password: str) -> None:
        """Set the password by the link in the email.

        Raise InvalidLink, or the reason against the password; then the link stays good.
        """
        hashed = await self.passwords.hash(new_password)
        if len(new_password) < SHORTEST_PASSWORD:
            raise PasswordTooShort
        user_id = await self.links.use(token, LinkPurpose.RESET)
        user = await self.users.get(user_id, lock=True)
        check_password(new_password, user.email, user.name)
        await self._set(user, hashed)

    async def _set(self, user: User, hashed: str) -> None:
        user.hashed_password = hashed
        await self.users.save(user)
        await self.links.delete(user.id, LinkPurpose.RESET)
        await self.oauth_accounts.unlink(user.id)
        await self.auth_sessions.revoke_all(user.id)
        await self.log.record(ActivityKind.PASSWORD_RESET, user.id)
        await self.jobs.enqueue(SendNotice(address=user.email, about="password_changed"))


def _state(user: User) -> str:
    """Return the state for which a reset token is valid: a new address ends it too."""
    return f"{user.email} {user.hashed_password}"
