"""Limits for each account, over all networks together."""

import hashlib
from dataclasses import dataclass

from freshly.chassis.data.transactions import Session
from freshly.chassis.dependencies import Injected
from freshly.chassis.security.client_info import CurrentClientInfo, network_of
from freshly.chassis.web.rate_limiting import CallLimits
from freshly.domains.auth.repository import AuthSessionRepository
from freshly.domains.users.models import User
from freshly.domains.users.schemas import normalized

ATTEMPTS, EMAILS = "auth-attempts", "auth-emails"


def subject_of_address(address: str, user: User | None) -> str:
    """Return the address of the account as it is stored, or else in lower case."""
    return user.email if user else normalized(address)


@dataclass
class AccountAttempts:
    """Counts the attempts of passwords and codes for an account, and the emails they ask for.

    All networks share one count, so that a guesser gains nothing by using many. A network from
    which the user has signed in lately has a count of its own, so that a stranger cannot use up
    the attempts of the user. A new password begins a new count, so that a user who has reset it
    by an email gets in, whatever strangers tried. Unknown addresses are counted like accounts.
    """

    limits: Injected[CallLimits]
    client_info: CurrentClientInfo

    async def is_known(self, user: User | None, session: Session) -> bool:
        """Return whether the user has signed in from the client's network lately."""
        sessions, network = AuthSessionRepository(session), network_of(self.client_info.address)
        return await sessions.is_known_network(user.id if user else 0, network)

    def subject(self, address: str, user: User | None, *, known: bool) -> str:
        """Return what is counted: the account with its password, or the account at a known network.

        The text contains a digest of the stored hash, which tells nothing about the password.
        """
        account = subject_of_address(address, user)
        if known:
            return f"{account}|{network_of(self.client_info.address)}"
        stored_hash = (user.hashed_password if user else None) or ""
        return f"{account}|{hashlib.sha256(stored_hash.encode()).hexdigest()[:16]}"

    async def count(self, subject: str) -> None:
        """Count an attempt before its outcome is known. Raise RateLimited."""
        await self.limits.count(ATTEMPTS, {subject: 1})

    async def succeeded(self, subject: str) -> None:
        """Uncount an attempt with the right password or code."""
        await self.limits.give_back(ATTEMPTS, [subject])

    async def allows_email(self, subject: str, purpose: str) -> bool:
        """Count an email. Return False if the account gets no more for this purpose for now.

        Each purpose has its own count, so that a stranger's requests for one leave the others.
        """
        return await self.limits.allows(EMAILS, {f"{subject}|{purpose}": 1})
