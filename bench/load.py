"""A cheap client: raw HTTP/1.1 over kept connections, one request at a time on each.

It shares the machine with the server that it measures, so the server lacks each microsecond that
the client spends. An ordinary client spends several times as long on a request as the server does.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

CONNECTED_AT_ONCE = 500
CLOSED_BY_SERVER = "the server closed the connection"


@dataclass
class Outcome:
    """The result of a run: one latency in seconds per response, and the responses by status.

    Status 0 stands for a connection that broke.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Return the responses per second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float:
        """Return the seconds within which this share of the responses arrived."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def errors(self) -> int:
        """Return the number of responses that are neither a success nor 304."""
        return sum(n for status, n in self.statuses.items() if status // 100 not in (2, 3))

    def add(self, other: "Outcome") -> None:
        """Add the responses of another run, but not its seconds."""
        self.latencies += other.latencies
        for status, number in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + number


class Connection(asyncio.Protocol):
    """Sends a request, and returns the status when the whole response has arrived."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._pending: asyncio.Future[int] | None = None
        self._received = bytearray()
        self._expected_length = -1  # of head and body; -1 while the head is incomplete
        self._response = bytearray()
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    @property
    def head(self) -> bytes:
        """Return the head of the last response. Only callers that need it pay for the split."""
        return bytes(self._response.partition(b"\r\n\r\n")[0])

    @property
    def body(self) -> bytes:
        return bytes(self._response.partition(b"\r\n\r\n")[2])

    def send(self, request: bytes) -> "asyncio.Future[int]":
        assert self.transport is not None
        if self.is_lost:
            raise ConnectionResetError(CLOSED_BY_SERVER)
        self._pending = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._pending

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._expected_length < 0:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            self._expected_length = end + 4 + _content_length(bytes(self._received[:end]))
        if len(self._received) < self._expected_length or self._pending is None:
            return
        pending, self._pending = self._pending, None
        status = int(self._received[9:12])
        self._response, self._received = self._received, bytearray()
        self._expected_length = -1
        if not pending.done():
            pending.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._pending is not None and not self._pending.done():
            self._pending.set_exception(exc or ConnectionResetError(CLOSED_BY_SERVER))

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


def _content_length(head: bytes) -> int:
    start = head.lower().find(b"content-length:")
    if start < 0:
        return 0
    return int(head[start + len(b"content-length:") :].split(b"\r\n", 1)[0])


def request(
    method: str, path: str, token: str = "", body: bytes = b"", headers: Sequence[str] = ()
) -> bytes:
    """Return the bytes of a request. `token` is an access token, `body` is JSON."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def connect(port: int) -> Connection:
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(Connection, "127.0.0.1", port)
    return protocol


async def run_load(
    port: int, requests: Sequence[bytes], *, seconds: float, connections: int
) -> Outcome:
    """Send the requests in turn for some seconds, as fast as the server responds.

    Each connection sends its next request as soon as it has the response to the last one.
    """
    outcome = Outcome()
    until = perf_counter() + seconds

    async def keep_sending(first: int) -> None:
        connection = await connect(port)
        try:
            turn = first
            while (sent := perf_counter()) < until:
                status = await connection.send(requests[turn % len(requests)])
                outcome.latencies.append(perf_counter() - sent)
                outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
                turn += connections
        finally:
            connection.close()

    started = perf_counter()
    await asyncio.gather(*(keep_sending(first) for first in range(connections)))
    outcome.seconds = perf_counter() - started
    return outcome


async def run_sequence(
    port: int, requests: Iterator[bytes], *, number: int, connections: int
) -> Outcome:
    """Send the next `number` requests of a sequence, in order, as fast as the server responds."""
    outcome = Outcome()
    left = number

    async def keep_sending() -> None:
        nonlocal left
        connection = await connect(port)
        try:
            while left > 0:
                left -= 1
                sent = perf_counter()
                status = await connection.send(next(requests))
                outcome.latencies.append(perf_counter() - sent)
                outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
        finally:
            connection.close()

    started = perf_counter()
    await asyncio.gather(*(keep_sending() for _ in range(connections)))
    outcome.seconds = perf_counter() - started
    return outcome


async def many_users(
    port: int, requests: Sequence[bytes], *, users: int, held: int, seconds: float, think: float
) -> Outcome:
    """Simulate users who pause between two requests, while further connections stay open and idle.

    `think` is the mean pause in seconds. An idle connection that the server closes counts with
    status 0.
    """
    outcome = Outcome()
    chance = random.Random(1)  # noqa: S311 - the same pauses in every run
    idle = [
        connection
        for opened in range(0, held, CONNECTED_AT_ONCE)
        for connection in await _connect_many(port, min(CONNECTED_AT_ONCE, held - opened))
    ]
    until = perf_counter() + seconds

    async def keep_sending(turn: int) -> None:
        connection = await connect(port)
        try:
            await asyncio.sleep(chance.uniform(0, 2 * think))
            while (sent := perf_counter()) < until:
                try:
                    status = await connection.send(requests[turn % len(requests)])
                except ConnectionError:
                    status, connection = 0, await connect(port)
                outcome.latencies.append(perf_counter() - sent)
                outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
                turn += 7  # another path, and mostly another user, next
                await asyncio.sleep(chance.uniform(0, 2 * think))
        finally:
            connection.close()

    started = perf_counter()
    await asyncio.gather(*(keep_sending(turn) for turn in range(users)))
    outcome.seconds = perf_counter() - started
    lost = sum(1 for connection in idle if connection.is_lost)
    if lost:
        outcome.statuses[0] = lost
    for connection in idle:
        connection.close()
    return outcome


async def _connect_many(port: int, number: int) -> list[Connection]:
    return await asyncio.gather(*(connect(port) for _ in range(number)))
