"""`freshly admin`: accounts, administrators and invitations."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.transactions import Database
from freshly.chassis.errors import AppError
from freshly.chassis.security.codes import CodeSigner
from freshly.domains.administration.invitations import ADMINISTRATOR_LIFETIME, SignUpInvitations
from freshly.domains.administration.repository import AccountRepository, ActRepository
from freshly.domains.administration.schemas import AccountQuery, AccountRead, ActQuery, ActRead
from freshly.domains.administration.service import COMMAND, AccountManagement
from freshly.domains.users.schemas import Email
from freshly.domains.users.service import UserDirectory
from freshly.settings import Settings
from freshly.wiring.tables import all_tables

ADDRESS: TypeAdapter[str] = TypeAdapter(Email)
DONE = {
    "create": "administrator",
    "revoke": "ordinary user",
    "suspend": "suspended",
    "restore": "active",
    "sign-out": "signed out",
}


@asynccontextmanager
async def _open_database(settings: Settings) -> AsyncIterator[Database]:
    all_tables()
    engine = create_engine(settings.database)
    try:
        yield Database(engine)
    finally:
        await engine.dispose()


def change(settings: Settings, action: str, addresses: Sequence[str], tier: str = "") -> int:
    """Change accounts, each in its own transaction. Print what happened to each.

    Returns the exit status, which is 1 if an address has no account or a change was refused.
    """
    return max(asyncio.run(_change(settings, action, addresses, tier)), default=0)


async def _change(
    settings: Settings, action: str, addresses: Sequence[str], tier: str
) -> list[int]:
    async with _open_database(settings) as db:
        return [await _change_one(db, settings, action, address, tier) for address in addresses]


async def _change_one(
    db: Database, settings: Settings, action: str, address: str, tier: str
) -> int:
    """Print the outcome, and return the exit status."""
    try:
        async with db.write() as session:
            user = await UserDirectory(session).by_email(address)
            if user is None and action == "create":
                link = await _invite_administrator(session, settings, address)
                return _say(f"{address} has no account. This link creates it, once, today:\n{link}")
            if user is None:
                return _fail(f"no account has the address {address}")
            management = AccountManagement.of(session, settings)
            if action == "set-tier":
                await management.set_tier(user.id, tier, COMMAND)
            else:
                acts = {
                    "create": management.make_administrator,
                    "revoke": management.remove_administrator,
                    "suspend": management.suspend,
                    "restore": management.restore,
                    "sign-out": management.sign_out,
                }
                await acts[action](user.id, COMMAND)
            email = user.email
    except ValidationError:
        return _fail(f"{address} is not an email address")
    except AppError as error:
        return _fail(f"{address}: {error.text}")
    return _say(f"{email}: {DONE.get(action, tier)}")


async def _invite_administrator(session: Any, settings: Settings, address: str) -> str:
    invitations = SignUpInvitations.of(session, settings, _signer(settings))
    invitation = await invitations.create(
        ADDRESS.validate_python(address),
        ADMINISTRATOR_LIFETIME,
        COMMAND,
        makes_administrator=True,
    )
    return invitations.link(invitation)


def show(settings: Settings, filters: Mapping[str, Any], *, as_json: bool) -> int:
    """Print accounts, newest first."""
    query = AccountQuery.model_validate(filters)

    async def read() -> list[AccountRead]:
        async with _open_database(settings) as db, db.read() as session:
            rows = await AccountRepository(session).page(query)
        return [AccountRead.model_validate(row) for row in rows.items]

    columns = ("id", "email", "name", "status", "tier", "is_administrator", "last_seen_at")
    return _print(asyncio.run(read()), columns, as_json=as_json)


def show_acts(settings: Settings, limit: int, *, as_json: bool) -> int:
    """Print what administrators and commands did, newest first."""

    async def read() -> list[ActRead]:
        async with _open_database(settings) as db, db.read() as session:
            rows = await ActRepository(session).page(ActQuery(limit=limit))
        return [ActRead.model_validate(row) for row in rows.items]

    columns = ("id", "created_at", "kind", "administrator_id", "by_command", "account_id", "detail")
    return _print(asyncio.run(read()), columns, as_json=as_json)


def invite(settings: Settings, email: str | None, days: int) -> int:
    """Print a link with which one person creates an account."""

    async def create() -> str:
        async with _open_database(settings) as db, db.write() as session:
            invitations = SignUpInvitations.of(session, settings, _signer(settings))
            address = ADDRESS.validate_python(email) if email else None
            invitation = await invitations.create(address, timedelta(days=days), COMMAND)
            return invitations.link(invitation)

    try:
        return _say(asyncio.run(create()))
    except ValidationError:
        return _fail(f"{email} is not an email address")


def print_set_up_link(settings: Settings) -> int:
    """Print the link that creates the first administrator. Return 1 if there is one."""
    link = asyncio.run(set_up_link(settings))
    if link is None:
        return _fail(
            "there is an administrator already: to make another one, use `freshly admin create`"
        )
    return _say(link)


async def announce_set_up(settings: Settings) -> None:
    """Print the set-up link on standard error if no administrator is active."""
    link = await set_up_link(settings)
    if link is not None:
        print(f"No administrator yet. This link creates one, once: {link}", file=sys.stderr)  # noqa: T201


async def set_up_link(settings: Settings) -> str | None:
    """Return the link that creates the first administrator. Return None if there is one."""
    async with _open_database(settings) as db, db.write() as session:
        return await SignUpInvitations.of(session, settings, _signer(settings)).set_up_link()


def _signer(settings: Settings) -> CodeSigner:
    return CodeSigner(settings.secret_key.get_secret_value())


def _print(rows: Sequence[BaseModel], columns: Sequence[str], *, as_json: bool) -> int:
    """Print rows as JSON, or as a table whose values are never cut: they go to other programs."""
    if as_json:
        return _say(json.dumps([row.model_dump(mode="json") for row in rows], ensure_ascii=False))
    table = [columns, *([_text(getattr(row, name)) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        _say("  ".join(cells).rstrip())
    return 0


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None or value == "" else str(value)


def _say(text: str) -> int:
    print(text)  # noqa: T201
    return 0


def _fail(reason: str) -> int:
    print(f"freshly: {reason}", file=sys.stderr)  # noqa: T201
    return 1
