"""`python -m bench.slow_model`: what other people notice while 200 chats wait for a slow model.

Starts Freshly embedded (one process, SQLite), and a model whose answers take a minute: a word a
second, or with `--silent` none at all, which is given up after 20 s. Measures `/pantry-items/me`
for one crowd of people before, during and after, with the cache on and off, and looks whether a
database connection is held meanwhile.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench.household import seeded
from bench.load import Outcome, connect, many_users, request
from bench.servers import A_LOT, GROUPS, Server, freshly
from tests.support.fake_services import free_port

CHATS = 200
TAKES = 60  # seconds
APART = 0.05  # all at once would queue for the database first, which is another promise
USERS, THINK = 40, 0.2  # 200 requests a second
BEGIN_WITHIN = 15
MEASURED = 10.0  # seconds, of each
BAR = 1.5
OK = 200


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.slow_model", description=__doc__)
    parser.add_argument("--silent", action="store_true", help="no byte comes, for a minute")
    parser.add_argument("--serve", type=int, metavar="PORT", help="be the model")
    parser.add_argument("--cache", choices=("auto", "off"), help="one of the two")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(_serve(options.serve, silent=options.silent))
        return 0
    caches = [options.cache] if options.cache else ["auto", "off"]
    rows = [_measured(cache, silent=options.silent) for cache in caches]
    table = Table(title=f"{CHATS} chats with a model that takes {TAKES} s; /pantry-items/me")
    for column in ("cache", "p99 idle", "p99 during", "ratio", "errors", "units of work", "chats"):
        table.add_column(column)
    for row in rows:
        table.add_row(*map(str, row[:-1]))
    Console(width=140).print(table)
    return 0 if all(row[-1] for row in rows) else 1


def _measured(cache: str, *, silent: bool) -> tuple[object, ...]:
    port = free_port()
    limits = {name: {"default": A_LOT, "free": A_LOT} for name in (*GROUPS, "chat", "chat-legacy")}
    settings = {
        "CACHE": cache,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "OPENAI_MAX_CALLS": str(CHATS),
        "CHAT_TOKENS_PER_PERSON": "0",
        "CHAT_TOKENS_PER_FAMILY": "0",
        "RATE_LIMIT_OVERRIDES": json.dumps(limits),
    }
    with (
        tempfile.TemporaryDirectory(prefix="freshly-bench-") as home,
        _model(port, silent=silent),
        freshly(Path(home, "data"), 1, settings) as server,
    ):
        before, during, after, held, chats = uvloop.run(_play(server))
    idle = (before.quantile(0.99) + after.quantile(0.99)) / 2
    ratio = during.quantile(0.99) / idle
    errors = before.errors + during.errors + after.errors
    told = ", ".join(f"{number} x {status}" for status, number in sorted(chats.items()))
    is_met = ratio <= BAR and not errors and not held
    columns_for = (
        f"{idle * 1000:.2f} ms",
        f"{during.quantile(0.99) * 1000:.2f} ms",
        f"{ratio:.2f}",
    )
    return cache, *columns_for, errors, f"{held} held", told, is_met


async def _play(server: Server) -> tuple[Outcome, Outcome, Outcome, int, Counter[str]]:
    (home,) = await seeded(server.port, 1, lambda _: None)
    token = home.tokens[0]
    look = [request("GET", "/pantry-items/me", token)]

    async def looked() -> Outcome:
        return await many_users(
            server.port, look, users=USERS, held=0, seconds=MEASURED, think=THINK
        )

    await looked()  # everything is warm
    before = await looked()
    chats = []
    for _ in range(CHATS):
        chats.append(asyncio.create_task(_chat(server.port, token)))
        await asyncio.sleep(APART)
    for _ in range(BEGIN_WITHIN):
        await asyncio.sleep(1)
        if await _number(server, "freshly_model_in_flight") == CHATS:
            break
    else:
        raise RuntimeError(f"not all began: {Counter(map(_told, chats))}")
    during = await looked()
    assert await _number(server, "freshly_model_in_flight") > 0, "the chats ended too early"
    held = 0
    for _ in range(20):
        held = max(held, await _taken(server))
        await asyncio.sleep(0.02)
    told = Counter(await asyncio.gather(*chats))
    return before, during, await looked(), held, told


async def _chat(port: int, token: str) -> str:
    """Its status and how long it took, in whole seconds."""
    connection = await connect(port)
    try:
        started = time.monotonic()
        status = await connection.send(request("POST", "/chat", token, b'{"message": "Soup?"}'))
        code = "" if status == OK else f" {json.loads(connection.body)['code']}"
        return f"{status}{code} after {time.monotonic() - started:.0f} s"
    finally:
        connection.close()


def _told(chat: "asyncio.Task[str]") -> str:
    return chat.result() if chat.done() else "under way"


async def _number(server: Server, name: str) -> float:
    return await asyncio.to_thread(server.number, name)


async def _taken(server: Server) -> int:
    text = await asyncio.to_thread(server.get, "/metrics")
    line = next(one for one in text.splitlines() if 'units{state="taken"}' in one)
    return int(float(line.rpartition(" ")[2]))


@contextmanager
def _model(port: int, *, silent: bool) -> Iterator[None]:
    """A process of its own, so that it costs those who measure nothing."""
    command = [sys.executable, "-m", "bench.slow_model", "--serve", str(port)]
    process = subprocess.Popen([*command, *(["--silent"] if silent else [])])  # noqa: S603
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


async def _serve(port: int, *, silent: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            if silent:
                await asyncio.sleep(TAKES)
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
            )
            for _ in range(0 if silent else TAKES - 2):  # and its own time, within the limit
                chunk = {"choices": [{"index": 0, "delta": {"content": "soup "}}]}
                writer.write(f"data: {json.dumps(chunk)}\n\n".encode())
                await writer.drain()
                await asyncio.sleep(1)
            writer.write(b"data: [DONE]\n\n")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # it was hung up on
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=2 * CHATS)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
