"""The servers that Freshly talks to, real ones on loopback: a model, mail, keys, S3."""

import asyncio
import json
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from socket import socket

import uvicorn
from aiosmtpd.controller import Controller
from moto.server import ThreadedMotoServer
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

PATIENCE = 10  # seconds


@asynccontextmanager
async def serving(app, *, with_lifespan=False):
    """The base URL of that ASGI app, served for real in this event loop."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_config=None,
        access_log=False,
        lifespan="on" if with_lifespan else "off",
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(PATIENCE):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit, server.force_exit = True, not with_lifespan
        await asyncio.wait_for(running, PATIENCE)


@dataclass
class Model:
    """A small server of Chat Completions that answers from a script, and keeps what it was asked.

    A line of the script is a text, a list of pieces to stream (a number among them is a pause in
    seconds), a status, or "reset" for a connection that breaks.
    """

    url: str = ""
    script: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    aborted: asyncio.Event = field(default_factory=asyncio.Event)
    pictures: list = field(default_factory=list)

    def says(self, *lines):
        self.script += lines

    def app(self):
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/images/generations", self._draw, methods=["POST"]),
            ]
        )

    async def _complete(self, request):
        asked = await request.json()
        self.asked.append(asked)
        self.was_asked.set()
        line = self.script.pop(0) if self.script else "Hello!"
        if isinstance(line, int):
            return JSONResponse({"error": {"message": "secret provider text"}}, line)
        if isinstance(line, dict):
            return JSONResponse(line)
        if asked.get("stream"):
            return StreamingResponse(self._pieces(line), media_type="text/event-stream")
        return JSONResponse(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": asked["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": line},
                    }
                ],
            }
        )

    async def _pieces(self, line):
        finished = False
        try:
            for piece in [line] if isinstance(line, str) else line:
                if isinstance(piece, int | float):
                    await asyncio.sleep(piece)
                    continue
                if piece is ConnectionResetError:
                    raise RuntimeError("the model breaks off, as it was told to")
                chunk = {
                    "id": "1",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": "m",
                    "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}],
                }
                yield f"data: {json.dumps(chunk)}\n\n"
            finished = True
            yield "data: [DONE]\n\n"
        finally:
            if not finished:
                self.aborted.set()

    async def _draw(self, request):
        self.asked.append(await request.json())
        line = self.script.pop(0) if self.script else {"url": "https://pictures.example.com/1"}
        if isinstance(line, int):
            return JSONResponse({"error": {"message": "secret provider text"}}, line)
        return JSONResponse({"created": 1, "data": [line]})


@asynccontextmanager
async def model_server():
    model = Model()
    async with serving(model.app()) as url:
        model.url = f"{url}/v1"
        yield model


@asynccontextmanager
async def key_server(keys):
    """Publishes keys as Supabase does; `keys` is a JWK set that may change meanwhile."""
    asked = []

    async def published(_request):
        asked.append(1)
        return JSONResponse(keys) if keys else Response(status_code=500)

    async with serving(Starlette(routes=[Route("/auth/v1/jwks", published)])) as url:
        yield url, asked


class Letterbox:
    """Takes mail by SMTP."""

    def __init__(self):
        self.emails = []
        self.arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.port = 0

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's name
        email = message_from_bytes(envelope.content, policy=policy.default)
        self._loop.call_soon_threadsafe(self._keep, email)
        return "250 OK"

    def _keep(self, email):
        self.emails.append(email)
        self.arrived.set()

    async def email(self):
        """The next one to arrive."""
        async with asyncio.timeout(PATIENCE):
            await self.arrived.wait()
        email = self.emails.pop(0)
        if not self.emails:
            self.arrived.clear()
        return email


def free_port():
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def letterbox():
    box = Letterbox()
    box.port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


@contextmanager
def s3_server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()
