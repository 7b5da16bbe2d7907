"""The `freshly` command."""

import argparse
import sys
from collections.abc import Callable, Sequence

from freshly import __version__
from freshly.settings import BadSettings, Settings, load

BAD_SETTINGS_STATUS = 2  # the exit status if the settings are wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in the arguments, or in `sys.argv`. Return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = load(data=options.needs_data)
        run: Callable[[Settings, argparse.Namespace], int] = options.run
        return run(settings, options)
    except BadSettings as error:
        print(f"freshly: {error}", file=sys.stderr)  # noqa: T201
        return BAD_SETTINGS_STATUS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="freshly", description="The kitchen backend.")
    parser.add_argument("--version", action="version", version=f"freshly {__version__}")
    parser.set_defaults(run=_serve, needs_data=True)
    commands = parser.add_subparsers(title="commands", metavar="")
    serve = commands.add_parser("serve", help="migrate the database, then serve (the default)")
    serve.set_defaults(run=_serve)
    worker = commands.add_parser("worker", help="run background jobs")
    worker.set_defaults(run=_worker)
    _add_jobs(commands.add_parser("jobs", help="list, retry or cancel background jobs"))
    _add_accounts(commands.add_parser("accounts", help="suspend, restore or sign out accounts"))
    migrate = commands.add_parser("migrate", help="bring the database to this release's schema")
    migrate.add_argument("--dry-run", action="store_true", help="print the SQL without running it")
    migrate.set_defaults(run=_migrate)
    doctor = commands.add_parser("doctor", help="check the settings and the services they point to")
    doctor.set_defaults(run=_doctor)
    demo = commands.add_parser("demo", help="show a family's week and its shopping list")
    demo.add_argument("--url", help="URL of a running server (default: a temporary server)")
    demo.add_argument("--keep", action="store_true", help="keep the server running until Ctrl-C")
    demo.set_defaults(run=_demo, needs_data=False)
    return parser


def _add_jobs(jobs: argparse.ArgumentParser) -> None:
    actions = jobs.add_subparsers(title="actions", metavar="", required=True)
    list_parser = actions.add_parser("list", help="list jobs, newest first")
    states = ("queued", "running", "done", "failed", "cancelled")
    list_parser.add_argument(
        "--state",
        action="append",
        choices=states,
        default=[],
        help="only jobs in this state (may be given several times)",
    )
    list_parser.add_argument("--kind", help="only jobs of this kind, such as auth.send_code")
    list_parser.add_argument("--limit", type=int, default=50, help="at most so many (default: 50)")
    list_parser.set_defaults(run=_list_jobs)
    for action, text in (
        ("retry", "run failed or cancelled jobs again"),
        ("cancel", "cancel queued or running jobs"),
    ):
        action_parser = actions.add_parser(action, help=text)
        action_parser.add_argument("ids", nargs="+", metavar="ID")
        action_parser.set_defaults(run=_change_jobs, action=action)


def _add_accounts(accounts: argparse.ArgumentParser) -> None:
    actions = accounts.add_subparsers(title="actions", metavar="", required=True)
    for action, text in (
        ("suspend", "sign accounts out, and let them in no more"),
        ("restore", "let suspended accounts in again"),
        ("sign-out", "end all sessions of accounts"),
    ):
        action_parser = actions.add_parser(action, help=text)
        action_parser.add_argument("addresses", nargs="+", metavar="EMAIL")
        action_parser.set_defaults(run=_change_accounts, action=action)


# Each command has its own imports, so that the other commands start without them.
def _serve(settings: Settings, _options: argparse.Namespace) -> int:
    from freshly.commands.serve import serve

    return serve(settings)


def _worker(settings: Settings, _options: argparse.Namespace) -> int:
    from freshly.commands.worker import work

    return work(settings)


def _list_jobs(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.jobs import show

    return show(settings, options.state, options.kind, options.limit)


def _change_jobs(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.jobs import change

    return change(settings, options.action, options.ids)


def _change_accounts(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.accounts import change

    return change(settings, options.action, options.addresses)


def _migrate(settings: Settings, options: argparse.Namespace) -> int:
    import asyncio

    from freshly.commands.migrate import addresses_alike, migrate, print_sql

    if options.dry_run:
        print_sql(settings)
        return 0
    before, after = asyncio.run(migrate(settings))
    print(f"{settings.database.render_as_string()}: {before or 'empty'} -> {after}")  # noqa: T201
    alike = asyncio.run(addresses_alike(settings))
    if alike:
        print(f"These addresses differ only in capitals: {', '.join(alike)}")  # noqa: T201
    return 0


def _doctor(settings: Settings, _options: argparse.Namespace) -> int:
    from freshly.commands.doctor import examine

    return examine(settings)


def _demo(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.demo import run_demo

    return run_demo(settings, options.url, keep=options.keep)
