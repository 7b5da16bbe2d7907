"""Long computations take turns with other requests, which share the event loop with them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from time import perf_counter
from typing import TypeVar

Item = TypeVar("Item")
# How long a computation may hold the event loop. Another request needs about five turns.
TURN_SECONDS = 0.005
ROWS_PER_FLUSH = 20  # SQLAlchemy takes about one turn for them


async def in_turns(items: Iterable[Item]) -> AsyncIterator[Item]:
    """Yield the items, and let other requests run after each turn."""
    turn_began = perf_counter()
    for item in items:
        yield item
        if perf_counter() - turn_began > TURN_SECONDS:
            await asyncio.sleep(0)
            turn_began = perf_counter()


def batches(items: Sequence[Item], size: int = ROWS_PER_FLUSH) -> Iterator[Sequence[Item]]:
    """Yield the items in parts of at most `size`, to be written one after the other."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
