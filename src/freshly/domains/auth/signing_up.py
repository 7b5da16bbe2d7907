"""The rule for new accounts, which the families domain implements."""

from typing import Protocol

from freshly.chassis.data.transactions import Session
from freshly.domains.users.models import User


class Door(Protocol):
    """Lets a person in who wants an account, by `ALLOW_SIGNUP` and by an invitation."""

    def knock(self) -> None:
        """Refuse early, and without a statement, where no invitation could help."""

    async def admit(self, email: str, session: Session) -> None:
        """Raise the reason against a new account. The address is not looked up before."""

    async def welcome(self, user: User, session: Session) -> None:
        """Use the invitation for the new user."""
