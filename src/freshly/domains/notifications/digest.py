"""The texts of the daily digest of food that expires soon: a notification and an email."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from freshly.chassis.one_line import name_in_email
from freshly.chassis.ports.email import Email

DIGEST_PERIOD = timedelta(days=3)  # the digest names food that expires within this time
MAX_LISTED = 10


@dataclass(frozen=True)
class ExpiringFood:
    """A food in the pantry with its expiry date."""

    name: str
    expires_at: date


def title(foods: Sequence[ExpiringFood]) -> str:
    return f"{len(foods)} {'thing' if len(foods) == 1 else 'things'} to use soon"


def message(foods: Sequence[ExpiringFood], day: date) -> str:
    listed = [f"{food.name} ({_when(food.expires_at, day)})" for food in foods[:MAX_LISTED]]
    omitted = len(foods) - len(listed)
    return "Good until: " + ", ".join(listed) + (f", and {omitted} more." if omitted else ".")


def email(to: str, name: str | None, foods: Sequence[ExpiringFood], day: date) -> Email:
    lines = "\n".join(
        f"  {name_in_email(food.name)}: good until {_when(food.expires_at, day)}" for food in foods
    )
    return Email(
        to=to,
        subject=f"Freshly: {title(foods)}",
        text=(
            f"Good morning{f' {name_in_email(name)}' if name else ''},\n\n"
            f"please use this food soon:\n\n{lines}\n\n"
            "You can turn off this email in the app.\n"
        ),
    )


def _when(expires_at: date, day: date) -> str:
    days = (expires_at - day).days
    return ("today", "tomorrow")[days] if days < 2 else f"{expires_at:%A}"  # noqa: PLR2004
