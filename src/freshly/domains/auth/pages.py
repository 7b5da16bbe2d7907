"""The pages behind the links in emails. They need no script and load nothing."""

from html import escape

from freshly.domains.auth.models import LinkPurpose

# The token is in the page and its address, so no cache keeps it and no other site learns it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
QUESTIONS = {
    LinkPurpose.VERIFY: ("Confirm your email address", "Confirm"),
    LinkPurpose.RESET: ("Choose a new password", "Save the password"),
    LinkPurpose.UNDO_EMAIL_CHANGE: ("Keep your email address", "Keep it and sign out all devices"),
    LinkPurpose.RESTORE_ACCOUNT: ("Keep your account", "Keep it"),
    LinkPurpose.RESTORE_FAMILY: ("Keep your family", "Keep it"),
}
RESULTS = {
    LinkPurpose.VERIFY: "Your email address is confirmed.",
    LinkPurpose.RESET: "Your password is changed. Sign in with the new one in the app.",
    LinkPurpose.UNDO_EMAIL_CHANGE: (
        "Your email address stays the same, and all devices are signed out. "
        'Please choose a new password now: use "forgot password" in the app.'
    ),
    LinkPurpose.RESTORE_ACCOUNT: "Your account stays. You can sign in again.",
    LinkPurpose.RESTORE_FAMILY: (
        "Your family stays, with its members and all that it shares. "
        "Earlier invitations to it do not work any more."
    ),
}
INPUT = (
    '<p><label>New password, at least 8 characters<br><input type="password" name="new_password"'
    ' minlength="8" maxlength="72" autocomplete="new-password" required></label></p>'
)


def question(purpose: LinkPurpose, token: str) -> str:
    """Return the page that asks before the link does anything."""
    title, button = QUESTIONS[purpose]
    field = INPUT if purpose is LinkPurpose.RESET else ""
    return page(
        title,
        # This means the path of the page itself, so it works below any path of a proxy.
        '<form method="post" action="?">'
        f'<input type="hidden" name="token" value="{escape(token)}">{field}'
        f"<p><button>{button}</button></p></form>",
    )


def result(purpose: LinkPurpose) -> str:
    """Return the page after the link has done what it says."""
    return page("Freshly", f"<p>{RESULTS[purpose]}</p>")


def page(title: str, content: str) -> str:
    """Return a page. The caller escapes what is not ours."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title></head><body><h1>{title}</h1>{content}</body></html>"
    )
