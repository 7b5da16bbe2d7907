"""Fake external services on loopback: a language model, SMTP, Supabase's keys and S3."""

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

TIMEOUT_SECONDS = 10  # against hanging; nothing is measured by it


@asynccontextmanager
async def serving(app, *, with_lifespan=False):
    """Serve the ASGI app with uvicorn in this event loop, and yield its base URL."""
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
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit, server.force_exit = True, not with_lifespan
        await asyncio.wait_for(running, TIMEOUT_SECONDS)


@dataclass
class FakeModel:
    """A server of Chat Completions that answers from a script and records its requests.

    A line of the script is a text, a body (dict), a status (int), or a list of chunks to stream. A
    number among the chunks is a pause in seconds; ConnectionResetError breaks the connection.
    """

    url: str = ""
    script: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    request_received: asyncio.Event = field(default_factory=asyncio.Event)
    aborted: asyncio.Event = field(default_factory=asyncio.Event)

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
        body = await request.json()
        self.requests.append(body)
        self.request_received.set()
        line = self.script.pop(0) if self.script else "Hello!"
        if isinstance(line, int):
            return JSONResponse({"error": {"message": "secret provider text"}}, line)
        if isinstance(line, dict):
            return JSONResponse(line)
        if body.get("stream"):
            return StreamingResponse(self._chunks(line), media_type="text/event-stream")
        return JSONResponse(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": line},
                    }
                ],
            }
        )

    async def _chunks(self, line):
        finished = False
        try:
            for part in [line] if isinstance(line, str) else line:
                if isinstance(part, int | float):
                    await asyncio.sleep(part)
                    continue
                if part is ConnectionResetError:
                    raise RuntimeError("the model breaks the connection, as its script says")
                chunk = {
                    "id": "1",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": "m",
                    "choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}],
                }
                yield f"data: {json.dumps(chunk)}\n\n"
            finished = True
            yield "data: [DONE]\n\n"
        finally:
            if not finished:
                self.aborted.set()

    async def _draw(self, request):
        self.requests.append(await request.json())
        line = self.script.pop(0) if self.script else {"url": "https://pictures.example.com/1"}
        if isinstance(line, int):
            return JSONResponse({"error": {"message": "secret provider text"}}, line)
        return JSONResponse({"created": 1, "data": [line]})


@asynccontextmanager
async def model_server():
    model = FakeModel()
    async with serving(model.app()) as url:
        model.url = f"{url}/v1"
        yield model


@asynccontextmanager
async def key_server(keys):
    """Serve public keys like Supabase, and yield the URL and the list of requests.

    `keys` is a JWK set that the test may change. If it is empty, the server fails.
    """
    requests = []

    async def published(_request):
        requests.append(1)
        return JSONResponse(keys) if keys else Response(status_code=500)

    async with serving(Starlette(routes=[Route("/auth/v1/jwks", published)])) as url:
        yield url, requests


class SmtpServer:
    """Receives emails by SMTP. `port` is set by `smtp_server()`."""

    def __init__(self):
        self.emails = []
        self.arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.port = 0

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's name
        email = message_from_bytes(envelope.content, policy=policy.default)
        self._loop.call_soon_threadsafe(self._store, email)
        return "250 OK"

    def _store(self, email):
        self.emails.append(email)
        self.arrived.set()

    async def next_email(self):
        """Wait for the next email and return it."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
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
def smtp_server():
    server = SmtpServer()
    server.port = free_port()
    controller = Controller(server, hostname="127.0.0.1", port=server.port)
    controller.start()
    try:
        yield server
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
