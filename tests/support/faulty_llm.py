"""A faulty server of a language model, on loopback, which misbehaves down to single bytes."""

import asyncio
import gzip
import json
import socket
import struct
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field

from tests.support.fake_services import TIMEOUT_SECONDS

# Text of a provider that must reach neither users nor clients.
PROVIDER_TEXT = (
    'sk-live-4711 of org-acme at http://10.1.2.3/v1: Traceback (most recent call last) "</s>'
)
TEN_MEGABYTES = 10_000_000  # bytes
# A small buffer, because the system would take megabytes that the client never reads.
SEND_BUFFER_BYTES = 32_768


@dataclass
class FaultyModel:
    """Responds with the next behaviour of `script`, or else with `behaviour`.

    A behaviour is an async function of (request, connection). `requests` are the bodies received,
    `sent` counts bytes.
    """

    url: str = ""
    behaviour: object = None
    script: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    request_received: asyncio.Event = field(default_factory=asyncio.Event)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    sent: int = 0

    async def serve(self, reader, writer):
        self.connections += 1
        self._idle.clear()
        client_socket = writer.get_extra_info("socket")
        client_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        try:
            while (request := await _request(reader)) is not None:
                self.requests.append(request)
                self.request_received.set()
                behaviour = self.script.pop(0) if self.script else self.behaviour
                response = asyncio.ensure_future(behaviour(request, _Connection(writer, self)))
                disconnect = asyncio.ensure_future(reader.read(1))
                await asyncio.wait({response, disconnect}, return_when=asyncio.FIRST_COMPLETED)
                if not response.done():
                    self.disconnected.set()
                for task in (response, disconnect):
                    task.cancel()
                await asyncio.gather(response, disconnect, return_exceptions=True)
                if writer.is_closing() or disconnect.done():
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.disconnected.set()
        finally:
            self.connections -= 1
            if not self.connections:
                self._idle.set()
            writer.close()

    async def wait_until_idle(self):
        """Wait until no client is connected."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self._idle.wait()


class _Connection:
    """Sends bytes to the client and counts them."""

    def __init__(self, writer, model):
        self.writer, self.model = writer, model

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)  # a drain that needs no wait does not let other tasks run
        self.model.sent += len(data)

    def reset(self):
        """Close the connection with RST instead of FIN."""
        client_socket = self.writer.get_extra_info("socket")
        client_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def _request(reader):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    return json.loads(await reader.readexactly(length))


def _head(status, content_type, *headers):
    status_line = f"HTTP/1.1 {status} Faulty"
    lines = (status_line, f"content-type: {content_type}", "connection: close", *headers)
    return "\r\n".join((*lines, "", "")).encode()


def refuses(status, *headers, text=PROVIDER_TEXT):
    """Respond with this status, and with a body that must not reach users."""

    async def behaviour(_request, connection):
        body = json.dumps({"error": {"message": text, "type": text, "param": text}}).encode()
        await connection.send(_head(status, "application/json", *headers) + body)
        connection.writer.close()

    return behaviour


def whole(answer, content_type="application/json", *headers):
    """Respond with this body: bytes as they are, anything else as JSON."""

    async def behaviour(_request, connection):
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        await connection.send(_head(200, content_type, *headers) + body)
        connection.writer.close()

    return behaviour


def says(text, tokens=None):
    """Respond with the whole answer at once, like a server that cannot stream."""
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    return whole({**answer, "usage": {"total_tokens": tokens}} if tokens else answer)


def event(text):
    chunk = {"choices": [{"index": 0, "delta": {"content": text}}]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


def streams(*parts, tokens=None, done=True):
    """Stream texts. A number is a pause in seconds, an event is waited for, bytes are sent raw."""

    async def behaviour(_request, connection):
        await connection.send(_head(200, "text/event-stream"))
        for part in parts:
            if isinstance(part, int | float):
                await asyncio.sleep(part)
            elif isinstance(part, asyncio.Event):
                await part.wait()
            else:
                await connection.send(part if isinstance(part, bytes) else event(part))
        if tokens is not None:
            usage = {"choices": [], "usage": {"total_tokens": tokens}}
            await connection.send(f"data: {json.dumps(usage)}\n\n".encode())
        if done:
            await connection.send(b"data: [DONE]\n\n")
        connection.writer.close()

    return behaviour


async def silent(_request, _connection):
    """Accept the request and never respond."""
    await asyncio.sleep(3600)


async def silent_within(_request, connection):
    """Begin to stream, and then send no more."""
    await connection.send(_head(200, "text/event-stream") + event("Half"))
    await asyncio.sleep(3600)


async def trickles(_request, connection):
    """Stream byte by byte, so slowly that a word takes longer than a call may."""
    await connection.send(_head(200, "text/event-stream"))
    for byte in event("A word that takes its time") * 100:
        await connection.send(bytes([byte]))
        await asyncio.sleep(0.2)


async def resets(_request, connection):
    connection.reset()


async def floods(_request, connection):
    """Respond with ten megabytes of a single JSON string."""
    await connection.send(_head(200, "application/json") + b'{"choices": "')
    for _ in range(TEN_MEGABYTES // 50_000):
        await connection.send(b"x" * 50_000)
    connection.writer.close()


async def floods_in_pieces(_request, connection):
    """Stream ten megabytes."""
    await connection.send(_head(200, "text/event-stream"))
    for _ in range(TEN_MEGABYTES // 1_000):
        await connection.send(event("x" * 950))
    connection.writer.close()


async def floods_with_an_error(_request, connection):
    """Respond with status 500 and ten megabytes."""
    await connection.send(_head(500, "application/json"))
    for _ in range(TEN_MEGABYTES // 50_000):
        await connection.send(b"x" * 50_000)
    connection.writer.close()


def packed_bomb():
    """Respond with ten megabytes, compressed to ten kilobytes."""
    return whole(gzip.compress(b" " * TEN_MEGABYTES), "application/json", "content-encoding: gzip")


@asynccontextmanager
async def faulty_model(behaviour=None):
    model = FaultyModel(behaviour=behaviour or says("Hello!"))
    tasks = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        await model.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    model.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield model
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def deaf_port():
    """Yield a port that neither accepts nor refuses connections, as behind a firewall."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        pending = []  # they fill the queue of the listener
        try:
            for _ in range(4):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
                pending.append(client)
            yield listener.getsockname()[1]
        finally:
            for client in pending:
                client.close()
