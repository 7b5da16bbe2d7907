"""`freshly accounts`: suspends, restores and signs out accounts."""

import asyncio
import sys
from collections.abc import Sequence

from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.transactions import Database, Session
from freshly.chassis.jobs import JobQueue
from freshly.chassis.security.client_info import ClientInfo
from freshly.domains.auth.administration import AccountAction, AccountAdministration
from freshly.domains.auth.repository import AuthSessionRepository
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.service import UserDirectory
from freshly.settings import Settings
from freshly.wiring.tables import all_tables

DONE = {
    AccountAction.SUSPEND: "suspended",
    AccountAction.RESTORE: "active",
    AccountAction.SIGN_OUT: "signed out",
}


def change(settings: Settings, action: str, addresses: Sequence[str]) -> int:
    """Change accounts, each in its own transaction. Print what happened to each.

    Returns the exit status, which is 1 if an address has no account.
    """
    wanted = AccountAction(action)
    found = asyncio.run(_change(settings, wanted, addresses))
    for address, account in zip(addresses, found, strict=True):
        if account is None:
            print(f"freshly: no account has the address {address}", file=sys.stderr)  # noqa: T201
        else:
            print(f"{account}: {DONE[wanted]}")  # noqa: T201
    return 1 if None in found else 0


async def _change(
    settings: Settings, action: AccountAction, addresses: Sequence[str]
) -> list[str | None]:
    all_tables()
    engine = create_engine(settings.database)
    found = []
    try:
        db = Database(engine)
        for address in addresses:
            async with db.write() as session:
                found.append(await _administration(session).apply(action, address))
    finally:
        await engine.dispose()
    return found


def _administration(session: Session) -> AccountAdministration:
    return AccountAdministration(
        UserDirectory(session),
        AuthSessionRepository(session),
        ActivityLog(session, ClientInfo()),
        JobQueue(session),
    )
