"""Another client, in a process of its own, that checks /health all the time and notes its waits."""

import multiprocessing
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import monotonic, sleep

from bench.servers import Server

INTERVAL_SECONDS = 0.05
TIMEOUT_SECONDS = 120
REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass
class Observed:
    longest_wait: float = 0.0  # seconds
    failures: int = 0
    memory: float = 0.0  # MB that the server took at most, beside what it had before


@contextmanager
def watching(server: Server) -> Iterator[Observed]:
    """Observe the server from outside while the body attacks it."""
    observed, before = Observed(), server.memory
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    client = context.Process(target=_check_health, args=(server.port, theirs), daemon=True)
    client.start()
    ours.recv()  # the client has had its first answer
    stop = threading.Event()
    memory = threading.Thread(target=_watch_memory, args=(server, before, observed, stop))
    memory.start()
    try:
        yield observed
    finally:
        stop.set()
        memory.join()
        ours.send("stop")
        observed.longest_wait, observed.failures = ours.recv()
        client.join()


def _watch_memory(server: Server, before: float, observed: Observed, stop: threading.Event) -> None:
    while not stop.wait(INTERVAL_SECONDS):
        observed.memory = max(observed.memory, server.memory - before)


def _check_health(port: int, pipe: Connection) -> None:
    longest, failures, first = 0.0, 0, True
    while not pipe.poll():
        began = monotonic()
        ok = False
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as client,
        ):
            client.sendall(REQUEST)
            ok = client.recv(12) == b"HTTP/1.1 200"
        if first:
            first = False
            pipe.send("ready")
        else:
            longest, failures = max(longest, monotonic() - began), failures + (not ok)
        sleep(INTERVAL_SECONDS)
    pipe.send((longest, failures))
