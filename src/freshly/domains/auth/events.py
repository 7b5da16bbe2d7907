from dataclasses import dataclass

from freshly.chassis.data.events import Event


@dataclass(frozen=True)
class AccountStatusChanged(Event):
    """An account was closed, opened again, or changed by a command."""

    user_id: int


@dataclass(frozen=True)
class FamilyRestoreRequested(Event):
    """An owner of a closed family opened the link in the email. Listeners may raise InvalidLink."""

    user_id: int
    family_id: int
