"""The attacks. Each runs against one server, and returns what became of it."""

import io
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import httpx2
from PIL import Image

from bench.servers import Server
from tests.contracts.test_patterns import PATTERNS, hostile_texts, seconds
from tests.support.api import MEAL, PASSWORD
from tests.support.pictures import decompression_bomb

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
REQUEST = HEAD + b"\r\n"
CONNECTIONS = 20
CLOSED, REFUSED = "closed", "refused"


@dataclass
class Target:
    """The server, its user, and how much of each attack to run."""

    server: Server
    client: httpx2.Client
    short: bool
    connections: list[socket.socket] = field(default_factory=list)

    def close(self) -> None:
        """Close all connections, those that an attack left open included."""
        for connection in self.connections:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        return self.client.post(path, json=body, headers=headers)

    def connect(self, first: bytes = b"", receive_buffer: int = 0) -> socket.socket:
        connection = socket.socket()
        self.connections.append(connection)
        connection.settimeout(15)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect(("127.0.0.1", self.server.port))
        connection.sendall(first)
        return connection


@dataclass(frozen=True)
class Attack:
    name: str
    tried: str
    run: Callable[[Target], str]  # returns what became of it; raises AssertionError
    connections: int  # among which the memory is shared; 0: no promise about memory
    memory: float  # MB for each of them at most
    wait: float  # seconds that another client waits at most
    short: bool


ATTACKS: dict[str, Attack] = {}


def attack(
    tried: str,
    *,
    connections: int = CONNECTIONS,
    memory: float = 1.0,
    wait: float = 0.1,
    short: bool = True,
) -> Callable[[Callable[[Target], str]], Callable[[Target], str]]:
    def register(run: Callable[[Target], str]) -> Callable[[Target], str]:
        name = run.__name__.replace("_", "-")
        ATTACKS[name] = Attack(name, tried, run, connections, memory, wait, short)
        return run

    return register


def send_until_refused(connection: socket.socket, data: bytes, limit: int) -> int:
    """Send the data again and again. Return how many bytes the server let in."""
    sent = 0
    connection.settimeout(0.5)
    with suppress(OSError):
        while sent < limit:
            sent += connection.send(data)
    return sent


def is_closed(connection: socket.socket, within: float) -> bool:
    """Return True if the server closes the connection. Read what it still sends."""
    until = time.monotonic() + within
    connection.settimeout(within)
    with suppress(TimeoutError):
        try:
            while time.monotonic() < until:
                if not connection.recv(65536):
                    return True
        except ConnectionError:
            return True
    return False


@attack("20 GETs with a path of 60 kB each")
def long_paths(target: Target) -> str:
    for _ in range(CONNECTIONS):
        path = b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with target.connect(path) as connection:
            assert connection.recv(12) == b"HTTP/1.1 404"
    return "each is answered 404"


@attack(
    "20 connections with 20 MB of pipelined requests each, whose answers the client never reads",
    wait=0.5,
)
def pipelining(target: Target) -> str:
    open_ones = [target.connect() for _ in range(CONNECTIONS)]
    sent = [send_until_refused(each, REQUEST * 1000, 20_000_000) for each in open_ones]
    assert max(sent) < 20_000_000
    for each in open_ones:
        each.close()
    return f"the server reads {max(sent) / 1e6:.1f} MB of a connection, then waits"


@attack("20 connections with a head of header lines without end")
def endless_heads(target: Target) -> str:
    open_ones = [target.connect(HEAD) for _ in range(CONNECTIONS)]
    line = b"X-Padding: " + b"x" * 3000 + b"\r\n"
    sent = [send_until_refused(each, line, 50_000_000) for each in open_ones]
    assert max(sent) < 50_000_000
    assert all(is_closed(each, 10) for each in open_ones)
    return "each is closed"


@attack("20 connections with one header without end")
def endless_header(target: Target) -> str:
    open_ones = [target.connect(HEAD + b"X-Padding: ") for _ in range(CONNECTIONS)]
    sent = [send_until_refused(each, b"x" * 65_536, 50_000_000) for each in open_ones]
    assert max(sent) < 50_000_000
    assert all(is_closed(each, 10) for each in open_ones)
    return "each is closed"


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"


@attack("20 connections with trailers (lines after the last chunk) without end")
def endless_trailers(target: Target) -> str:
    return _endless_trailers(target, b"", b"X-Trail: aaa\r\n" * 4000)


@attack("20 connections with one trailer without end")
def endless_trailer(target: Target) -> str:
    return _endless_trailers(target, b"X-Trail: ", b"x" * 65_536)


def _endless_trailers(target: Target, begin: bytes, endless: bytes) -> str:
    open_ones = [target.connect(CHUNKED + begin) for _ in range(CONNECTIONS)]
    sent = [send_until_refused(each, endless, 50_000_000) for each in open_ones]
    assert max(sent) < 50_000_000
    return "each is closed"


@attack("20 heads of one byte a second", short=False)
def slow_heads(target: Target) -> str:
    open_ones = [target.connect(HEAD + b"X-Slow: ") for _ in range(CONNECTIONS)]
    began, gone = time.monotonic(), 0
    while gone < CONNECTIONS and time.monotonic() - began < 20:
        time.sleep(1)
        gone = sum(_is_refused(each) for each in open_ones)
    passed = time.monotonic() - began
    assert passed < 15
    return f"all are closed after {passed:.0f} s"


def _is_refused(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"E")
        connection.setblocking(False)
        return bool(connection.recv(100)) or True
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.setblocking(True)


@attack("1,100 connections with half a head; the server has room for 800", connections=1100, wait=1)
def half_open(target: Target) -> str:
    open_ones = [target.connect(b"GET / HT") for _ in range(1100)]
    time.sleep(1)
    with target.connect(REQUEST) as connection:
        assert connection.recv(12) == b"HTTP/1.1 200"
    for each in open_ones:
        each.close()
    return "others get in and are answered"


@attack("40 clients ask for 7 MB each and read nothing", connections=40)
def unread_answers(target: Target) -> str:
    meal = {**MEAL, "instructions": ["x" * 19_000] * 45}
    for _ in range(8):
        assert target.post("/meals/me", meal).status_code == 201
    size = len(target.client.get("/meals/me").content)
    token = target.client.headers["Authorization"].encode()
    ask = b"GET /meals/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + token + b"\r\n\r\n"
    open_ones = [target.connect(ask, receive_buffer=65_536) for _ in range(40)]
    time.sleep(3 if target.short else 40)
    read = 0
    for each in open_ones:
        each.settimeout(1)
        with suppress(OSError):
            while part := each.recv(1 << 20):
                read += len(part)
                if target.short:
                    break
        each.close()
    if target.short:
        return f"they share the {size / 1e6:.1f} MB"
    assert read < 0.9 * 40 * size, read
    return f"cut off after 30 s; they share the {size / 1e6:.1f} MB"


@attack("500 WebSocket handshakes, on GETs and POSTs", connections=0)
def websockets(target: Target) -> str:
    for number in range(500):
        method = b"GET" if number % 2 else b"POST"
        head = method + b" /health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        with target.connect(head + b"Upgrade: websocket\r\nContent-Length: 0\r\n\r\n") as one:
            assert one.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 405")
    return "answered as ordinary requests"


@attack("1,000 requests for /ready", connections=0)
def readiness(target: Target) -> str:
    for _ in range(1000):
        assert target.client.get("/ready").status_code == 200
    return "answered"


def _upload(target: Target, content: bytes) -> tuple[int, float]:
    began = time.monotonic()
    answer = target.client.post("/storage/avatar/proxy", files={"file": ("a.png", content)})
    return answer.status_code, time.monotonic() - began


@attack("a PNG of 300 bytes that claims 50,000 x 50,000 pixels", connections=1, memory=50)
def bomb(target: Target) -> str:
    status, passed = _upload(target, decompression_bomb())
    assert status == 400
    assert passed < (2 if target.short else 0.2)
    return f"refused after {passed * 1000:.0f} ms"


@attack("a PNG of 6,324 x 6,324 pixels with alpha in 151 kB", connections=1, memory=50)
def large_picture(target: Target) -> str:
    out = io.BytesIO()
    Image.new("RGBA", (6324, 6324), "tomato").save(out, "PNG")
    status, passed = _upload(target, out.getvalue())
    assert status == 400
    return f"refused after {passed * 1000:.0f} ms"


@attack("8 PNGs of 12 million pixels with alpha at once", connections=2, memory=150)
def large_pictures_at_once(target: Target) -> str:
    out = io.BytesIO()
    Image.new("RGBA", (4000, 3000), "tomato").save(out, "PNG")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _upload(target, out.getvalue()), range(8)))
    assert {status for status, _ in answers} == {201}
    return f"stored, two at a time, within {max(passed for _, passed in answers):.1f} s"


@attack("the list of a plan of 28 meals with 60 foods each", connections=0)
def rebuild(target: Target) -> str:
    lines = [{"name": f"food {n}", "amount": f"{n + 1} g"} for n in range(60)]
    meal = target.post("/meals/me", {**MEAL, "ingredients": lines}).json()["id"]
    plan = target.post("/meal-plans/me", {"week_start": "2030-01-07"}).json()["id"]
    for day, slot in product(range(7), ("breakfast", "lunch", "dinner", "snack")):
        body = {"meals": [{"meal_id": meal}]}
        target.client.put(f"/meal-plans/{plan}/slots/{day}/{slot}", json=body)
    began = time.monotonic()
    answer = target.post(f"/grocery-lists/rebuild-from-meal-plan/{plan}", None)
    assert answer.status_code == 200, answer.text
    return f"{answer.json()['items_count']} lines after {time.monotonic() - began:.1f} s"


@attack("a plan that needs 10,000 ingredients", connections=0)
def many_needs(target: Target) -> str:
    lines = [{"name": "flour", "amount": "1 cup"}] * 200
    meals = [target.post("/meals/me", {**MEAL, "ingredients": lines}).json() for _ in range(20)]
    plan = target.post("/meal-plans/me", {"week_start": "2030-01-14"}).json()["id"]
    body = {"meals": [{"meal_id": meal["id"]} for meal in meals]}
    for slot in ("lunch", "dinner", "snack"):
        target.client.put(f"/meal-plans/{plan}/slots/0/{slot}", json=body)
    answer = target.post(f"/grocery-lists/rebuild-from-meal-plan/{plan}", None)
    assert answer.status_code == 422, answer.text
    return "refused: too_many_needs"


@attack("20 lines with 20,000 characters of amounts each, and their sync", connections=0)
def long_notes(target: Target) -> str:
    created = target.post("/grocery-lists", {"scope": "personal", "title": "Notes"}).json()
    food = target.post("/ingredients", {"name": "odd food"}).json()
    for _ in range(20):
        item = {"ingredient_id": food["id"], "note": "1 g, " * 4000}
        target.post(f"/grocery-lists/{created['id']}/items", item)
    began = time.monotonic()
    target.post(f"/grocery-lists/{created['id']}/sync-pantry", None)
    return f"synced after {time.monotonic() - began:.2f} s"


@attack("each pattern of the source on 100 kB of hostile text", connections=0, short=False)
def patterns(_target: Target) -> str:
    slowest = max(seconds(p, text) for p in PATTERNS.values() for text in hostile_texts(p))
    assert slowest < 0.05
    return f"{len(PATTERNS)} patterns, the slowest takes {slowest * 1000:.0f} ms"


def sign_up(client: httpx2.Client) -> None:
    """Register a user, and sign the client in."""
    account = {"email": f"attacker{time.time_ns()}@example.com", "password": PASSWORD}
    client.post("/auth/register", json=account).raise_for_status()
    tokens = json.loads(client.post("/auth/login", json=account).raise_for_status().text)
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
