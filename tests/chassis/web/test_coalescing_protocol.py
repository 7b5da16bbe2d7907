"""Bytes that a client's socket receives from a real server with CoalescingProtocol."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import uvicorn

from freshly.chassis.web.coalescing_protocol import CoalescingProtocol
from tests.support.fake_services import free_port


@asynccontextmanager
async def served(app):
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, http=CoalescingProtocol, lifespan="off", log_config=None)
    )
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield port
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def send_request():
    """Return a function that opens a connection, sends a request and returns the reader."""
    writers = []

    async def open_and_send(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return reader

    yield open_and_send
    for writer in writers:
        writer.close()
        await writer.wait_closed()


async def test_head_and_body_of_a_response_are_sent_together(send_request):
    async def app(_scope, _receive, send):
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"peach"})

    async with served(app) as port:
        received = await (await send_request(port)).read(65536)

    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\npeach")


async def test_the_head_of_a_stream_does_not_wait_for_its_first_part(send_request):
    may_continue = asyncio.Event()

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await may_continue.wait()
        await send({"type": "http.response.body", "body": b"peach"})

    async with served(app) as port:
        reader = await send_request(port)
        head = await reader.readuntil(b"\r\n\r\n")
        may_continue.set()
        rest = await reader.readuntil(b"0\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest == b"5\r\npeach\r\n0\r\n\r\n"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_response_without_a_body_is_sent_at_once(send_request, status):
    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with served(app) as port:
        head = await (await send_request(port)).readuntil(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 %d " % status)


async def test_a_response_is_sent_completely_before_the_connection_closes(send_request):
    async def app(_scope, _receive, send):
        headers = [(b"connection", b"close"), (b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"peach"})

    async with served(app) as port:
        received = await (await send_request(port)).read()

    assert received.endswith(b"\r\n\r\npeach")
