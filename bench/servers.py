"""Servers to measure, each a process of its own, as in production."""

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

STARTS_WITHIN = 60  # seconds
ENDS_WITHIN = 40
ROOT = Path(__file__).resolve().parents[1]
SECRET = "the same for all servers, so that tokens are good for all"  # noqa: S105
A_LOT = "1000000000/minute"
GROUPS = (
    *("api", "auth", "anonymous", "files", "auth-login", "auth-refresh", "auth-register"),
    *("pantry-write", "pantry-read", "grocery-write", "grocery-read", "families-read", "join"),
    "notifications",
)
# The limits count as they always do; nobody meets one.
LIMITS = "{" + ", ".join(f'"{name}": {{"default": "{A_LOT}"}}' for name in GROUPS) + "}"


@dataclass(frozen=True)
class Server:
    port: int
    pid: int

    @property
    def memory(self) -> float:
        """MB that its processes hold (resident, shared pages counted in each)."""
        return sum(_resident(pid) for pid in _family(self.pid))

    def number(self, name: str) -> float:
        """The sum of a metric over its labels and all processes."""
        text = self.get("/metrics")
        found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, found))

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return str(answer.read().decode())


@contextmanager
def bare(workers: int) -> Iterator[Server]:
    with server("bench.bare:app", free_port(), workers, {}, "/bare") as running:
        yield running


@contextmanager
def server(
    app: str, port: int, workers: int, settings: Mapping[str, str], path: str
) -> Iterator[Server]:
    """uvicorn by itself, with an app of which `path` says that it is there."""
    command = (
        *(sys.executable, "-m", "uvicorn", app, "--port", str(port)),
        *("--workers", str(workers), "--no-access-log", "--log-level", "critical"),
    )
    with _running(command, settings, port, path) as running:
        yield running


@contextmanager
def freshly(folder: Path, workers: int, settings: Mapping[str, str]) -> Iterator[Server]:
    port = free_port()
    own = {
        "DATA_DIR": str(folder),
        "PORT": str(port),
        "WORKERS": str(workers),
        "RATE_LIMIT_OVERRIDES": LIMITS,
        "JWT_SECRET": SECRET,
        **settings,
    }
    with _running((sys.executable, "-m", "freshly", "serve"), own, port, "/health") as running:
        yield running


@contextmanager
def _running(
    command: Sequence[str], settings: Mapping[str, str], port: int, path: str
) -> Iterator[Server]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    # Beside its data: the disk of the data may be full.
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
            _await(process, port, path, log)
            yield Server(port, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
    log.unlink()


def _await(process: "subprocess.Popen[bytes]", port: int, path: str, log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                time.sleep(0.5)  # the other workers
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text()[-3000:]}")


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0
