"""A client that costs little: raw HTTP/1.1 over kept connections, one request at a time on each.

It shares the machine with the server it measures, so every microsecond it spends is one that the
server lacks. An ordinary client takes several times as long for a request as the server does.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast


@dataclass
class Outcome:
    """What a run gave: `latencies` in seconds, one of each answer; answers by status."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float:
        """Seconds within which that share of the answers came."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def errors(self) -> int:
        """Answers that are neither a success nor "not modified"."""
        return sum(n for status, n in self.statuses.items() if status // 100 not in (2, 3))

    def add(self, other: "Outcome") -> None:
        self.latencies += other.latencies
        for status, number in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + number


class Connection(asyncio.Protocol):
    """Sends bytes, gives the status of the answer when all of it is there."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._received = bytearray()
        self._wanted = -1
        self._found = bytearray()
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    @property
    def head(self) -> bytes:
        """Of the last answer; taken apart only for those who look."""
        return bytes(self._found.partition(b"\r\n\r\n")[0])

    @property
    def body(self) -> bytes:
        return bytes(self._found.partition(b"\r\n\r\n")[2])

    def send(self, request: bytes) -> "asyncio.Future[int]":
        assert self.transport is not None
        if self.is_lost:
            raise ConnectionResetError("the server hung up")
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._wanted < 0:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            self._wanted = end + 4 + _content_length(bytes(self._received[:end]))
        if len(self._received) < self._wanted or self._answer is None:
            return
        answer, self._answer = self._answer, None
        status = int(self._received[9:12])
        self._found, self._received = self._received, bytearray()
        self._wanted = -1
        if not answer.done():
            answer.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server hung up"))

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    if at < 0:
        return 0
    return int(head[at + 15 :].split(b"\r\n", 1)[0])


def request(
    method: str, path: str, token: str = "", body: bytes = b"", headers: Sequence[str] = ()
) -> bytes:
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
    """As fast as it goes: each connection sends its next request when it has its answer."""
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


async def play(port: int, requests: Iterator[bytes], *, number: int, connections: int) -> Outcome:
    """So many requests of a sequence, in its order, as fast as it goes."""
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
    """So many users, who think between two requests, while others hold a connection and wait."""
    outcome = Outcome()
    chance = random.Random(1)  # noqa: S311 - the same crowd in every run
    holding = [
        connection
        for part in range(0, held, 500)
        for connection in await _many(port, min(500, held - part))
    ]
    until = perf_counter() + seconds

    async def live(turn: int) -> None:
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
                turn += 7
                await asyncio.sleep(chance.uniform(0, 2 * think))
        finally:
            connection.close()

    started = perf_counter()
    await asyncio.gather(*(live(turn) for turn in range(users)))
    outcome.seconds = perf_counter() - started
    lost = sum(1 for connection in holding if connection.is_lost)
    if lost:
        outcome.statuses[0] = lost
    for connection in holding:
        connection.close()
    return outcome


async def _many(port: int, number: int) -> list[Connection]:
    return await asyncio.gather(*(connect(port) for _ in range(number)))
