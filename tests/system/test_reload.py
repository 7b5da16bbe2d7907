"""Servers and workers are started, reloaded and killed, as processes."""

import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

from tests.support.processes import environment, run, running, wait_until

CLIENTS = 4
ONE_LINE = 1
PAUSE_SECONDS = 0.02


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reload")


@pytest.fixture(scope="module")
def server(folder):
    with running(folder, HOST="::", APP_ENV="local", RATE_LIMIT_ENABLED="false") as started:
        yield started


def refusal(result):
    assert result.returncode == 1, result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == ONE_LINE, lines
    return lines[0]


def test_the_address_is_printed_when_it_answers_with_its_real_port_and_ipv6_in_brackets(server):
    port = server.port

    assert f"http://[::]:{port} " in server.logged("Freshly serves on")
    assert httpx2.get(f"http://127.0.0.1:{port}/health").status_code == 200
    if has_ipv6():
        assert httpx2.get(f"http://[::1]:{port}/health").status_code == 200


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_second_server_is_refused_in_a_line_but_commands_are_not(server, folder, tmp_path):
    port = str(server.port)
    database = f"sqlite:///{folder}/data/freshly.db"

    same_folder = run(folder, "serve", PORT="0")
    same_database = run(tmp_path, "serve", PORT="0", DATABASE_URL=database)
    same_port = run(tmp_path, "serve", PORT=port)
    jobs = run(folder, "jobs", "list")

    assert refusal(same_folder) == (
        f"freshly: DATA_DIR: another server (process {server.pid}) uses {folder}/data;"
        " stop it, or give this one another DATA_DIR"
    )
    assert refusal(same_database).startswith(
        f"freshly: DATABASE_URL: another server (process {server.pid}) uses"
    )
    assert refusal(same_port) == (
        f"freshly: PORT: another program listens on port {port} of 127.0.0.1;"
        " stop it, or choose another"
    )
    assert jobs.returncode == 0, jobs.stderr


def test_a_reload_loses_no_request_and_shows_each_write_at_once(server, folder):
    url = f"http://127.0.0.1:{server.port}"
    damaged = folder / "data" / "jwt_secret"
    secret = damaged.read_text()
    clients = [Household(url, number) for number in range(CLIENTS)]

    damaged.write_text("damaged")
    server.send(signal.SIGHUP)
    server.logged("the reload failed, so the server goes on with the code that it has")
    damaged.write_text(secret)
    for client in clients:
        client.start()
    server.send(signal.SIGHUP)
    server.logged('"reloaded"')
    for client in clients:
        client.stop()

    assert [client.problems for client in clients] == [[]] * CLIENTS
    assert min(client.rounds for client in clients) > 10
    assert server.process.poll() is None  # it is the same process


class Household(threading.Thread):
    """A user who adds to the pantry and reads it, again and again.

    Each write has a new connection, and all reads have one that is kept. So a write may reach the
    new process, and the read after it the old one.
    """

    def __init__(self, url, number):
        super().__init__()
        self.http = httpx2.Client(base_url=url, timeout=60, trust_env=False)
        self.writes = httpx2.Client(
            base_url=url, timeout=60, trust_env=False, headers={"Connection": "close"}
        )
        self.problems, self.rounds, self._stop_requested = [], 0, threading.Event()
        account = {"email": f"u{number}@example.com", "password": "correct horse battery"}
        self.http.post("/auth/register", json=account).raise_for_status()
        signed_in = self.http.post("/auth/login", json=account).raise_for_status().json()
        for client in (self.http, self.writes):
            client.headers["Authorization"] = f"Bearer {signed_in['access_token']}"

    def run(self):
        while not self._stop_requested.is_set() and not self.problems:
            try:
                self._add_and_read()
            except httpx2.HTTPError as error:
                self.problems.append(repr(error))

    def _add_and_read(self):
        item = {"ingredient_name": "rice", "quantity": 1, "unit": "kg"}
        added = self.writes.post("/pantry-items", json=item).raise_for_status().json()
        for _ in range(3):
            pantry = self.http.get("/pantry-items/me").raise_for_status().json()
            if added["id"] not in [each["id"] for each in pantry]:
                self.problems.append(f"{added['id']} is missing")
        self.writes.delete(f"/pantry-items/{added['id']}").raise_for_status()
        self.rounds += 1
        time.sleep(PAUSE_SECONDS)

    def stop(self):
        self._stop_requested.set()
        self.join()
        self.http.close()
        self.writes.close()


def test_a_server_that_was_killed_does_not_keep_the_next_one_from_starting(server, folder):
    port = server.port
    server.send(signal.SIGHUP)  # also the bridge has to end
    server.logged('"reloading"', times=3)
    server.send(signal.SIGKILL)
    server.wait()

    with running(folder, PORT=str(port)) as next_server:
        assert next_server.port == port


def test_workers_end_when_their_parent_process_is_killed(tmp_path, postgres_url):
    with running(tmp_path, WORKERS="2", DATABASE_URL=postgres_url) as parent:
        port = parent.port
        parent.logged("Application startup complete", times=2)
        children = children_of(parent.pid)
        parent.send(signal.SIGKILL)
        parent.wait()

    assert len(children) >= 2
    wait_until(lambda: not any(is_alive(child) for child in children))
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def children_of(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_waits_for_its_schema_and_reloads_on_sighup(tmp_path):
    shared = {"JOBS": "worker"}
    with running(tmp_path, "worker", **shared) as worker:
        worker.logged("this release needs")
        assert run(tmp_path, "migrate", **shared).returncode == 0
        worker.logged("worker started")

        worker.send(signal.SIGHUP)
        worker.logged("worker started", times=2)

        assert worker.count("worker stopped") == 1
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


LOOK = "import sys; from freshly.commands.hangup import terminal_is_gone; sys.stdin.readline(); \
open(sys.argv[1], 'w').write(str(terminal_is_gone()))"


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_closed_terminal_is_told_from_a_request_to_reload(is_closed, tmp_path):
    """Closing a terminal sends SIGHUP, too. A server must not outlive it by reloading."""
    ours, theirs = pty.openpty()
    looking = subprocess.Popen(
        [sys.executable, "-c", LOOK, tmp_path / "answer"],
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=theirs,
    )
    os.close(theirs)
    if is_closed:
        os.close(ours)
    looking.communicate(b"\n")

    assert (tmp_path / "answer").read_text() == str(is_closed)
    if not is_closed:
        os.close(ours)
