"""Several server processes and the parent process that starts, replaces and stops them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from socket import socket
from time import sleep

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from freshly.chassis.observability.logging import get_logger
from freshly.commands.hangup import terminal_is_gone

logger = get_logger(__name__)

POLL_SECONDS = 0.05
MIGRATE = (sys.executable, "-P", "-m", "freshly", "migrate")


class Workers(Multiprocess):
    """uvicorn's parent process. On SIGHUP the new code migrates before it replaces the workers.

    `on_start` is called when the first worker answers.
    """

    def __init__(
        self, config: uvicorn.Config, sockets: Sequence[socket], on_start: Callable[[], None]
    ) -> None:
        super().__init__(config, list(sockets))
        self.on_start = on_start

    def init_processes(self) -> None:
        super().init_processes()
        while not self.should_exit.is_set():
            if not all(each.process.is_alive() for each in self.processes):
                return  # `run` finds out why
            if any(each.is_ready(timeout=POLL_SECONDS) for each in self.processes):
                self.on_start()
                return
            sleep(POLL_SECONDS)
            self.handle_signals()

    def handle_hup(self) -> None:
        if terminal_is_gone():
            self.should_exit.set()
        elif subprocess.run(MIGRATE, stdout=subprocess.DEVNULL, check=False).returncode:  # noqa: S603
            logger.error("the reload failed, so the server goes on with the code that it has")
        else:
            super().handle_hup()

    @property
    def failed_to_start(self) -> bool:
        return any(each.exitcode == STARTUP_FAILURE for each in self.processes)


def end_with_parent() -> None:
    """End this worker when its parent process has ended, however that ended.

    The worker closes its sockets at once, so that the next server can listen, and answers the
    requests that it has begun.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def _end() -> None:
        wait([sentinel])
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=_end, name="end with parent", daemon=True).start()
