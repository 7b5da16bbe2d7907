"""Work that nobody waits for any more is stopped."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from freshly.chassis.dependencies import Request

T = TypeVar("T")


class ClientDisconnected(Exception):
    """Nobody reads the answer any more."""


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives; it is cancelled as soon as the client hangs up. Raises ClientLeft.

    For routes that call out and may take long: the body has been read, so that the next thing
    which comes from the client is its leaving.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_leaving(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
    raise ClientDisconnected


async def _leaving(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
