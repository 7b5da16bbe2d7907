"""The web server of one process."""

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence

import uvicorn

from freshly.chassis.cache.versions import MemoryVersions
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.resilience.graceful_shutdown import CLOSING_SECONDS, GracefulShutdown
from freshly.commands.handover import RELEASED, Handover, start_bridge
from freshly.commands.hangup import terminal_is_gone

logger = get_logger(__name__)


class Server(uvicorn.Server):
    """uvicorn's server, which reloads itself on SIGHUP.

    `received` comes from the process before it, if that reloads. `on_start` is called when the
    server answers. When `run` has returned and `next` is not None, the process runs its command
    again and passes `next` on.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        shutdown: GracefulShutdown,
        memory: MemoryVersions,
        locks: Sequence[int],
        *,
        received: Handover | None,
        on_start: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self.shutdown_request = shutdown
        self.memory = memory
        self.locks = locks
        self.received = received
        self.on_start = on_start
        self.next: Handover | None = None
        self._reload: asyncio.Task[None] | None = None
        self._release: asyncio.Task[None] | None = None

    def run_on(self, sockets: Sequence[socket.socket]) -> None:
        """Serve until a signal arrives. The sockets stay open, for the process that comes next."""
        self._sockets = [each.fileno() for each in sockets]
        self.run([each.dup() for each in sockets])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        self.on_start()
        loop = asyncio.get_running_loop()
        if self.received is not None and self.received.to_bridge:
            loop.add_signal_handler(RELEASED, self.retire)
            self.received.tell_that_it_serves()
            return  # it does not last long enough to reload
        if self.received is not None:
            self._release = asyncio.create_task(self._release_bridge(self.received))
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    async def _release_bridge(self, received: Handover) -> None:
        await received.release_bridge()
        self.memory.resume()
        logger.info("reloaded")

    def retire(self) -> None:
        """Take no further connections, and end when the open requests are answered.

        Until then each response closes its connection, so that clients open no request on a
        connection that is about to be closed.
        """
        for each in self.servers:
            each.close()
        self.shutdown_request.requested.set()
        asyncio.get_running_loop().call_later(CLOSING_SECONDS, self._exit)

    def _exit(self) -> None:
        self.should_exit = True

    def _on_hangup(self) -> None:
        if terminal_is_gone():
            signal.raise_signal(signal.SIGTERM)
        elif self._is_reloading():
            logger.warning("a reload is under way already")
        else:
            self._reload = asyncio.create_task(self._hand_over())

    def _is_reloading(self) -> bool:
        return any(task is not None and not task.done() for task in (self._reload, self._release))

    async def _hand_over(self) -> None:
        logger.info("reloading")
        self.memory.suspend()
        self.next = await start_bridge(self._sockets, self.locks)
        if self.next is None:
            self.memory.resume()
            logger.error("the reload failed, so the server goes on with the code that it has")
        elif not self.shutdown_request.requested.is_set():
            self.retire()
