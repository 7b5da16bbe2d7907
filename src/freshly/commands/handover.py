"""The hand-over by which a server of one process reloads itself without losing a request.

On SIGHUP the process starts a second server on the same sockets, the bridge. While the bridge
serves, the process finishes its requests and runs its command again in place (`run_again`), with
the new code and the same process id. When it serves, the bridge finishes its requests and ends.

    process   serves ......... finishes | starts ............. | serves
    bridge             starts | serves ....................... | finishes

As long as two servers live, neither caches in memory: see MemoryVersions.suspend(). Each has an end
of two pipes, and notices when the other one closes its end, which a process also does when it dies.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Self

VARIABLE = "FRESHLY_HANDOVER"  # of the environment; a process passes it to the next
READY = b"1"
RELEASED = signal.SIGUSR1


@dataclass(frozen=True)
class Handover:
    """The open files that a server gets from the one before it, by their numbers."""

    sockets: list[int] = field(default_factory=list)
    locks: list[int] = field(default_factory=list)
    bridge: int | None = None  # the process id of the bridge, for the server that comes after it
    release: int | None = None  # that server closes it when it serves
    ended: int | None = None  # the end of this pipe is the end of the bridge
    ready: int | None = None  # the bridge writes to it when it serves, and closes it when it ends
    released: int | None = None  # the end of this pipe tells the bridge to end

    @property
    def to_bridge(self) -> bool:
        return self.ready is not None

    @classmethod
    def received(cls) -> Self | None:
        """Return what this process got from the one before it, or None at an ordinary start."""
        text = os.environ.pop(VARIABLE, None)
        return None if text is None else cls(**json.loads(text))

    def open_sockets(self) -> list[socket.socket]:
        return [socket.socket(fileno=number) for number in self.sockets]

    def store(self) -> None:
        """Leave this to the command that `run_again` starts in this process."""
        for number in (*self.sockets, *self.locks, self.release, self.ended):
            if number is not None:
                os.set_inheritable(number, True)
        os.environ[VARIABLE] = json.dumps(asdict(self))

    # The side of the bridge

    def watch_release(self) -> None:
        """Send RELEASED to this process once the other one serves again, or has died.

        The signal ends a process that does not handle it, which is right until the bridge serves.
        """
        assert self.released is not None
        released = self.released

        def _watch() -> None:
            os.read(released, 1)
            os.kill(os.getpid(), RELEASED)

        threading.Thread(target=_watch, name="watch release", daemon=True).start()

    def tell_that_it_serves(self) -> None:
        assert self.ready is not None
        with suppress(BrokenPipeError):  # the other process has died, so RELEASED is on its way
            os.write(self.ready, READY)

    # The side of the server after it

    async def release_bridge(self) -> None:
        """Let the bridge end, and wait until it has ended."""
        assert self.bridge is not None
        assert self.release is not None
        assert self.ended is not None
        os.close(self.release)
        await _read(self.ended)
        os.close(self.ended)
        _reap(self.bridge)


async def start_bridge(sockets: Sequence[int], locks: Sequence[int]) -> Handover | None:
    """Start the bridge, and wait until it serves. Return None if it ended instead."""
    is_ready, ready = os.pipe()
    released, release = os.pipe()
    given = Handover(list(sockets), list(locks), ready=ready, released=released)
    bridge = _start(given)
    os.close(ready)
    os.close(released)
    if await _read(is_ready) == READY:
        return Handover(given.sockets, given.locks, bridge, release, is_ready)
    os.close(is_ready)
    os.close(release)
    _reap(bridge)
    return None


def _start(given: Handover) -> int:
    """Run this process's command in another process, and return its id."""
    assert given.ready is not None
    assert given.released is not None
    bridge = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, VARIABLE: json.dumps(asdict(given))},
        pass_fds=(*given.sockets, *given.locks, given.ready, given.released),
    )
    bridge.returncode = 0  # its end is waited for by its id, here or by the next command
    return bridge.pid


def _reap(bridge: int) -> None:
    """Wait for a process that has closed its files, which is the last that it does."""
    os.waitpid(bridge, 0)


async def _read(descriptor: int) -> bytes:
    """Return the next byte of a pipe, or nothing if its other end was closed."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, 1)
