"""The page behind the link of an invitation to sign up. It needs no script and loads nothing."""

from html import escape

from freshly.domains.administration.invitations import PATH
from freshly.domains.auth.pages import page

FIELDS = (
    '<p><label>Your email address<br><input type="email" name="email" maxlength="255"'
    ' autocomplete="username" required></label></p>'
    '<p><label>Your name<br><input name="name" maxlength="255" autocomplete="name"></label></p>'
    '<p><label>A password, at least 8 characters<br><input type="password" name="password"'
    ' minlength="8" maxlength="72" autocomplete="new-password" required></label></p>'
)
CREATED = "Your account is ready. You can sign in now, with your address and your password."


def form(token: str, *, makes_administrator: bool) -> str:
    """Return the page with the form that creates the account."""
    title = "Create your Freshly account"
    about = "<p>This account will administer this server.</p>" if makes_administrator else ""
    return page(
        title,
        f'{about}<form method="post" action="{PATH}">'
        f'<input type="hidden" name="token" value="{escape(token)}">{FIELDS}'
        "<p><button>Create the account</button></p></form>",
    )


def created() -> str:
    return page("Freshly", f"<p>{CREATED}</p>")
