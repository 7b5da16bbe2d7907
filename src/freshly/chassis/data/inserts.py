"""Inserts of many rows."""

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.resilience.fairness import batches


async def add_in_turns(session: AsyncSession, rows: Sequence[Any]) -> None:
    """Insert the rows, and flush other changes. Other requests run after each batch."""
    await session.flush()
    for batch in batches(rows):
        session.add_all(batch)
        await session.flush()
        await asyncio.sleep(0)
