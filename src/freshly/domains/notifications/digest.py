"""What is to be used soon, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from freshly.chassis.ports.email import Email

SOON = timedelta(days=3)
MOST_NAMED = 10


@dataclass(frozen=True)
class ToUse:
    name: str
    expires_at: date


def title(found: Sequence[ToUse]) -> str:
    return f"{len(found)} {'thing' if len(found) == 1 else 'things'} to use soon"


def told(found: Sequence[ToUse], day: date) -> str:
    named = [f"{one.name} ({_when(one.expires_at, day)})" for one in found[:MOST_NAMED]]
    more = len(found) - len(named)
    return "Good until: " + ", ".join(named) + (f", and {more} more." if more else ".")


def email(to: str, name: str, found: Sequence[ToUse], day: date) -> Email:
    lines = "\n".join(f"  {one.name}: good until {_when(one.expires_at, day)}" for one in found)
    return Email(
        to=to,
        subject=f"Freshly: {title(found)}",
        text=(
            f"Good morning {name},\n\n"
            f"this is best used in the next days:\n\n{lines}\n\n"
            "Perhaps there is a meal in it. You can choose in the app not to get this letter.\n"
        ),
    )


def _when(expires_at: date, day: date) -> str:
    days = (expires_at - day).days
    return ("today", "tomorrow")[days] if days < 2 else f"{expires_at:%A}"  # noqa: PLR2004
