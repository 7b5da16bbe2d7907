"""A model's server that misbehaves, at the level of bytes, on loopback."""

import asyncio
import gzip
import json
import socket
import struct
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field

from tests.support.fake_services import PATIENCE

# What a provider may say, and nobody may read.
NASTY = 'sk-live-4711 of org-acme at http://10.1.2.3/v1: Traceback (most recent call last) "</s>'
TEN_MEGABYTES = 10_000_000
SMALL_BUFFER = 32_768  # bytes; else the system takes megabytes that nobody has read


@dataclass
class MoodyModel:
    """Behaves as its mood is, an async function of (request, writer), or as its script says."""

    url: str = ""
    mood: object = None
    script: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    was_left: asyncio.Event = field(default_factory=asyncio.Event)
    is_alone: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    sent: int = 0

    async def serve(self, reader, writer):
        self.connections += 1
        self.is_alone.clear()
        connected = writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        try:
            while (request := await _request(reader)) is not None:
                self.asked.append(request)
                self.was_asked.set()
                mood = self.script.pop(0) if self.script else self.mood
                behaving = asyncio.ensure_future(mood(request, _Counted(writer, self)))
                leaving = asyncio.ensure_future(reader.read(1))
                await asyncio.wait({behaving, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if not behaving.done():
                    self.was_left.set()
                for task in (behaving, leaving):
                    task.cancel()
                await asyncio.gather(behaving, leaving, return_exceptions=True)
                if writer.is_closing() or leaving.done():
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.was_left.set()
        finally:
            self.connections -= 1
            if not self.connections:
                self.is_alone.set()
            writer.close()

    async def is_left_alone(self):
        """Waits until nobody is connected any more."""
        async with asyncio.timeout(PATIENCE):
            await self.is_alone.wait()


class _Counted:
    def __init__(self, writer, model):
        self.writer, self.model = writer, model

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)  # what fits the system's buffers would let nobody else run
        self.model.sent += len(data)

    def reset(self):
        """RST in place of FIN."""
        connected = self.writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
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


def _head(status, kind, *more):
    lines = (f"HTTP/1.1 {status} Moody", f"content-type: {kind}", "connection: close", *more)
    return "\r\n".join((*lines, "", "")).encode()


def refuses(status, *headers, text=NASTY):
    """A status, with a body that is not for people."""

    async def mood(_request, out):
        body = json.dumps({"error": {"message": text, "type": text, "param": text}}).encode()
        await out.send(_head(status, "application/json", *headers) + body)
        out.writer.close()

    return mood


def whole(answer, kind="application/json", *headers):
    """A body as it is given, or as JSON."""

    async def mood(_request, out):
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        await out.send(_head(200, kind, *headers) + body)
        out.writer.close()

    return mood


def says(text, tokens=None):
    """The whole at once, of a server that knows no streams."""
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    return whole({**answer, "usage": {"total_tokens": tokens}} if tokens else answer)


def event(text):
    chunk = {"choices": [{"index": 0, "delta": {"content": text}}]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


def streams(*pieces, tokens=None, done=True):
    """Pieces of an answer; a number is a pause in seconds, an event is waited for, and bytes are
    sent as they are."""

    async def mood(_request, out):
        await out.send(_head(200, "text/event-stream"))
        for piece in pieces:
            if isinstance(piece, int | float):
                await asyncio.sleep(piece)
            elif isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                await out.send(piece if isinstance(piece, bytes) else event(piece))
        if tokens is not None:
            usage = {"choices": [], "usage": {"total_tokens": tokens}}
            await out.send(f"data: {json.dumps(usage)}\n\n".encode())
        if done:
            await out.send(b"data: [DONE]\n\n")
        out.writer.close()

    return mood


async def silent(_request, _out):
    await asyncio.sleep(3600)


async def silent_within(_request, out):
    """Begins, and says no more."""
    await out.send(_head(200, "text/event-stream") + event("Half"))
    await asyncio.sleep(3600)


async def trickles(_request, out):
    await out.send(_head(200, "text/event-stream"))
    for byte in event("A word that takes its time") * 100:
        await out.send(bytes([byte]))
        await asyncio.sleep(0.2)  # a word takes longer than a call may


async def resets(_request, out):
    out.reset()


async def floods(_request, out):
    """Ten megabytes of one JSON text."""
    await out.send(_head(200, "application/json") + b'{"choices": "')
    for _ in range(TEN_MEGABYTES // 50_000):
        await out.send(b"x" * 50_000)
    out.writer.close()


async def floods_in_pieces(_request, out):
    await out.send(_head(200, "text/event-stream"))
    for _ in range(TEN_MEGABYTES // 1_000):
        await out.send(event("x" * 950))
    out.writer.close()


async def floods_with_an_error(_request, out):
    await out.send(_head(500, "application/json"))
    for _ in range(TEN_MEGABYTES // 50_000):
        await out.send(b"x" * 50_000)
    out.writer.close()


def packed_bomb():
    """Ten megabytes in ten kilobytes."""
    return whole(gzip.compress(b" " * TEN_MEGABYTES), "application/json", "content-encoding: gzip")


@asynccontextmanager
async def moody_model(mood=None):
    model = MoodyModel(mood=mood or says("Hello!"))
    serving = set()

    async def serve(reader, writer):
        serving.add(asyncio.current_task())
        await model.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    model.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield model
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@contextmanager
def deaf_port():
    """A port where connecting is neither accepted nor refused, as behind a wall."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        try:
            for _ in range(4):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(listening.getsockname())
                waiting.append(one)
            yield listening.getsockname()[1]
        finally:
            for one in waiting:
                one.close()
