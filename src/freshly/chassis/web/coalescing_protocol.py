"""Response coalescing: head and body leave in one system call.

uvicorn writes the head and the body of a response one after the other, and each system call takes
a good part of the time of a cached response (8 %, see docs/decisions).
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD = b"HTTP/1.1 "
INFORMATION = b"HTTP/1.1 1"
# A longer body is not copied: clients that read it slowly share the bytes in the cache.
MAX_COALESCED_BYTES = 64 * 1024
CLOSE_TIMEOUT_SECONDS = 30  # that a client has to read the rest of a response


class _CoalescingTransport:
    """A transport that holds back a response head until its body, or the next loop iteration."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head and len(data) > MAX_COALESCED_BYTES:
            self._flush()
        elif self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(HEAD) and not data.startswith(INFORMATION):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(CLOSE_TIMEOUT_SECONDS, self._transport.abort)

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)


class CoalescingProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol on a coalescing transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_CoalescingTransport(transport, self.loop))  # type: ignore[arg-type]
