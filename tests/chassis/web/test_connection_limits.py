"""A real server with LimitedProtocol, and clients that do not behave."""

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import uvicorn

from freshly.chassis.web import connection_limits
from freshly.chassis.web.access_log import SECURITY_HEADERS
from freshly.chassis.web.connection_limits import Connections, LimitedProtocol
from tests.conftest import until
from tests.support.fake_services import free_port

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class App:
    """Answers each request with its number of body bytes, and keeps the most that were at once."""

    def __init__(self):
        self.started = 0
        self.headers = []  # of each request
        self.reads_body = True
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answer = b"peach"

    async def __call__(self, scope, receive, send):
        self.started += 1
        self.headers.append(scope["headers"])
        more = self.reads_body
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            more = message.get("more_body", False)
        await self.may_answer.wait()
        headers = [(b"content-length", b"%d" % len(self.answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.answer})


@asynccontextmanager
async def served(app, limit=1000):
    port = free_port()
    protocol = partial(LimitedProtocol, connections=Connections(limit))
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, http=protocol, ws="none", lifespan="off", log_config=None)
    )
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield port, server
    finally:
        server.should_exit = server.force_exit = True
        await task


@pytest.fixture
async def connect():
    writers = []

    async def open_connection(port, sent=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(sent)
        return reader, writer

    yield open_connection
    for writer in writers:
        writer.close()


async def answered(connect, port):
    reader, _ = await connect(port, REQUEST)
    async with asyncio.timeout(5):
        return (await reader.readuntil(b"\r\n"))[9:12]


async def status_of(reader, seconds=5):
    async with asyncio.timeout(seconds):
        received = await reader.read()
    return received[9:12]


async def send_until_refused(writer, data):
    """Send the data again and again until the server reads no more. Return how much was sent."""
    sent = 0
    with suppress(ConnectionError, TimeoutError):
        while sent < 100_000_000:
            writer.write(data)
            sent += len(data)
            async with asyncio.timeout(0.5):
                await writer.drain()
    return sent


async def test_an_endless_head_is_refused(connect):
    async with served(App()) as (port, _):
        _, writer = await connect(port, b"GET / HTTP/1.1\r\n")
        sent = await send_until_refused(writer, b"X-Padding: " + b"x" * 3000 + b"\r\n")
        assert sent < 10_000_000  # the kernel's buffers take some


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"X-Long: " + b"x" * 60_000, b"200"),
        (b"X-Long: " + b"x" * 80_000, b"431"),
        (b"\r\n".join(b"X-%d: y" % n for n in range(2000)), b"431"),
    ],
)
async def test_a_head_has_64_kb_and_200_lines(connect, head, status):
    async with served(App()) as (port, _):
        reader, _ = await connect(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + head)
        await asyncio.sleep(0.2)
        reader, _ = await connect(
            port, b"GET / HTTP/1.1\r\nConnection: close\r\n" + head + b"\r\n\r\n"
        )
        assert await status_of(reader) == status


async def test_a_head_that_does_not_come_is_refused_and_a_silent_connection_closed(
    connect, monkeypatch
):
    monkeypatch.setattr(connection_limits, "HEAD_TIMEOUT_SECONDS", 0.3)
    async with served(App()) as (port, _):
        slow, slow_writer = await connect(port, b"GET / HT")
        empty, _ = await connect(port, b"\r\n")
        await asyncio.sleep(0.2)
        slow_writer.write(b"T")  # a further byte does not prolong it

        assert await status_of(slow, 0.5) == b"408"
        assert await status_of(empty, 0.5) == b""


async def test_a_body_that_stops_coming_is_given_up(connect, monkeypatch):
    monkeypatch.setattr(connection_limits, "BODY_PERIOD_SECONDS", 0.3)
    async with served(App()) as (port, _):
        post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\n"
        slow, _ = await connect(port, post + b"x" * 100)
        steady, writer = await connect(port, post)
        for _ in range(5):
            writer.write(b"x" * 100_000)
            await writer.drain()
            await asyncio.sleep(0.2)

        assert await slow.read() == b""
        assert (await steady.readuntil(b"\r\n"))[9:12] == b"200"


CHUNKED = b" / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npeach\r\n"
LAST_CHUNK = b"0\r\n"


@pytest.mark.parametrize("reads_body", [True, False])
@pytest.mark.parametrize(
    ("begin", "endless"), [(b"", b"X-Trail: aaa\r\n" * 400), (b"X-Trail: ", b"a" * 6400)]
)
async def test_endless_trailers_close_the_connection(connect, begin, endless, reads_body):
    app = App()
    app.reads_body = reads_body
    async with served(app) as (port, server):
        reader, writer = await connect(port, b"GET" + CHUNKED + LAST_CHUNK + begin)
        if not reads_body:
            await reader.readuntil(b"peach")
        sent = await send_until_refused(writer, endless)
        assert sent < 10_000_000  # the kernel's buffers take some
        await until(lambda: not server.server_state.connections, 5)


async def test_trailers_that_do_not_end_close_the_connection(connect, monkeypatch):
    monkeypatch.setattr(connection_limits, "HEAD_TIMEOUT_SECONDS", 0.3)
    async with served(App()) as (port, server):
        _, writer = await connect(port, b"POST" + CHUNKED + LAST_CHUNK)
        await until(lambda: server.server_state.connections, 5)
        for _ in range(4):  # a further byte does not prolong it
            await asyncio.sleep(0.1)
            writer.write(b"x")
        await until(lambda: not server.server_state.connections, 1)


async def test_trailers_that_end_are_not_headers_of_the_request(connect, monkeypatch):
    monkeypatch.setattr(connection_limits, "HEAD_TIMEOUT_SECONDS", 0.3)
    app = App()
    async with served(app) as (port, _):
        reader, writer = await connect(port, b"POST" + CHUNKED + LAST_CHUNK)
        for line in (b"X-Trail: a\r\n", b"Authorization: b\r\n", b"\r\n"):
            await asyncio.sleep(0.05)
            writer.write(line)
        await reader.readuntil(b"peach")
        await asyncio.sleep(0.5)
        writer.write(REQUEST)
        await reader.readuntil(b"peach")
    assert [name for name, _ in app.headers[0]] == [b"host", b"transfer-encoding"]


async def test_requests_that_wait_for_an_answer_stop_the_reading(connect):
    app = App()
    app.may_answer.clear()
    async with served(app) as (port, server):
        _, writer = await connect(port)
        await send_until_refused(writer, REQUEST * 10_000)
        (protocol,) = server.server_state.connections
        assert app.started == 1
        assert len(protocol.pipeline) < 250


async def test_every_pipelined_request_is_answered_in_order(connect):
    app = App()
    async with served(app) as (port, _):
        reader, writer = await connect(port)
        post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000
        writer.write((REQUEST + post) * 300)
        async with asyncio.timeout(20):
            received = b""
            while received.count(b"peach") < 600:
                received += await reader.read(65536)
        assert app.started == 600
        assert received.count(b"HTTP/1.1 200 OK") == 600


async def test_a_client_that_does_not_read_its_answers_is_cut_off(connect, monkeypatch):
    monkeypatch.setattr(connection_limits, "WRITE_PERIOD_SECONDS", 0.3)
    app = App()
    app.answer = b"x" * 20_000_000
    async with served(app) as (port, server):
        await connect(port, REQUEST)
        await until(lambda: server.server_state.connections, 5)
        await until(lambda: not server.server_state.connections, 5)


async def test_a_client_that_reads_slowly_but_steadily_gets_all(connect, monkeypatch):
    monkeypatch.setattr(connection_limits, "WRITE_PERIOD_SECONDS", 0.3)
    app = App()
    app.answer = b"x" * 20_000_000
    async with served(app) as (port, _):
        reader, _ = await connect(port, REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        received = 0
        while received < 20_000_000:
            received += len(await reader.read(400_000))
            await asyncio.sleep(0.01)


async def test_a_client_that_takes_too_long_to_read_an_answer_is_cut_off(connect, monkeypatch):
    monkeypatch.setattr(connection_limits, "WRITE_PERIOD_SECONDS", 0.3)
    monkeypatch.setattr(connection_limits, "MIN_READ_BYTES_PER_PERIOD", 0)
    monkeypatch.setattr(connection_limits, "READ_SECONDS", 0.5)
    monkeypatch.setattr(connection_limits, "READ_BYTES_PER_SECOND", 40_000_000)
    app = App()
    app.answer = b"x" * 20_000_000
    async with served(app) as (port, server):
        reader, _ = await connect(port, REQUEST)
        with suppress(TimeoutError, ConnectionError, EOFError):
            async with asyncio.timeout(3):
                while True:
                    await reader.readexactly(100_000)  # enough for each period
                    await asyncio.sleep(0.05)
        assert not server.server_state.connections


async def test_half_open_connections_keep_nobody_out(connect):
    async with served(App(), limit=50) as (port, server):
        kept, kept_writer = await connect(port, REQUEST)
        await kept.readuntil(b"peach")
        for _ in range(200):
            await connect(port, b"GET / HT")
        assert await answered(connect, port) == b"200"
        assert len(server.server_state.connections) <= 51
        kept_writer.write(REQUEST)  # who has sent requests before goes last
        assert (await kept.readuntil(b"\r\n"))[9:12] == b"200"


async def test_connections_that_are_all_at_work_are_told_to_come_back(connect):
    app = App()
    app.may_answer.clear()
    async with served(app, limit=5) as (port, _):
        for _ in range(5):
            await connect(port, REQUEST)
        await until(lambda: app.started == 5, 5)
        reader, _ = await connect(port)
        async with asyncio.timeout(5):
            refusal = await reader.read()
        assert refusal[9:12] == b"503"
        assert b"retry-after: 2" in refusal.lower()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_an_upgrade_is_answered_as_if_it_was_not_asked_for(connect, method, caplog):
    async with served(App()) as (port, _):
        reader, _ = await connect(
            port,
            method + b" / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nContent-Length: 0\r\n\r\n",
        )
        with caplog.at_level(logging.WARNING):
            assert await status_of(reader) == b"200"
        assert caplog.records == []


async def test_an_invalid_request_gets_a_clear_error(connect):
    async with served(App()) as (port, _):
        reader, _ = await connect(port, b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
        async with asyncio.timeout(5):
            received = await reader.read()
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b'"code":"bad_request"' in received
    head = received.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")
    assert {f"{name}: {value}".lower() for name, value in SECURITY_HEADERS.items()} <= set(head)


@pytest.mark.parametrize(
    ("target", "hosts"),
    [
        (b"/", [b"localhost"]),
        (b"/?next=http://evil.example/", [b"localhost"]),
        (b"http://LOCALHOST/?a=b", [b"localhost"]),
        (b"http://evil.example/", [b"localhost", b"evil.example"]),
        (b"http://localhost@evil.example/", [b"localhost", b"localhost@evil.example"]),
    ],
)
async def test_another_host_in_the_request_line_is_a_second_host(connect, target, hosts):
    app = App()
    async with served(app) as (port, _):
        reader, _ = await connect(port, b"GET " + REQUEST[4:].replace(b"/", target, 1))
        await reader.readuntil(b"peach")
    assert [value for name, value in app.headers[0] if name == b"host"] == hosts
