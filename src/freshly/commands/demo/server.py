"""A temporary server for the demo. Its data is deleted when the demo ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import httpx2

from freshly.commands.demo.api import DemoFailed
from freshly.settings import ENV_FILE, Settings

HOST = "127.0.0.1"
START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 30  # longer than the server's own grace of 25 s
POLL_SECONDS = 0.1
SHOWN_LOG_LINES = 8


@dataclass(frozen=True)
class TemporaryServer:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        """Wait until Ctrl-C. Raises DemoFailed if the server fails before."""
        status = self.process.wait()
        if status == 0:  # Ctrl-C reached the server first
            return
        raise DemoFailed(_with_log(f"the server ended with {status}", self.log))


@contextmanager
def temporary_server(timezone: str) -> Iterator[TemporaryServer]:
    """Start a server and yield it once it is ready. Raises DemoFailed if it fails to start."""
    with (
        _exit_on_sigterm(),
        TemporaryDirectory(prefix="freshly-demo-", ignore_cleanup_errors=True) as folder,
    ):
        port, log = _free_port(), Path(folder) / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                (sys.executable, "-m", "freshly", "serve"),
                env=_environment(Path(folder) / "data", port, timezone),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            url = f"http://{HOST}:{port}"
            _wait_until_ready(url, process, log)
            yield TemporaryServer(url, process, log)
        finally:
            _stop(process)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Raise SystemExit on SIGTERM, so that the server is stopped and its data is deleted."""

    def exit_process(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, exit_process)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(data_dir: Path, port: int, timezone: str) -> Mapping[str, str]:
    """Return our environment without Freshly's settings, so that no real database is used."""
    settings = {name.upper() for name in Settings.model_fields}
    settings |= {f"{name}_FILE" for name in settings}
    return {
        **{name: value for name, value in os.environ.items() if name.upper() not in settings},
        ENV_FILE: "",
        "DATA_DIR": str(data_dir),
        "HOST": HOST,
        "PORT": str(port),
        "TIMEZONE": timezone,
        "LOG_LEVEL": "WARNING",
        "RATE_LIMIT_ENABLED": "false",
    }


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    with httpx2.Client(base_url=url, timeout=5, trust_env=False) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DemoFailed(_with_log(f"the server ended with {process.returncode}", log))
            with suppress(httpx2.TransportError):
                if client.get("/ready").is_success:
                    return
            time.sleep(POLL_SECONDS)
    raise DemoFailed(
        _with_log(f"the server was not ready within {START_TIMEOUT_SECONDS} seconds", log)
    )


def _with_log(text: str, log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LOG_LINES:]
    return "\n    ".join([f"{text}; its last log lines:", *lines] if lines else [text])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
