"""Start the servers to measure, each in a process of its own, as in production."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.fake_services import free_port

START_TIMEOUT = 60  # seconds
STOP_TIMEOUT = 40  # seconds
ROOT = Path(__file__).resolve().parents[1]
SECRET = "the same for all servers, so that tokens are valid on each"  # noqa: S105
A_LOT = "1000000000/minute"
GROUPS = (
    *("api", "anonymous", "files", "auth-login", "auth-refresh", "auth-register"),
    *("pantry-write", "pantry-read", "grocery-write", "grocery-read", "families-read", "join"),
    *("notifications", "auth-attempts"),
)
# Limits are counted as usual, but are so high that no request reaches one.
LIMITS = "{" + ", ".join(f'"{name}": {{"default": "{A_LOT}"}}' for name in GROUPS) + "}"


@dataclass(frozen=True)
class Server:
    """A running server: its port, and the id of its parent process."""

    port: int
    pid: int

    @property
    def memory(self) -> float:
        """Return the resident memory of its processes in MB. Shared pages count in each process."""
        return sum(_resident_memory(pid) for pid in process_tree(self.pid))

    def number(self, name: str) -> float:
        """Return the sum of a metric over its labels and over all processes."""
        text = self.get("/metrics")
        values = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, values))

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            return str(response.read().decode())


@contextmanager
def bare(workers: int) -> Iterator[Server]:
    with server("bench.bare:app", free_port(), workers, {}, "/bare") as running:
        yield running


@contextmanager
def server(
    app: str, port: int, workers: int, settings: Mapping[str, str], path: str
) -> Iterator[Server]:
    """Run an app on uvicorn alone. It is ready when `path` responds."""
    command = (
        *(sys.executable, "-m", "uvicorn", app, "--port", str(port)),
        *("--workers", str(workers), "--no-access-log", "--log-level", "critical"),
    )
    with _running(command, settings, port, path) as running:
        yield running


@contextmanager
def freshly(folder: Path, workers: int, settings: Mapping[str, str]) -> Iterator[Server]:
    """Run `freshly serve` with its data in this folder."""
    port = free_port()
    environment = {
        "DATA_DIR": str(folder),
        "PORT": str(port),
        "WORKERS": str(workers),
        "RATE_LIMIT_OVERRIDES": LIMITS,
        "JWT_SECRET": SECRET,
        **settings,
    }
    command = (sys.executable, "-m", "freshly", "serve")
    with _running(command, environment, port, "/health") as running:
        yield running


@contextmanager
def _running(
    command: Sequence[str], settings: Mapping[str, str], port: int, path: str
) -> Iterator[Server]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    # The log lies beside the data folder, because a scenario may fill the disk of that folder.
    data = Path(settings.get("DATA_DIR") or Path(tempfile.gettempdir()) / "freshly-bare")
    log = data.with_suffix(f".{port}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=ROOT,
            env={**inherited, **settings, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
        try:
            _wait_until_ready(process, port, path, log)
            yield Server(port, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
    log.unlink()


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, path: str, log: Path) -> None:
    until = time.monotonic() + START_TIMEOUT
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                time.sleep(0.5)  # until the other workers are ready too
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text()[-3000:]}")


def process_tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in process_tree(int(child)))]


def _resident_memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(kilobytes[1]) / 1024 if kilobytes else 0.0
