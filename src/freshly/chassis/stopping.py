"""A server that is told to stop gives answers that come in pieces a while, and then ends them.

Without that they would be cut off in the middle when its patience is at its end, and the client
could not tell a restart from a broken line.
"""

import asyncio
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from types import FrameType
from typing import TypeVar

import anyio

from freshly.chassis.errors import Unavailable

Part = TypeVar("Part")
PATIENCE = 15.0  # seconds, of the 25 that the server waits for all of its answers
NO_MORE = object()


class Restarting(Unavailable):
    code = "restarting"
    detail = "The server is being restarted. Please ask again in a moment."


class Stopping:
    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.told = asyncio.Event()

    def listen(self) -> None:
        """Hears the signals that end the server, beside whoever handles them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)

            def heard(number: int, frame: FrameType | None, handler: object = handler) -> None:
                self.told.set()
                if callable(handler):
                    handler(number, frame)

            signal.signal(number, heard)

    async def in_time(self, parts: AsyncGenerator[Part, None]) -> AsyncIterator[Part]:
        """Those parts. Raises Restarting when the server cannot wait for more of them."""
        over = asyncio.create_task(self._over())
        try:
            async with aclosing(parts):
                while True:
                    part = await self._next(parts, over)
                    if part is NO_MORE:
                        return
                    yield part  # type: ignore[misc]  # it is not NO_MORE
        finally:
            over.cancel()

    async def _over(self) -> None:
        await self.told.wait()
        await asyncio.sleep(self.patience)

    async def _next(
        self, parts: AsyncGenerator[Part, None], over: "asyncio.Task[None]"
    ) -> Part | object:
        step = asyncio.ensure_future(_step(parts))
        try:
            await asyncio.wait({step, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not step.done():  # also when it is we who are cancelled, as the client has left
                step.cancel()
                with anyio.CancelScope(shield=True), suppress(asyncio.CancelledError):
                    await step
        if step.cancelled():
            raise Restarting
        return step.result()


async def _step(parts: AsyncGenerator[Part, None]) -> Part | object:
    return await anext(parts, NO_MORE)
