"""The emails to users about their account."""

from freshly.chassis.ports.email import Email

CODE_LIFETIME_MINUTES = 10


def verification(to: str, code: str, link: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly code",
        text=(
            f"Your code is {code}.\n\n"
            f"Please enter it in the app within {CODE_LIFETIME_MINUTES} minutes "
            "to confirm your email address.\n"
            f"Or open this link within a day:\n{link}\n\n"
            "If you did not ask for a code, you can ignore this email.\n"
        ),
    )


def password_reset(to: str, code: str, link: str) -> Email:
    return Email(
        to=to,
        subject="Reset your Freshly password",
        text=(
            f"Your code is {code}.\n\n"
            f"Please enter it in the app within {CODE_LIFETIME_MINUTES} minutes "
            "to choose a new password.\n"
            f"Or open this link within a day:\n{link}\n\n"
            "If you did not ask for a code, you can ignore this email. "
            "Your password stays the same.\n"
        ),
    )


def password_changed(to: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly password was changed",
        text=(
            "Your password was changed just now, and all your devices were signed out.\n\n"
            "If you changed it, you need not do anything.\n"
            "If you did not, please reset your password in the app now. Then change the password "
            "of your email account too: the person who did this may be able to read your email.\n"
        ),
    )


def account_deleted(to: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly account is deleted",
        text=(
            "Your account and your data are deleted, as you asked. "
            "This is our last email to you.\n\n"
            "Thank you for using Freshly.\n"
        ),
    )
