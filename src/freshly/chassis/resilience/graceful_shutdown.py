"""Graceful shutdown: closes idle connections and ends streams with an event.

When SIGTERM arrives, the server goes on for a second and sends `Connection: close` with each
response. Clients then open no request on a connection that is about to be closed. Streams may go on
for a while, and then end with an error event, since a stream that is cut off looks like a broken
connection.
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
CLOSING_SECONDS = 1.0  # long enough for each connection in use to get a response
STREAM_SECONDS = 15.0  # less than the 25 s that the server waits for all responses
END_OF_STREAM = object()


class Restarting(Unavailable):
    code = "restarting"
    detail = "The server is restarting. Please try again in a moment."


class GracefulShutdown:
    """The shutdown of this process. `requested` is set when a signal asks for it.

    `stream_seconds` is how long streams may go on after that.
    """

    def __init__(self, stream_seconds: float = STREAM_SECONDS) -> None:
        self.stream_seconds = stream_seconds
        self.requested = asyncio.Event()

    def listen(self) -> None:
        """Handle SIGTERM and SIGINT before the server's own handlers do."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, partial(self._on_signal, signal.getsignal(number)))

    def _on_signal(self, server_handler: object, number: int, frame: FrameType | None) -> None:
        is_first = not self.requested.is_set()
        self.requested.set()
        if is_first and number == signal.SIGTERM:  # Ctrl-C (SIGINT) stops at once
            resend = threading.Timer(CLOSING_SECONDS, os.kill, (os.getpid(), number))
            resend.daemon = True
            resend.start()
        elif callable(server_handler):
            server_handler(number, frame)

    async def until_deadline(self, parts: AsyncGenerator[Part, None]) -> AsyncIterator[Part]:
        """Yield the parts of a stream. Raises Restarting when the shutdown's deadline has passed.

        The generator is closed in any case.
        """
        deadline = asyncio.create_task(self._deadline())
        try:
            async with aclosing(parts):
                while True:
                    part = await self._next(parts, deadline)
                    if part is END_OF_STREAM:
                        return
                    yield part  # type: ignore[misc]  # it is not END_OF_STREAM
        finally:
            deadline.cancel()

    async def _deadline(self) -> None:
        await self.requested.wait()
        await asyncio.sleep(self.stream_seconds)

    async def _next(
        self, parts: AsyncGenerator[Part, None], deadline: "asyncio.Task[None]"
    ) -> Part | object:
        """Return the next part or END_OF_STREAM. Raises Restarting at the deadline."""
        step = asyncio.ensure_future(_step(parts))
        try:
            await asyncio.wait({step, deadline}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not step.done():  # at the deadline, or when the client disconnects and cancels us
                step.cancel()
                with anyio.CancelScope(shield=True), suppress(asyncio.CancelledError):
                    await step
        if step.cancelled():
            raise Restarting
        return step.result()


async def _step(parts: AsyncGenerator[Part, None]) -> Part | object:
    return await anext(parts, END_OF_STREAM)
