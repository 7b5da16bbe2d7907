"""A server that is told to stop takes its leave: of connections, and of answers in pieces.

For a moment it goes on, and says with each answer that the connection is to be closed: one that is
closed without a word may have the next request on its way already. Answers that come in pieces
have a while, and then end with an error that says so: cut off in the middle, they could not be told
from a broken line.
"""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from functools import partial
from types import FrameType
from typing import TypeVar

import anyio

from freshly.chassis.errors import Unavailable

Part = TypeVar("Part")
FAREWELL = 1.0  # seconds in which every connection that is in use has an answer
PATIENCE = 15.0  # seconds, of the 25 that the server waits for all of its answers
NO_MORE = object()


class Restarting(Unavailable):
    code = "restarting"
    detail = "The server is restarting. Please try again in a moment."


class GracefulShutdown:
    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.requested = asyncio.Event()

    def listen(self) -> None:
        """Hears the signals that end the server, ahead of whoever handles them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, partial(self._heard, signal.getsignal(number)))

    def _heard(self, handler: object, number: int, frame: FrameType | None) -> None:
        first = not self.requested.is_set()
        self.requested.set()
        if first and number == signal.SIGTERM:  # a person at the keyboard does not want to wait
            again = threading.Timer(FAREWELL, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
        elif callable(handler):
            handler(number, frame)

    async def until_deadline(self, parts: AsyncGenerator[Part, None]) -> AsyncIterator[Part]:
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
        await self.requested.wait()
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
