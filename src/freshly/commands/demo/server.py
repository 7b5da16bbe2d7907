"""A server of its own for the demo, gone with everything it wrote when the demo is over."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import httpx2

from freshly.commands.demo.api import DemoFailed
from freshly.settings import Settings

HOST = "127.0.0.1"
STARTS_WITHIN = 60  # seconds
STOPS_WITHIN = 30  # seconds; the server's own grace is 25
BETWEEN_LOOKS = 0.1  # seconds
LINES_OF_LOG = 8


@contextmanager
def temporary_server(timezone: str) -> Iterator[str]:
    """Its URL, once it is ready."""
    with (
        _ended_by_signals(),
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
            yield url
        finally:
            _stop(process)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Being told to end unwinds the stack like Ctrl-C: otherwise the server would outlive us."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(data_dir: Path, port: int, timezone: str) -> Mapping[str, str]:
    """Ours without any setting of Freshly's, so that the demo touches no real database."""
    settings = {name.upper() for name in Settings.model_fields}
    settings |= {f"{name}_FILE" for name in settings}
    return {
        **{name: value for name, value in os.environ.items() if name.upper() not in settings},
        "DATA_DIR": str(data_dir),
        "HOST": HOST,
        "PORT": str(port),
        "TIMEZONE": timezone,
        "LOG_LEVEL": "WARNING",
        "RATE_LIMIT_ENABLED": "false",
    }


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    with httpx2.Client(base_url=url, timeout=5, trust_env=False) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DemoFailed(_with_log(f"the server ended with {process.returncode}", log))
            with suppress(httpx2.TransportError):
                if client.get("/ready").is_success:
                    return
            time.sleep(BETWEEN_LOOKS)
    raise DemoFailed(_with_log(f"the server was not ready within {STARTS_WITHIN} seconds", log))


def _with_log(complaint: str, log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES_OF_LOG:]
    return "\n    ".join([f"{complaint}; its last words:", *lines] if lines else [complaint])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
