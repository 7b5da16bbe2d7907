"""Limits of one connection, so that no client can take the memory or the time of the server.

uvicorn parses all that it receives, however many requests wait and however long a head is, and
waits forever for a client that is silent. So this protocol
* parses 4 kB at a time, and reads nothing more while a request waits for the one before it;
* refuses a head that is too large, and closes a connection whose head or body does not come;
* closes a connection whose trailers, which follow the last chunk, exceed the limits of a head;
* closes a connection that does not read its response, or takes too long for its size;
* closes the connections that wait for a request when there are too many connections.

A complete request in one piece, which almost all are, costs one comparison. All else happens for
incomplete requests only.
"""

import asyncio
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from starlette.responses import Response
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from freshly.chassis.observability.logging import get_logger
from freshly.chassis.web.access_log import SECURITY_HEADERS
from freshly.chassis.web.coalescing_protocol import CoalescingProtocol
from freshly.chassis.web.error_responses import problem

logger = get_logger(__name__)

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200
HEAD_TIMEOUT_SECONDS = 10.0
# While a body comes, at least this much of it comes in each period. It is the speed of a bad mobile
# connection (17 kbit/s).
BODY_PERIOD_SECONDS = 30.0
MIN_BODY_BYTES_PER_PERIOD = 64 * 1024
# While a response waits for its client to read it, the client reads at least this much.
WRITE_PERIOD_SECONDS = 30.0
MIN_READ_BYTES_PER_PERIOD = 64 * 1024
# All that waits has this time and the time that it takes at this speed. A stream waits in small
# parts, and each part has this time.
READ_SECONDS = 60.0
READ_BYTES_PER_SECOND = 64 * 1024
PIECE_BYTES = 4096  # parsed at once; the smallest 200 requests
CLOSED_AT_ONCE = 0.01  # of all connections, when there are too many


class Connections:
    """The open connections of a process, in the order in which they were opened."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: dict[LimitedProtocol, None] = {}

    def add(self, connection: "LimitedProtocol") -> None:
        """Add a connection. At the limit, close others that wait for a request, oldest first.

        A client that has not sent a complete head yet goes before one that has sent requests.
        """
        self._open[connection] = None
        if len(self._open) > self.limit:
            number = max(1, int(self.limit * CLOSED_AT_ONCE))
            closed = list(islice(self._idle(connection), number))
            for each in closed:
                self.discard(each)
                each.close_at_once()
            logger.warning("too many connections", limit=self.limit, closed=len(closed))
            if not closed:
                connection.refuse(503, "too_many_connections", TOO_MANY, {"Retry-After": "2"})

    def discard(self, connection: "LimitedProtocol") -> None:
        self._open.pop(connection, None)

    def _idle(self, new: "LimitedProtocol") -> Iterator["LimitedProtocol"]:
        others = [each for each in self._open if each is not new]
        silent = [each for each in others if each.cycle is None]
        return chain(silent, (each for each in others if each.cycle and each.waits_for_client))


HEAD_TOO_LARGE = "The head of a request must not exceed 64 kB or 200 headers."
HEAD_TOO_LATE = "The head of the request did not arrive within 10 seconds."
TOO_MANY = "This server has too many connections. Please try again in a moment."


class _ReadFlow(FlowControl):
    """Flow control that does not resume reading while received requests wait."""

    def __init__(self, protocol: "LimitedProtocol") -> None:
        super().__init__(protocol.transport)
        self._protocol = protocol

    def resume_reading(self) -> None:
        if self.read_paused and self._protocol.may_read():
            super().resume_reading()


class LimitedProtocol(CoalescingProtocol):
    """uvicorn's HTTP protocol with the limits that this module describes."""

    def __init__(self, *args: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*args, **options)
        self._open_connections = connections
        self._unparsed = b""
        self._head_bytes = 0  # received of a head that is not complete
        self._body_bytes = 0  # received since the last look at the body
        # Received since the head of a chunk that has no data yet: trailers, if it is the last one.
        self._trailer_bytes: int | None = None
        self._waiting: asyncio.TimerHandle | None = None  # for a head or for a body
        self._trailing: asyncio.TimerHandle | None = None  # for the end of the trailers
        self._writing: asyncio.TimerHandle | None = None
        self._read_until = 0.0  # while a response waits for its client

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _ReadFlow(self)
        # uvicorn begins to wait after the first response only.
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
        self._open_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_connections.discard(self)
        self._unparsed = b""
        self.pipeline.clear()
        for timer in (self._waiting, self._trailing, self._writing):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    @property
    def waits_for_client(self) -> bool:
        """True if the connection has no complete request to answer."""
        cycle = self.cycle
        return cycle is None or cycle.more_body or cycle.response_complete

    # Reading

    def data_received(self, data: bytes) -> None:
        if self._unparsed or len(data) > PIECE_BYTES:
            self._unparsed += data
            self._parse()
        else:
            self._parse_piece(data)

    def may_read(self) -> bool:
        """Return True unless received requests wait. If only unparsed bytes wait, parse them."""
        if self._unparsed and not self.pipeline:
            self.loop.call_soon(self._parse)
        return not (self._unparsed or self.pipeline)

    def _parse(self) -> None:
        data, at = memoryview(self._unparsed), 0
        while at < len(data) and not self.pipeline and not self.transport.is_closing():
            self._parse_piece(bytes(data[at : at + PIECE_BYTES]))
            at += PIECE_BYTES
        self._unparsed = b"" if self.transport.is_closing() else bytes(data[at:])
        if self._unparsed:
            self.flow.pause_reading()
        elif self.cycle is None or len(self.cycle.body) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()

    def _parse_piece(self, data: bytes) -> None:
        if self.parser is None:  # the connection is lost
            return
        super().data_received(data)
        scope = self.scope
        if self.waits_for_client or scope is None or "method" not in scope:
            self._request_is_incomplete(len(data))
        elif self._waiting is not None:
            self._stop_waiting()

    def _request_is_incomplete(self, received: int) -> None:
        if self._trailer_bytes is not None:
            self._trailers_come(received)
        if self.transport.is_closing():
            return
        head_began = self.scope is not None and "method" not in self.scope
        if head_began or self.cycle is None or not self.cycle.more_body:
            self._body_bytes = 0
            self._head_bytes = self._head_bytes + received if head_began else 0
            if self._head_bytes > MAX_HEAD_BYTES or (
                head_began and len(self.headers) > MAX_HEADERS
            ):
                self.refuse(431, "head_too_large", HEAD_TOO_LARGE)
            elif self._waiting is None and self.waits_for_client:
                self._waiting = self.loop.call_later(HEAD_TIMEOUT_SECONDS, self._head_is_late)
            return
        self._head_bytes = 0
        self._body_bytes += received
        if self._waiting is None:
            self._waiting = self.loop.call_later(BODY_PERIOD_SECONDS, self._body_is_late)

    def on_headers_complete(self) -> None:
        """Add the host of an absolute URL to the `Host` headers, unless they name it.

        A request with two of them is refused.
        """
        if not self.url.startswith(b"/") and b"://" in self.url:
            host = self.url.partition(b"://")[2].lower()
            for end in (b"/", b"?", b"#"):
                host = host.partition(end)[0]
            if any(value.lower() != host for name, value in self.headers if name == b"host"):
                self.headers.append((b"host", host))
        super().on_headers_complete()

    # The parser does not tell where trailers begin: a chunk has a head, and then no data.

    def on_chunk_header(self) -> None:
        self._trailer_bytes = 0
        self.headers = []  # collects the trailers; those of the request are in its scope

    def on_body(self, body: bytes) -> None:
        self._trailer_bytes = None
        super().on_body(body)

    def on_chunk_complete(self) -> None:
        """Forget the trailers. The last chunk is complete after them."""
        self._trailer_bytes = None
        if self._trailing is not None:
            self._trailing.cancel()
            self._trailing = None

    def _trailers_come(self, received: int) -> None:
        assert self._trailer_bytes is not None
        # In the first piece, the data of the chunk may be on its way.
        surely = self._trailer_bytes > 0
        self._trailer_bytes += received
        if self._trailer_bytes > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            self.close_at_once()
        elif surely and self._trailing is None:
            self._trailing = self.loop.call_later(HEAD_TIMEOUT_SECONDS, self.close_at_once)

    def _stop_waiting(self) -> None:
        assert self._waiting is not None
        self._waiting.cancel()
        self._waiting = None
        self._head_bytes = self._body_bytes = 0

    def _head_is_late(self) -> None:
        self._waiting = None
        if self.cycle is not None and self.cycle.more_body:
            self._waiting = self.loop.call_later(BODY_PERIOD_SECONDS, self._body_is_late)
        elif self.waits_for_client and not self._head_bytes:
            self.transport.close()
        elif self.waits_for_client:
            self.refuse(408, "request_timeout", HEAD_TOO_LATE)

    def _body_is_late(self) -> None:
        received, self._body_bytes, self._waiting = self._body_bytes, 0, None
        if self.cycle is None or not self.cycle.more_body:
            return
        if received < MIN_BODY_BYTES_PER_PERIOD and not self.flow.read_paused:
            self.close_at_once()
        else:
            self._waiting = self.loop.call_later(BODY_PERIOD_SECONDS, self._body_is_late)

    # Writing

    def pause_writing(self) -> None:
        super().pause_writing()
        seconds = READ_SECONDS + self.transport.get_write_buffer_size() / READ_BYTES_PER_SECOND
        self._read_until = self.loop.time() + seconds
        self._wait_for_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():  # `close` would wait for the client
            self.close_at_once()
        super().timeout_keep_alive_handler()

    def _wait_for_reader(self) -> None:
        left = self.transport.get_write_buffer_size()
        at = min(self.loop.time() + WRITE_PERIOD_SECONDS, self._read_until)
        self._writing = self.loop.call_at(at, self._reader_is_late, left)

    def _reader_is_late(self, left: int) -> None:
        self._writing = None
        read = left - self.transport.get_write_buffer_size()
        if read < MIN_READ_BYTES_PER_PERIOD or self.loop.time() >= self._read_until:
            self.close_at_once()
        else:
            self._wait_for_reader()

    # Closing

    def close_at_once(self) -> None:
        self.transport.abort()

    def refuse(
        self, status: int, code: str, detail: str, headers: dict[str, str] | None = None
    ) -> None:
        """Answer with an error and close. If a response is on its way, only close."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.close_at_once()
            return
        headers = {**SECURITY_HEADERS, "Connection": "close", **(headers or {})}
        response = problem(status, code, detail, headers=headers)
        self.transport.write(_encoded(response))
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, "bad_request", msg)

    def _unsupported_upgrade_warning(self) -> None:
        """Answer as if no upgrade was asked for. The parser reads nothing after it, so close."""
        if self.cycle is not None:
            self.cycle.keep_alive = False


def _encoded(response: Response) -> bytes:
    head = b"".join(b"%b: %b\r\n" % header for header in response.raw_headers)
    return STATUS_LINE[response.status_code] + head + b"\r\n" + bytes(response.body)
