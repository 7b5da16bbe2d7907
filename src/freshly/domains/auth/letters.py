"""What we write to people about their account."""

from freshly.chassis.mail import Letter

GOOD_FOR = 10  # minutes


def verification(to: str, code: str) -> Letter:
    return Letter(
        to=to,
        subject="Your Freshly code",
        text=(
            f"Your code is {code}.\n\n"
            f"It is good for {GOOD_FOR} minutes and confirms that this address is yours.\n"
            "If you did not ask for it, ignore this letter.\n"
        ),
    )


def password_reset(to: str, code: str) -> Letter:
    return Letter(
        to=to,
        subject="A new password for Freshly",
        text=(
            f"Your code for a new password is {code}.\n\n"
            f"It is good for {GOOD_FOR} minutes. If you did not ask for it, ignore this letter: "
            "your password stays as it is.\n"
        ),
    )
