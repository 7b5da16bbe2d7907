"""The texts about food that expires soon: a notification and an email."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from freshly.chassis.ports.email import Email

SOON = timedelta(days=3)
MAX_NAMED = 10


@dataclass(frozen=True)
class ToUse:
    name: str
    expires_at: date


def title(found: Sequence[ToUse]) -> str:
    return f"{len(found)} {'thing' if len(found) == 1 else 'things'} to use soon"


def message(found: Sequence[ToUse], day: date) -> str:
    named = [f"{one.name} ({_when(one.expires_at, day)})" for one in found[:MAX_NAMED]]
    more = len(found) - len(named)
    return "Good until: " + ", ".join(named) + (f", and {more} more." if more else ".")


def email(to: str, name: str, found: Sequence[ToUse], day: date) -> Email:
    lines = "\n".join(f"  {one.name}: good until {_when(one.expires_at, day)}" for one in found)
    return Email(
        to=to,
        subject=f"Freshly: {title(found)}",
        text=(
            f"Good morning {name},\n\n"
            f"please use this food soon:\n\n{lines}\n\n"
            "You can turn off this email in the app.\n"
        ),
    )


def _when(expires_at: date, day: date) -> str:
    days = (expires_at - day).days
    return ("today", "tomorrow")[days] if days < 2 else f"{expires_at:%A}"  # noqa: PLR2004
