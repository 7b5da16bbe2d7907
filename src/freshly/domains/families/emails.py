"""The emails about a family. Users choose its name, so it is cut and contains no link."""

from freshly.chassis.one_line import name_in_email
from freshly.chassis.ports.email import Email

CHECK_ROLES = "If this surprises you, please check the members of the family in the app."


def family_closed(to: str, family: str, link: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly family is deleted in seven days",
        text=(
            f"An owner of your family {_quoted(family)} deleted it, so its members no longer see "
            "it. In seven days we delete its pantry, plans, lists and recipes for good.\n\n"
            f"If you want to keep the family, open this link before then:\n{link}\n"
        ),
    )


def family_restored(to: str, family: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly family is not deleted",
        text=(
            f"An owner deleted your family {_quoted(family)}, and now kept it. You and its other "
            "members see it again, with all that it shares. A meal that you changed meanwhile is "
            "no longer attached to it. Earlier invitations to it do not work any more.\n\n"
            "If you no longer want to belong to it, you can leave it in the app. If you are an "
            "owner and did not delete it yourself, please check who its owners are.\n"
        ),
    )


def owner_added(to: str, family: str, person: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly family has a new owner",
        text=(
            f"{name_in_email(person)} is now an owner of your family {_quoted(family)}. "
            "Owners can change all roles, remove members and delete the family.\n\n"
            f"{CHECK_ROLES}\n"
        ),
    )


def owner_made(to: str, family: str) -> Email:
    return Email(
        to=to,
        subject="You are an owner of your Freshly family",
        text=(
            f"You are now an owner of the family {_quoted(family)}. "
            "Owners can change all roles, remove members and delete the family.\n\n"
            f"{CHECK_ROLES}\n"
        ),
    )


def owner_no_more(to: str, family: str) -> Email:
    return Email(
        to=to,
        subject="You are no longer an owner of your Freshly family",
        text=(
            f"You are no longer an owner of the family {_quoted(family)}.\n\n"
            "If this surprises you, please ask its other owners, and reset your password in the "
            "app.\n"
        ),
    )


def _quoted(family: str) -> str:
    return f'"{name_in_email(family)}"'
