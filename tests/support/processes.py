"""Processes of the `freshly` command for tests, with their own data folder and environment."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

# Against hanging. On a machine whose processors are busy with other tests, a start may take long.
PATIENCE_SECONDS = 120
SERVES = re.compile(r"Freshly serves on (http://\S+:(\d+)) ")


def environment(folder, **changes):
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**inherited, "DATA_DIR": str(folder / "data"), "COLUMNS": "200", **changes}


def run(folder, *arguments, **changes):
    """Run a command until it ends, and return the completed process."""
    return subprocess.run(
        [sys.executable, "-m", "freshly", *arguments],
        env=environment(folder, **changes),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


class Running:
    """A server or worker that runs. `lines` is what it and its children have logged so far."""

    def __init__(self, process):
        self.process, self.pid, self.lines = process, process.pid, []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        self.lines.extend(iter(self.process.stderr.readline, ""))

    def logged(self, text, times=1):
        """Wait until so many lines have the text, and return the last of them."""
        wait_until(lambda: self.count(text) >= times or self.process.poll() is not None)
        assert self.count(text) >= times, self.lines
        return [line for line in self.lines if text in line][-1]

    def count(self, text):
        return sum(text in line for line in list(self.lines))

    @property
    def port(self):
        return int(SERVES.search(self.logged("Freshly serves on")).group(2))

    def send(self, number):
        self.process.send_signal(number)

    def wait(self):
        """Wait until the process and its children have ended, and return the exit status."""
        status = self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)  # the last child closes the log
        assert not self._reader.is_alive(), "a child process lives on"
        return status


@contextmanager
def running(folder, *arguments, cwd=None, **changes):
    """Start a server or worker. It is stopped at the end of the context."""
    process = subprocess.Popen(
        [sys.executable, "-m", "freshly", *arguments],
        env=environment(folder, **{"PORT": "0", **changes}),
        cwd=cwd,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = Running(process)
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            started.send(signal.SIGTERM)
        started.wait()
        process.stderr.close()


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)
