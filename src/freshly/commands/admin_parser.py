"""The arguments of `freshly admin`. They import nothing, so that other commands start quickly."""

import argparse

from freshly.settings import Settings

EXAMPLES = """\
examples:
  freshly admin create anna@example.com         make an account an administrator, or invite one
  freshly admin list --search example.com       show accounts
  freshly admin list --json | jq -r '.[].email'
  freshly admin set-tier pro anna@example.com
  freshly admin invite --email ben@example.com  print a link that creates one account
"""
FOR_ADDRESSES = (
    ("create", "make accounts administrators; print a link for an address without an account"),
    ("revoke", "make administrators ordinary users again"),
    ("suspend", "sign accounts out, and let them in no more"),
    ("restore", "let suspended and closed accounts in again"),
    ("sign-out", "end all sessions of accounts"),
)
LONGEST_PAGE = 500


def add_admin(admin: argparse.ArgumentParser) -> None:
    """Add the actions of `freshly admin` to its parser."""
    admin.epilog = EXAMPLES
    admin.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = admin.add_subparsers(title="actions", metavar="", required=True)
    for action, text in FOR_ADDRESSES:
        parser = actions.add_parser(action, help=text)
        parser.add_argument("addresses", nargs="+", metavar="EMAIL")
        parser.set_defaults(run=_change, action=action)
    tier = actions.add_parser("set-tier", help="set the tier of accounts, such as free or pro")
    tier.add_argument("tier", metavar="TIER")
    tier.add_argument("addresses", nargs="+", metavar="EMAIL")
    tier.set_defaults(run=_change, action="set-tier")
    listing = actions.add_parser("list", help="list accounts, newest first")
    listing.add_argument("--search", metavar="TEXT", help="a part of the address or the name")
    listing.add_argument("--status", choices=("active", "suspended", "closed"))
    listing.add_argument("--tier", metavar="TIER")
    listing.add_argument("--administrators", action="store_true", help="only administrators")
    _add_output(listing)
    listing.set_defaults(run=_list)
    acts = actions.add_parser("acts", help="list what administrators did, newest first")
    _add_output(acts)
    acts.set_defaults(run=_acts)
    invite = actions.add_parser("invite", help="print a link with which a person signs up")
    invite.add_argument("--email", metavar="EMAIL", help="only this address may use it")
    invite.add_argument("--days", type=_days, default=7, help="until it ends (default: 7)")
    invite.set_defaults(run=_invite)
    set_up = actions.add_parser("setup-link", help="print the link of the first administrator")
    set_up.set_defaults(run=_set_up)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=_limit, default=50, help="at most so many (default: 50)")
    parser.add_argument("--json", action="store_true", help="print a JSON array")


def _limit(text: str) -> int:
    return _between(text, 1, LONGEST_PAGE)


def _days(text: str) -> int:
    return _between(text, 1, 30)


def _between(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"give a number from {least} to {most}")
    return int(text)


def _change(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.accounts import change

    return change(settings, options.action, options.addresses, getattr(options, "tier", ""))


def _list(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.accounts import show

    filters = {
        name: value
        for name in ("search", "status", "tier", "administrators", "limit")
        if (value := getattr(options, name))
    }
    return show(settings, filters, as_json=options.json)


def _acts(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.accounts import show_acts

    return show_acts(settings, options.limit, as_json=options.json)


def _invite(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.accounts import invite

    return invite(settings, options.email, options.days)


def _set_up(settings: Settings, _options: argparse.Namespace) -> int:
    from freshly.commands.accounts import print_set_up_link

    return print_set_up_link(settings)
