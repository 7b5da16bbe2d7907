"""A small TCP proxy between Freshly and another server, which simulates a bad network."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Literal

Mode = Literal["pass", "swallow", "reset"]
CHUNK = 65536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # for SO_LINGER


class Proxy:
    """Connects each client to the next of the `targets` in turn that accepts the connection.

    `swallow` acts like an unplugged cable: the proxy accepts connections but holds all bytes, and
    sends them when the mode changes. `reset` resets every connection, old and new.
    """

    def __init__(self, *targets: int) -> None:
        self.targets: Sequence[int] = targets
        self.delay = 0.0  # seconds by which each chunk is delayed
        self.port = 0
        self._mode: Mode = "pass"
        self._plugged = asyncio.Event()
        self._plugged.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._turn = 0
        # Called with each chunk before it is sent: True if it goes to the target, and its bytes.
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
            upstream = await self._connect()
            if upstream is None:
                return
            self._writers.add(upstream[1])
            try:
                pumps = [self._pump(reader, upstream[1], up=True), self._pump(upstream[0], writer)]
                await asyncio.gather(*pumps)
            finally:
                self._close(upstream[1])
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
        """Copy bytes until one side closes the connection, then close the other side."""
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
    with suppress(OSError, ValueError):  # uvloop has no socket for a closed connection
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE
        )
    writer.transport.abort()


@asynccontextmanager
async def proxy(*targets: int) -> AsyncIterator[Proxy]:
    running = Proxy(*targets)
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        running.close()
