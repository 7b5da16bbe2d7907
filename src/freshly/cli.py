"""The `freshly` command."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from freshly import __version__
from freshly.chassis.observability.logging import configure_logging
from freshly.commands.admin_parser import add_admin
from freshly.settings import BadSettings, Settings, load, mistyped_names, read_env_file

if TYPE_CHECKING:
    from argparse import _SubParsersAction

OVERRIDES = ("host", "port", "workers")  # options of `serve` that are settings
# Exit statuses. A command that failed returns 1.
BAD_SETTINGS_STATUS = 2
INTERRUPTED_STATUS = 130  # Ctrl-C, as shells define it
BROKEN_PIPE_STATUS = 141  # as if SIGPIPE had ended the process


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in the arguments, or in `sys.argv`. Return the exit status."""
    options = _parser().parse_args(arguments)
    settings = None
    try:
        read_env_file()
        for line in mistyped_names():
            _complain(line)
        # The environment is also that of the worker processes.
        given = {name.upper(): getattr(options, name) for name in OVERRIDES}
        os.environ.update({name: value for name, value in given.items() if value is not None})
        settings = load(data=options.needs_data)
        configure_logging("CRITICAL")  # commands tell failures themselves; servers log more
        run: Callable[[Settings, argparse.Namespace], int] = options.run
        status = run(settings, options)
        sys.stdout.flush()
    except BadSettings as error:
        _complain(str(error))
        return BAD_SETTINGS_STATUS
    except BrokenPipeError:  # the reader of our output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE_STATUS
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
    except Exception as error:
        from freshly.commands.failures import reason_of

        reason = settings and reason_of(error, settings)
        if not reason:
            raise
        _complain(reason)
        return 1
    else:
        return status


def _complain(text: str) -> None:
    for line in text.splitlines():
        print(f"freshly: {line}", file=sys.stderr)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = _described(
        argparse.ArgumentParser(prog="freshly"),
        "The kitchen backend. Its settings are environment variables, in `local` also in .env.",
        "freshly                          serve on http://127.0.0.1:8000",
        "freshly doctor                   check the settings and what they point to",
        "PORT=9000 freshly serve          the same as freshly serve --port 9000",
    )
    parser.add_argument("--version", action="version", version=f"freshly {__version__}")
    parser.set_defaults(run=_serve, needs_data=True, reload=False, **dict.fromkeys(OVERRIDES))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_processes(commands)
    _add_jobs(commands)
    add_admin(commands.add_parser("admin", help="manage accounts, administrators and invitations"))
    _add_database(commands)
    _add_backups(commands)
    demo = commands.add_parser("demo", help="show a family's week and its shopping list")
    _described(
        demo,
        "Show a family's week and its shopping list.",
        "freshly demo                     on a temporary server",
        "freshly demo --url https://kitchen.example.com",
    )
    where = demo.add_mutually_exclusive_group()
    where.add_argument("--url", help="URL of a running server (default: a temporary server)")
    where.add_argument("--keep", action="store_true", help="keep the server running until Ctrl-C")
    demo.set_defaults(run=_demo, needs_data=False)
    return parser


def _described(
    parser: argparse.ArgumentParser, description: str, *examples: str
) -> argparse.ArgumentParser:
    parser.description = description
    parser.epilog = "\n".join(["examples:", *(f"  {example}" for example in examples)])
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def _add_processes(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser("serve", help="migrate the database, then serve (the default)")
    _described(
        serve,
        "Migrate the database, then serve. Options win over the environment.",
        "freshly serve --port 9000",
        "freshly serve --reload           restart when a source file changes",
        "APP_ENV=production freshly serve --host 0.0.0.0 --workers 4",
    )
    serve.add_argument("--host", help="the address to listen on (HOST)")
    serve.add_argument("--port", help="the TCP port to listen on (PORT)")
    serve.add_argument("--workers", help="the number of server processes (WORKERS)")
    serve.add_argument(
        "--reload", action="store_true", help="restart when a source file changes, to develop"
    )
    serve.set_defaults(run=_serve)
    worker = commands.add_parser("worker", help="run background jobs")
    _described(
        worker, "Run background jobs, until SIGTERM.", "JOBS=worker freshly worker"
    ).set_defaults(run=_worker)


def _add_jobs(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    jobs = commands.add_parser("jobs", help="list, retry or cancel background jobs")
    _described(
        jobs,
        "List, retry or cancel background jobs.",
        "freshly jobs list --state failed",
        "freshly jobs retry 01a2237059a1d03ca4c166c7da443be0",
        "freshly jobs list --state failed --json | jq -r '.jobs[].id' | xargs freshly jobs retry",
    )
    actions = jobs.add_subparsers(title="actions", metavar="ACTION", dest="ACTION", required=True)
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
    _add_json(list_parser)
    list_parser.set_defaults(run=_list_jobs)
    for action, text in (
        ("retry", "run failed or cancelled jobs again"),
        ("cancel", "cancel queued or running jobs"),
    ):
        action_parser = actions.add_parser(action, help=text)
        action_parser.add_argument("ids", nargs="+", metavar="ID")
        action_parser.set_defaults(run=_change_jobs, action=action)


def _add_database(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    migrate = commands.add_parser("migrate", help="bring the database to this release's schema")
    _described(
        migrate,
        "Bring the database to this release's schema, or to that of another revision.",
        "freshly migrate",
        "freshly migrate --dry-run        print the SQL that this database lacks",
        "freshly migrate --to invitations",
    )
    migrate.add_argument("--dry-run", action="store_true", help="print the SQL without running it")
    migrate.add_argument(
        "--to",
        metavar="REVISION",
        default="head",
        help="migrate to this revision; to an older one removes what later ones store"
        " (default: the newest)",
    )
    migrate.set_defaults(run=_migrate)
    doctor = commands.add_parser("doctor", help="check the settings and the services they point to")
    _described(
        doctor,
        "Check the settings and the services that they point to, by using them. The model is asked"
        "\nfor a word. The exit status is 1 if something is bad, and 0 if all is ok or unwise.",
        "freshly doctor",
        "freshly doctor --strict          exit with 1 for what is unwise, too",
        "freshly doctor --json | jq -r '.checks[] | select(.level != \"ok\") | .text'",
    )
    doctor.add_argument("--strict", action="store_true", help="fail for what is unwise, too")
    _add_json(doctor)
    doctor.set_defaults(run=_doctor)


def _add_backups(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    backup = commands.add_parser("backup", help="write the database and files to one archive")
    _described(
        backup,
        "Write the database and files to one archive, and check it. The server may go on.",
        "freshly backup",
        "freshly backup --to /mnt/backups",
        "BACKUP_PASSPHRASE_FILE=/run/secrets/backup freshly backup --json",
    )
    backup.add_argument("--to", type=Path, metavar="FOLDER", help="default: BACKUP_DIR")
    backup.add_argument(
        "--daily", action="store_true", help="keep only the daily backups of 7 days and 4 weeks"
    )
    _add_json(backup)
    backup.set_defaults(run=_backup)
    restore = commands.add_parser("restore", help="restore a backup into an empty place")
    _described(
        restore,
        "Restore a backup into a database without accounts and an empty place for files.",
        "freshly restore data/backups/freshly-20261128T033000Z.tar.gz",
        "freshly restore --check /mnt/backups/freshly-20261128T033000Z.zip",
        "DATABASE_URL=postgresql://freshly@db/freshly freshly restore ARCHIVE",
    )
    restore.add_argument("archive", type=Path, metavar="ARCHIVE")
    restore.add_argument("--check", action="store_true", help="only check that it can be restored")
    _add_json(restore)
    restore.set_defaults(run=_restore, needs_data=False)


# Each command has its own imports, so that the other commands start without them.
def _serve(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.serve import serve

    return serve(settings, reload=options.reload)


def _worker(settings: Settings, _options: argparse.Namespace) -> int:
    from freshly.commands.worker import work

    return work(settings)


def _list_jobs(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.jobs import show

    return show(settings, options.state, options.kind, options.limit, in_json=options.json)


def _change_jobs(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.jobs import change

    return change(settings, options.action, options.ids)


def _migrate(settings: Settings, options: argparse.Namespace) -> int:
    import asyncio

    from freshly.chassis.observability.logging import configure_logging
    from freshly.commands.migrate import addresses_alike, migrate
    from freshly.commands.migration_sql import print_sql

    configure_logging("WARNING")  # on standard error, such as a wait for a lock

    if options.dry_run:
        print_sql(settings, options.to)
        return 0
    before, after = asyncio.run(migrate(settings, options.to))
    print(f"{settings.database.render_as_string()}: {before or 'empty'} -> {after}")  # noqa: T201
    alike = asyncio.run(addresses_alike(settings)) if options.to == "head" else ()
    if alike:
        print(f"These addresses differ only in capitals: {', '.join(alike)}")  # noqa: T201
    return 0


def _doctor(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.doctor import examine

    return examine(settings, in_json=options.json, strict=options.strict)


def _backup(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.backup import backup

    return backup(settings, options.to, daily=options.daily, as_json=options.json)


def _restore(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.backup import restore

    return restore(settings, options.archive, only_check=options.check, as_json=options.json)


def _demo(settings: Settings, options: argparse.Namespace) -> int:
    from freshly.commands.demo import run_demo

    return run_demo(settings, options.url, keep=options.keep)
