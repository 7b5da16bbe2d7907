"""The emails to users about their account."""

import re

from freshly.chassis.ports.email import Email

CODE_LIFETIME_MINUTES = 10
DEVICE_LENGTH = 60  # characters
SECURE_ACCOUNT = (
    "If you did not, please reset your password in the app now. Then change the password "
    "of your email account too: the person who did this may be able to read your email.\n"
)


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


def email_change(to: str, code: str) -> Email:
    return Email(
        to=to,
        subject="Confirm your new email address for Freshly",
        text=(
            f"Your code is {code}.\n\n"
            f"Please enter it in the app within {CODE_LIFETIME_MINUTES} minutes "
            "to use this address for your Freshly account.\n"
            "If you did not ask for this, you can ignore this email.\n"
        ),
    )


def reauthentication(to: str, code: str) -> Email:
    return Email(
        to=to,
        subject="Confirm that it is you",
        text=(
            f"Your code is {code}.\n\n"
            f"Please enter it in the app within {CODE_LIFETIME_MINUTES} minutes "
            "to go on with an important change of your account.\n"
            "Do not pass it on. If you did not ask for it, please sign out your other devices "
            "in the app.\n"
        ),
    )


def email_change_requested(to: str, link: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly email address is about to change",
        text=(
            "A device that is signed in to your account asked to use another email address.\n\n"
            "If it was you, you need not do anything.\n"
            "If it was not you, open this link within seven days. It keeps this address, "
            f"and signs out all devices:\n{link}\n"
        ),
    )


def email_changed(to: str) -> Email:
    return Email(
        to=to,
        subject="This is now your Freshly email address",
        text=(
            "Your Freshly account uses this email address now. Your other devices were signed out. "
            "Sign-in with Google or Apple was removed from the account. For seven days, a link in "
            "the mailbox of your old address can undo the change.\n\n"
            f"If you changed it, you need not do anything.\n{SECURE_ACCOUNT}"
        ),
    )


def email_change_undone(to: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly email address stays the same",
        text=(
            "The change of your email address was cancelled, and all your devices were signed "
            "out.\n\nPlease choose a new password when you sign in again: use "
            '"forgot password" in the app.\n'
        ),
    )


def password_changed(to: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly password was changed",
        text=(
            "Your password was changed just now, and your other devices were signed out. "
            "If you reset it with a code or a link, sign-in with Google or Apple was removed too."
            f"\n\nIf you changed it, you need not do anything.\n{SECURE_ACCOUNT}"
        ),
    )


def new_sign_in(to: str, device: str, network: str) -> Email:
    return Email(
        to=to,
        subject="New sign-in to your Freshly account",
        text=(
            "Your account was signed in to from a device or a place that is new to us.\n\n"
            f"Device: {plain_device(device)}\nNetwork address: {network}\n\n"
            f"If it was you, you need not do anything.\n{SECURE_ACCOUNT}"
        ),
    )


def account_closed(to: str, link: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly account is closed",
        text=(
            "Your account is closed, and all your devices were signed out. "
            "We delete it and its data in seven days.\n\n"
            f"If you want to keep it, open this link before then:\n{link}\n"
        ),
    )


def account_restored(to: str) -> Email:
    return Email(
        to=to,
        subject="Your Freshly account is open again",
        text=(
            "Your account is not deleted. You can sign in again.\n\n"
            "If you did not close it yourself, please choose a new password: use "
            '"forgot password" in the app.\n'
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


def plain_device(user_agent: str) -> str:
    """Return the user agent without the signs of links, because a client chooses its text."""
    return re.sub(r"[^A-Za-z0-9 ;()_-]+", " ", user_agent)[:DEVICE_LENGTH].strip() or "unknown"
