"""`python -m bench.slow_model`: measure other users' reads while 200 chats wait for a slow model.

Starts Freshly embedded (one process, SQLite) and a model that takes a minute for each response: a
word per second, or with `--silent` no byte at all, after which Freshly gives up in 20 s. Measures
`/pantry-items/me` for the same users before, during and after the chats, with the cache on and off,
and checks that the chats hold no database connection.
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

from bench.household import seed_households
from bench.load import Outcome, connect, many_users, request
from bench.servers import A_LOT, GROUPS, Server, freshly
from tests.support.fake_services import free_port

CHATS = 200
RESPONSE_TIME = 60  # seconds that the model takes
# Seconds between two chats. Starting all at once would measure the queue for the database instead.
INTERVAL = 0.05
USERS, THINK = 40, 0.2  # 40 users who pause for 0.2 s send 200 requests a second
BEGIN_WITHIN = 15  # seconds until the model has received all chats
MEASURED_FOR = 10.0  # seconds, each time
MAX_RATIO = 1.5  # of the p99 during the chats to the p99 without them
OK = 200


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.slow_model", description=__doc__)
    parser.add_argument("--silent", action="store_true", help="the model sends no byte")
    parser.add_argument("--serve", type=int, metavar="PORT", help="run only the model")
    parser.add_argument("--cache", choices=("auto", "off"), help="one setting only")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(_serve(options.serve, silent=options.silent))
        return 0
    caches = [options.cache] if options.cache else ["auto", "off"]
    rows = [_measure(cache, silent=options.silent) for cache in caches]
    table = Table(title=f"/pantry-items/me while {CHATS} chats take {RESPONSE_TIME} s")
    for column in ("cache", "p99 idle", "p99 during", "ratio", "errors", "transactions", "chats"):
        table.add_column(column)
    for row in rows:
        table.add_row(*map(str, row[:-1]))
    Console(width=140).print(table)
    return 0 if all(row[-1] for row in rows) else 1


def _measure(cache: str, *, silent: bool) -> tuple[object, ...]:
    port = free_port()
    limits = {name: {"default": A_LOT, "free": A_LOT} for name in (*GROUPS, "chat", "chat-legacy")}
    settings = {
        "CACHE": cache,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "OPENAI_MAX_CALLS": str(CHATS),
        "CHAT_TOKENS_PER_PERSON": "0",
        "CHAT_TOKENS_PER_FAMILY": "0",
        "CHAT_TOKENS_UNCONFIRMED": "0",
        "CHAT_TOKENS_INSTALLATION": "0",
        "RATE_LIMIT_OVERRIDES": json.dumps(limits),
    }
    with (
        tempfile.TemporaryDirectory(prefix="freshly-bench-") as home,
        _model(port, silent=silent),
        freshly(Path(home, "data"), 1, settings) as server,
    ):
        before, during, after, held, chats = uvloop.run(_run_chats(server))
    idle = (before.quantile(0.99) + after.quantile(0.99)) / 2
    ratio = during.quantile(0.99) / idle
    errors = before.errors + during.errors + after.errors
    chat_results = ", ".join(f"{number} x {status}" for status, number in sorted(chats.items()))
    is_met = ratio <= MAX_RATIO and not errors and not held
    times = (
        f"{idle * 1000:.2f} ms",
        f"{during.quantile(0.99) * 1000:.2f} ms",
        f"{ratio:.2f}",
    )
    return cache, *times, errors, f"{held} held", chat_results, is_met


async def _run_chats(server: Server) -> tuple[Outcome, Outcome, Outcome, int, Counter[str]]:
    """Return the reads before, during and after the chats, the transactions, and the chats."""
    (home,) = await seed_households(server.port, 1)
    token = home.tokens[0]
    reads = [request("GET", "/pantry-items/me", token)]

    async def measure_reads() -> Outcome:
        return await many_users(
            server.port, reads, users=USERS, held=0, seconds=MEASURED_FOR, think=THINK
        )

    await measure_reads()  # fills the caches
    before = await measure_reads()
    chats = []
    for _ in range(CHATS):
        chats.append(asyncio.create_task(_chat(server.port, token)))
        await asyncio.sleep(INTERVAL)
    for _ in range(BEGIN_WITHIN):
        await asyncio.sleep(1)
        if await _metric(server, "freshly_model_in_flight") == CHATS:
            break
    else:
        raise RuntimeError(f"some chats did not start: {Counter(map(_state_of, chats))}")
    during = await measure_reads()
    in_flight = await _metric(server, "freshly_model_in_flight")
    assert in_flight > 0, "the chats ended before the measurement"
    held = 0
    for _ in range(20):
        held = max(held, await _open_transactions(server))
        await asyncio.sleep(0.02)
    chat_results = Counter(await asyncio.gather(*chats))
    return before, during, await measure_reads(), held, chat_results


async def _chat(port: int, token: str) -> str:
    """Send one chat, and return its status and its duration in whole seconds."""
    connection = await connect(port)
    try:
        started = time.monotonic()
        status = await connection.send(request("POST", "/chat", token, b'{"message": "Soup?"}'))
        code = "" if status == OK else f" {json.loads(connection.body)['code']}"
        return f"{status}{code} after {time.monotonic() - started:.0f} s"
    finally:
        connection.close()


def _state_of(chat: "asyncio.Task[str]") -> str:
    return chat.result() if chat.done() else "running"


async def _metric(server: Server, name: str) -> float:
    return await asyncio.to_thread(server.number, name)


async def _open_transactions(server: Server) -> int:
    text = await asyncio.to_thread(server.get, "/metrics")
    line = next(line for line in text.splitlines() if 'units{state="taken"}' in line)
    return int(float(line.rpartition(" ")[2]))


@contextmanager
def _model(port: int, *, silent: bool) -> Iterator[None]:
    """Run the model in a process of its own, so that it does not slow down the measuring one."""
    command = [sys.executable, "-m", "bench.slow_model", "--serve", str(port)]
    process = subprocess.Popen([*command, *(["--silent"] if silent else [])])  # noqa: S603
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


async def _serve(port: int, *, silent: bool) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            if silent:
                await asyncio.sleep(RESPONSE_TIME)
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
            )
            # Freshly's time limit includes its own work, so the model stays two seconds below it.
            for _ in range(0 if silent else RESPONSE_TIME - 2):
                chunk = {"choices": [{"index": 0, "delta": {"content": "soup "}}]}
                writer.write(f"data: {json.dumps(chunk)}\n\n".encode())
                await writer.drain()
                await asyncio.sleep(1)
            writer.write(b"data: [DONE]\n\n")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # Freshly has closed the connection
        finally:
            writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", port, backlog=2 * CHATS)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
