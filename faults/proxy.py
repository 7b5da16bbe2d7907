"""A small TCP proxy between Freshly and a neighbour, which can be a bad network at will."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Literal

Mode = Literal["pass", "swallow", "reset"]
CHUNK = 65536
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing is a reset


class Proxy:
    """Connects each caller to the first of `targets` that answers, taking turns.

    `swallow` is a cable that was pulled: connections are accepted, bytes wait, and go on when it
    is plugged in again. `reset` breaks every connection, old and new.
    """

    def __init__(self, *targets: int) -> None:
        self.targets: Sequence[int] = targets
        self.delay = 0.0  # seconds that bytes are late
        self.port = 0
        self._mode: Mode = "pass"
        self._plugged = asyncio.Event()
        self._plugged.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._turn = 0
        # Is told of each piece before it goes on: whether to the target, and what it is.
        self.listener: Callable[[bool, bytes], None] | None = None

    def become(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "swallow":
            self._plugged.clear()
        else:
            self._plugged.set()
        if mode == "reset":
            for writer in list(self._writers):
                _reset(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self._mode == "reset":
                return
            await self._plugged.wait()
            behind = await self._connect()
            if behind is None:
                return
            self._writers.add(behind[1])
            try:
                pumps = [self._pump(reader, behind[1], up=True), self._pump(behind[0], writer)]
                await asyncio.gather(*pumps)
            finally:
                self._close(behind[1])
        finally:
            self._close(writer)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self.targets:
            self._turn += 1
            target = self.targets[self._turn % len(self.targets)]
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", target)
        return None

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool = False
    ) -> None:
        """Until one side hangs up, which the other is then told."""
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._plugged.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.listener is not None:
                    self.listener(up, data)
                writer.write(data)
                await writer.drain()
        await self._plugged.wait()
        with suppress(OSError, RuntimeError):
            writer.close()

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        if self._mode == "reset":
            _reset(writer)
        else:
            writer.close()

    def close(self) -> None:
        self._plugged.set()
        for writer in list(self._writers):
            writer.transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    writer.transport.abort()


@asynccontextmanager
async def proxy(*targets: int) -> AsyncIterator[Proxy]:
    between = Proxy(*targets)
    server = await asyncio.start_server(between.serve, "127.0.0.1", 0)
    between.port = server.sockets[0].getsockname()[1]
    try:
        yield between
    finally:
        server.close()
        between.close()
