"""What we write to people about their account."""

from freshly.chassis.ports.email import Email

GOOD_FOR = 10  # minutes


def verification(to: str, code: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly code",
        text=(
            f"Your code is {code}.\n\n"
            f"It is good for {GOOD_FOR} minutes and confirms that this address is yours.\n"
            "If you did not ask for it, ignore this letter.\n"
        ),
    )


def password_reset(to: str, code: str) -> Email:
    return Email(
        to=to,
        subject="A new password for Freshly",
        text=(
            f"Your code for a new password is {code}.\n\n"
            f"It is good for {GOOD_FOR} minutes. If you did not ask for it, ignore this letter: "
            "your password stays as it is.\n"
        ),
    )


def password_changed(to: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly password was changed",
        text=(
            "Your password was changed just now, and every device was signed out.\n\n"
            "If that was you, all is well. If not, ask for a new password in the app at once, and"
            " change the password of this mailbox too: whoever did it can read your letters.\n"
        ),
    )


def account_deleted(to: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly account is deleted",
        text=(
            "Your account and what was yours in it are deleted, as you wished. "
            "This is our last letter to you.\n\n"
            "Thank you for having cooked with us.\n"
        ),
    )
