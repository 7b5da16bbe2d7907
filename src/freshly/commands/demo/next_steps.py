"""Prints what a user can try on the server that has the demo's week."""

from string import Template

from rich.console import Console
from rich.text import Text

from freshly.commands.demo.builder import PlannedWeek

# A shell runs these lines as they are. test_demo.py does.
STEPS = Template("""\
api=$url
account='{"email":"$email","password":"$password"}'
token=$$(curl -s $$api/auth/login -H 'Content-Type: application/json' -d "$$account" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')
curl -s $$api/meals/me -H "Authorization: Bearer $$token" | python3 -m json.tool
curl -s $$api/meal-plans/$plan/slots -H "Authorization: Bearer $$token" | python3 -m json.tool
curl -s $$api/grocery-lists/$list -H "Authorization: Bearer $$token" | python3 -m json.tool
""")


def print_next_steps(console: Console, week: PlannedWeek, url: str | None, last_line: str) -> None:
    """Print a sign-in and calls to try at this URL, if there is one, and then the last line."""
    console.print()
    if url is not None:
        founder = week.members[0]
        name, email = founder.user.name or founder.user.email, founder.user.email
        console.print(Text("Look around", style="bold"))
        console.print()
        lines = (
            f"In a browser: {url}",
            f"Sign in as {name}: {email}, password {founder.password}",
            f"All calls: {url}/docs. Try POST /auth/login there with this account, press",
            "Authorize, and paste the access_token. In a second terminal:",
        )
        steps = STEPS.substitute(
            url=url,
            email=email,
            password=founder.password,
            plan=week.plan.id,
            list=week.shopping.to_buy.id,
        )
        # A terminal wraps the lines itself, so that they can be copied whole.
        console.print(Text("\n".join(lines) + "\n\n" + steps), soft_wrap=True)
    if last_line:
        console.print(Text(last_line), soft_wrap=True)
