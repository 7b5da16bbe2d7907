"""The `freshly` command, as a process of its own."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from urllib.error import HTTPError

import pytest

STARTS_WITHIN = 30  # seconds; a bound against hanging, not a measurement


def environment(tmp_path, **changes):
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "DATA_DIR": str(tmp_path / "data"), **changes}


def freshly(tmp_path, *arguments, **changes):
    return subprocess.run(
        [sys.executable, "-m", "freshly", *arguments],
        env=environment(tmp_path, **changes),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def serving(tmp_path):
    """Starts servers, and ends them."""
    started = []

    def start(*command, **changes):
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "freshly", *command],
            env=environment(tmp_path, PORT=str(port), **changes),
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        # Not SIGKILL: the workers of a server that can no longer tell them to stop would live on.
        process.terminate()
        process.communicate(timeout=STARTS_WITHIN)


def answer(url):
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own server
                return json.load(response)
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


def post(url, body):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=STARTS_WITHIN) as response:  # noqa: S310
        return json.load(response)


def test_an_empty_folder_becomes_a_server_and_says_where(serving, tmp_path):
    process, url = serving()

    ready = answer(f"{url}/ready")
    assert (ready["status"], ready["database"]) == ("ready", "connected")

    assert {path.name for path in (tmp_path / "data").iterdir()} >= {
        "freshly.db",
        "jwt_secret",
        "secret_key",
    }
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=STARTS_WITHIN)
    assert f"Freshly serves on {url}" in said
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in said


def test_several_workers_serve_on_postgresql(serving, postgres_url):
    _, url = serving(WORKERS="2", DATABASE_URL=postgres_url)

    assert answer(f"{url}/ready")["status"] == "ready"


def test_the_doctor_tells_what_is_wrong(tmp_path, redis_url):
    before = freshly(tmp_path, "doctor", COLUMNS="200")
    migrated = freshly(tmp_path, "migrate")
    after = freshly(tmp_path, "doctor", COLUMNS="200", REDIS_URL=redis_url)
    gone = freshly(tmp_path, "doctor", COLUMNS="200", REDIS_URL="redis://127.0.0.1:9/0")

    assert before.returncode == 1
    assert "run `freshly migrate`" in before.stdout
    assert migrated.returncode == 0
    assert (after.returncode, gone.returncode) == (0, 1), after.stdout
    assert "answers" in after.stdout


def test_a_worker_leaves_an_embedded_database_to_its_server(tmp_path):
    said = freshly(tmp_path, "worker")

    assert said.returncode == 1
    assert len(said.stderr.splitlines()) == 1
    assert "JOBS" in said.stderr


def test_a_worker_does_not_change_what_a_server_keeps_in_memory(tmp_path):
    said = freshly(tmp_path, "worker", DATABASE_URL="postgresql://u@127.0.0.1/d", CACHE="memory")

    assert said.returncode == 1
    assert len(said.stderr.splitlines()) == 1
    assert "CACHE" in said.stderr


@pytest.mark.parametrize(
    ("trusted", "allowed"), [("127.0.0.1", [True] * 3), ("10.0.0.0/8", [True, True, False])]
)
def test_only_a_trusted_proxy_says_who_calls(serving, trusted, allowed):
    overrides = {"anonymous": {"default": "2/10 year"}}
    _, url = serving(TRUSTED_PROXIES=trusted, RATE_LIMIT_OVERRIDES=json.dumps(overrides))
    answer(f"{url}/health")

    def is_let_in(address):
        request = urllib.request.Request(  # noqa: S310 - ours
            f"{url}/recipes", headers={"X-Forwarded-For": f"198.51.100.1, {address}"}
        )
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(request, timeout=STARTS_WITHIN)  # noqa: S310
        with refused.value as said:
            return said.code == 401

    assert [is_let_in(f"203.0.113.{n}") for n in range(3)] == allowed


def test_processes_that_share_nothing_keep_nothing_and_say_so(serving):
    process, url = serving(JOBS="worker")
    answer(f"{url}/ready")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=STARTS_WITHIN)

    assert [line for line in said.splitlines() if "without REDIS_URL nothing is cached" in line]


def test_a_worker_does_what_the_server_left_to_it(serving, tmp_path, database_url):
    shared = {"DATABASE_URL": database_url, "JOBS": "worker"}
    _, url = serving(**shared)
    answer(f"{url}/ready")
    account = {"email": "alice@example.com", "password": "correct horse battery"}
    post(f"{url}/auth/register", account)
    post(f"{url}/auth/send-code", {"email": account["email"]})
    assert not (tmp_path / "data" / "outbox").exists()

    worker, _ = serving("worker", **shared)
    deadline = time.monotonic() + STARTS_WITHIN
    while not (emails := list((tmp_path / "data" / "outbox").glob("*.eml"))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate(timeout=STARTS_WITHIN)

    assert "Your Freshly code" in emails[0].read_text()
    assert worker.returncode == 0
    assert "Traceback" not in said


def test_the_operator_lists_cancels_and_retries_jobs(tmp_path):
    assert freshly(tmp_path, "migrate").returncode == 0
    path = tmp_path / "data" / "freshly.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO jobs (id, kind, payload, state, progress, error, priority, again,"
            " attempts, deaths, taken, correlation_id, run_after) VALUES ('a1', 'auth.send_code',"
            " '{}', 'failed', 0, 'It took too long.', 0, 0, 5, 0, 5, '-', '2026-01-01 00:00:00')"
        )

    parked = freshly(tmp_path, "jobs", "list", "--state", "failed", COLUMNS="200")
    retried = freshly(tmp_path, "jobs", "retry", "a1")
    doctor = freshly(tmp_path, "doctor", COLUMNS="200")
    cancelled = freshly(tmp_path, "jobs", "cancel", "a1", "nothing")
    with closing(sqlite3.connect(path)) as connection:
        state = connection.execute("SELECT state FROM jobs").fetchall()

    assert parked.returncode == 0, parked.stderr
    assert "It took too long." in parked.stdout
    assert "0 queued, 0 running, 1 failed; 0 working" in parked.stdout
    assert retried.returncode == 0
    assert "1 waiting" in doctor.stdout
    assert (cancelled.returncode, cancelled.stderr) == (1, "freshly: there is no job nothing\n")
    assert state == [("cancelled",)]


def test_a_database_that_is_not_there_is_one_clear_line(tmp_path):
    said = freshly(tmp_path, "serve", DATABASE_URL="postgresql://u:hunter2@127.0.0.1:9/x")

    assert said.returncode == 1
    assert "DATABASE_URL" in said.stderr
    assert "hunter2" not in said.stderr
    assert "Traceback" not in said.stderr


def test_a_limit_that_means_nothing_is_one_clear_line(tmp_path):
    said = freshly(tmp_path, "serve", RATE_LIMIT_OVERRIDES='{"chat": {"free": "often"}}')

    assert said.returncode == 2
    assert said.stderr.splitlines() == [
        "freshly: RATE_LIMIT_OVERRIDES: chat, free: 'often' is not a limit such as 10/minute;50/day"
    ]


@pytest.mark.parametrize("database", ["postgresql://u@127.0.0.1:9/x", ""])
def test_migrating_can_be_shown_without_being_done(tmp_path, database):
    changes = {"DATABASE_URL": database} if database else {}

    shown = freshly(tmp_path, "migrate", "--dry-run", **changes)

    assert shown.returncode == 0, shown.stderr
    assert "CREATE TABLE grocery_list_items" in shown.stdout
    assert "Traceback" not in shown.stderr
    assert not (tmp_path / "data" / "freshly.db").exists()
